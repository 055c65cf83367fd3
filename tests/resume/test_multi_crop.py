"""A method that reads views of two sizes: trained from a config, stopped in mid-epoch and resumed, with workers and in two processes."""

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
    type='CropsAgree',
    backbone=dict(type='ResNet', depth=18, stage_blocks=(1, 1, 1, 1), base_channels=4, stem='cifar', out_indices=(4,), norm_cfg=norm),
    neck=dict(type='NonLinearNeckV1', in_channels=32, hid_channels=16, out_channels=8))
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
total_epochs = 2
'''
BATCH_NORM, GROUP_NORM = dict(type='BN'), dict(type='GN', num_groups=2)


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


def write(folder, norm=BATCH_NORM):
    images = write_images(folder / 'images', 12)
    path = folder / 'crops.py'
    path.write_text(CONFIG.format(root=str(images), norm=norm))
    return path


def test_stopped_and_resumed_equals_straight(tmp_path):
    config = write(tmp_path)
    straight = train(config, tmp_path / 'straight', EVERY, curves=False)
    for workers in (0, 2):
        options = (EVERY, f'data.workers_per_gpu={workers}')
        part = train(config, tmp_path / f'part{workers}', *options, stop_after=4, curves=False)  # in the second epoch
        assert not (part / 'iter_6.pth').exists()
        train(config, part, *options, auto_resume=True, curves=False)
        assert differences(straight / 'iter_6.pth', part / 'iter_6.pth') == []
    saved = torch.load(straight / 'iter_6.pth', weights_only=True)['state_dict']
    passes = {int(value) for name, value in saved.items() if name.endswith('num_batches_tracked')}
    assert passes == {2 * 6}  # one pass per size and iteration


def _train(config, work_dir, stop_after=None, auto_resume=False):
    MODELS.module_dict['CropsAgree'] = CropsAgree  # in a process of its own
    options = (EVERY, 'data.imgs_per_gpu=2')
    train(config, work_dir, *options, stop_after=stop_after, launcher='pytorch', auto_resume=auto_resume, curves=False)


@pytest.mark.dist
@pytest.mark.slow
def test_two_processes_train_as_one_and_resume_exactly(tmp_path):
    config = write(tmp_path, GROUP_NORM)
    one = train(config, tmp_path / 'one', EVERY, curves=False)
    run_ranks(_train, 2, config, tmp_path / 'two', init_group=False, timeout=300)
    run_ranks(_train, 2, config, tmp_path / 'part', 4, init_group=False, timeout=300)
    run_ranks(_train, 2, config, tmp_path / 'part', None, True, init_group=False, timeout=300)
    assert differences(tmp_path / 'two' / 'iter_6.pth', tmp_path / 'part' / 'iter_6.pth') == []
    a, b = (torch.load(path / 'iter_6.pth', weights_only=True)['state_dict'] for path in (one, tmp_path / 'two'))
    start = torch.load(one / 'iter_1.pth', weights_only=True)['state_dict']
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, rtol=1e-3, atol=1e-4)
    assert any(not torch.allclose(start[name], value, rtol=1e-2, atol=1e-3) for name, value in a.items())
