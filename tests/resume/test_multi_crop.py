"""Methods that read views of two sizes, a user's and those of the package: trained from a config, stopped in mid-epoch and resumed, with
workers and in two processes."""

import pytest
import torch

from selfsup.models.algorithms.base import Algorithm, Step, build_part
from selfsup.models.algorithms.views import pooled_views
from selfsup.models.layers.functional import l2_normalize
from selfsup.registry import BACKBONES, MODELS, NECKS
from tests.distributed.helpers import run_ranks

from .runs import differences, train, write_images

EVERY = 'checkpoint_config.by_epoch=False'
CONFIG = '''"""Two crops of 32 and four of 16 pixels of 12 digits, three iterations per epoch."""
norm = {norm}
model = dict(
    type='{method}',
    backbone=dict(type='ResNet', depth=18, stage_blocks=(1, 1, 1, 1), base_channels=4, stem='cifar', out_indices=(4,), norm_cfg=norm),
    {parts})
ends = [dict(type='ToTensor'), dict(type='Normalize', mean=[0.5, 0.5, 0.5], std=[0.3, 0.3, 0.3])]
flip = dict(type='RandomHorizontalFlip')
jitter = dict(type='RandomAppliedTrans', transforms=[dict(type='ColorJitter', brightness=0.4)], p=0.8)
large = [dict(type='RandomResizedCrop', size=32, scale=(0.4, 1.0)), flip, jitter, *ends]
small = [dict(type='RandomResizedCrop', size=16, scale=(0.1, 0.4)), flip, *ends]
source = dict(type='ImageList', root={root!r}, list_file={root!r} + '/list.txt')
data = dict(imgs_per_gpu=4, workers_per_gpu=0, train=dict(
    type='MultiViewDataset', data_source=source, views=[dict(number=2, pipeline=large), dict(number=4, pipeline=small)]))
optimizer = dict(type='AdamW', lr=0.01)
lr_config = dict(policy='CosineAnnealing', min_lr=0.001)
total_epochs = 3
'''
BATCH_NORM, GROUP_NORM = dict(type='BN'), dict(type='GN', num_groups=2)
MLP = 'in_channels=32, hid_channels=16, out_channels=8'
PARTS = {
    'CropsAgree': f"neck=dict(type='NonLinearNeckV1', {MLP})",
    'DINO': f"neck=dict(type='DINONeck', {MLP}), base_momentum=0.9, warmup_teacher_temp_epochs=3, teacher_temp=0.07",
    'LeJEPA': f"neck=dict(type='MLPNeck', {MLP}, norm=None), num_slices=8",
    # filled from the second epoch on, full in its second iteration
    'SwAV': f"neck=dict(type='MLPNeck', {MLP}, norm=None), num_prototypes=7, feat_dim=8, queue_len=8, queue_start=1",
}


class CropsAgree(Algorithm):
    """All crops of an image shall look like its large ones: the student of DINO without its teacher."""

    dataset = 'MultiViewDataset'

    def __init__(self, backbone: dict, neck: dict) -> None:
        super().__init__()
        self.backbone, self.neck = build_part(BACKBONES, backbone), build_part(NECKS, neck)

    def loss(self, img):
        groups = self.view_groups(img)
        features = pooled_views(self.backbone, groups)
        z = l2_normalize(self.neck(features.flatten(0, 1))).unflatten(0, features.shape[:2])  # (V, B, D)
        large = z[: groups[0].shape[1]].mean(dim=0).detach()
        return Step({'loss': -(z * large).sum(dim=2).mean()}, embedding=z[0].detach())


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(MODELS.module_dict, 'CropsAgree', CropsAgree)


def write(folder, method, norm=BATCH_NORM):
    images = write_images(folder / 'images', 12)
    path = folder / 'crops.py'
    path.write_text(CONFIG.format(method=method, parts=PARTS[method], root=str(images), norm=norm))
    return path


@pytest.mark.parametrize('method', PARTS)
def test_stopped_and_resumed_equals_straight(tmp_path, method):
    config = write(tmp_path, method)
    straight = train(config, tmp_path / 'straight', EVERY, curves=False)
    for workers in (0, 2) if method == 'CropsAgree' else (0,):
        options = (EVERY, f'data.workers_per_gpu={workers}')
        part = train(config, tmp_path / f'part{workers}', *options, stop_after=5, curves=False)  # in the second epoch
        assert not (part / 'iter_9.pth').exists()
        train(config, part, *options, auto_resume=True, curves=False)
        assert differences(straight / 'iter_9.pth', part / 'iter_9.pth') == []
    saved = torch.load(straight / 'iter_9.pth', weights_only=True)['state_dict']
    passes = {int(v) for k, v in saved.items() if k.startswith('backbone.') and k.endswith('num_batches_tracked')}
    assert passes == {2 * 9}  # one pass per size and iteration
    if method == 'SwAV':
        assert saved['queue'].norm(dim=2).allclose(torch.ones(2, 8))


def _train(config, work_dir, stop_after=None, auto_resume=False):
    MODELS.module_dict['CropsAgree'] = CropsAgree  # in a process of its own
    options = (EVERY, 'data.imgs_per_gpu=2')
    train(config, work_dir, *options, stop_after=stop_after, launcher='pytorch', auto_resume=auto_resume, curves=False)


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.parametrize('method', PARTS)
def test_two_processes_train_as_one_and_resume_exactly(tmp_path, method):
    config = write(tmp_path, method, GROUP_NORM)
    one = train(config, tmp_path / 'one', EVERY, curves=False)
    run_ranks(_train, 2, config, tmp_path / 'two', init_group=False, timeout=300)
    run_ranks(_train, 2, config, tmp_path / 'part', 5, init_group=False, timeout=300)
    run_ranks(_train, 2, config, tmp_path / 'part', None, True, init_group=False, timeout=300)
    assert differences(tmp_path / 'two' / 'iter_9.pth', tmp_path / 'part' / 'iter_9.pth') == []
    a, b = (torch.load(path / 'iter_9.pth', weights_only=True)['state_dict'] for path in (one, tmp_path / 'two'))
    start = torch.load(one / 'iter_1.pth', weights_only=True)['state_dict']
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, rtol=1e-3, atol=1e-4)
    assert any(not torch.allclose(start[name], value, rtol=1e-2, atol=1e-3) for name, value in a.items())
