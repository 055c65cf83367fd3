"""Methods whose whole state is in the model, through config, loader and engine: a stopped and resumed run equals a straight one."""

import pytest
import torch

from tests.resume.runs import CONFIG, differences, train, write_images

CONTRAST = "dict(type='ContrastiveHead', temperature=0.2)"
METHODS = {
    'NPID': ('NPIDDataset', '', dict(neck='NonLinearNeckV1', head=CONTRAST, extra=(
        "neg_num=10, ensure_neg=True, memory_bank=dict(type='SimpleMemory', length=24, feat_dim=8, momentum=0.5)"))),
    'RotationPred': ('RotationPredDataset', '', dict(
        neck='', head="dict(type='ClsHead', with_avg_pool=True, in_channels=32, num_classes=4)", extra='')),
    'RelativeLoc': ('RelativeLocDataset', "patch_jitter=1, format_pipeline=pipeline[-2:], ", dict(
        neck='RelativeLocNeck', head="dict(type='ClsHead', in_channels=8, num_classes=8)", extra='shared_centre=True')),
}


def write_config(folder, method):
    dataset, extra, parts = METHODS[method]
    text = CONFIG.format(method=method, root=str(write_images(folder / 'images')), **parts)
    text = text.replace("type='ContrastiveDataset'", f"{extra}type='{dataset}'")
    if method == 'RotationPred':
        text = '\n'.join(line for line in text.splitlines() if 'neck=' not in line)
    if method == 'RelativeLoc':
        text = text.replace("hid_channels=16, ", '').replace('pipeline=pipeline)', 'pipeline=[dict(type=\'Resize\', size=(27, 27))])')
    path = folder / f'{method.lower()}.py'
    path.write_text(text)
    return path


@pytest.mark.parametrize('method', METHODS)
def test_resumed_equals_straight(tmp_path, method):
    config, every = write_config(tmp_path / 'config', method), 'checkpoint_config.by_epoch=False'
    straight = train(config, tmp_path / 'straight', every)
    part = train(config, tmp_path / 'part', every, stop_after=8)
    assert not (part / 'iter_18.pth').exists()
    train(config, part, every, auto_resume=True)
    assert differences(straight / 'iter_18.pth', part / 'iter_18.pth') == []
    if method == 'NPID':
        first, last = (torch.load(straight / f'iter_{i}.pth', weights_only=True)['state_dict']['memory_bank.feature_bank'] for i in (6, 18))
        assert (first != last).any(dim=1).all()  # every image was seen
