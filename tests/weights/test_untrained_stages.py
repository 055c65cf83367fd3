"""Stages behind the last map of a run are not exported, not converted and not counted as loaded; and it is said."""

import logging

import pytest
import torch

from selfsup.config.text import to_text
from selfsup.errors import CheckpointError, ConfigError, SelfSupWarning
from selfsup.registry import BACKBONES, MODELS
from selfsup.weights.backbone import find_backbone
from selfsup.weights.convert import convert
from selfsup.weights.extract import extract_backbone
from selfsup.weights.load import load_backbone
from selfsup.weights.read import read_checkpoint
from selfsup.weights.untrained import untrained
from tests.resume.runs import train, write_config

SMALL = {'type': 'ResNet', 'depth': 18, 'stage_blocks': (1, 1, 1, 1), 'base_channels': 4, 'stem': 'cifar'}
SIZES = {'depths': (3, 3, 9, 3), 'dims': (8, 8, 16, 16)}
CASES = {  # config -> beginnings of what it does not train, a map that it returns
    'resnet': ({**SMALL, 'out_indices': (1, 2)}, ('layer3.', 'layer4.')),
    'stem': ({**SMALL, 'out_indices': (0,)}, ('layer1.', 'layer2.', 'layer3.', 'layer4.')),
    'resnet50': ({'type': 'ResNet', 'depth': 50, 'base_channels': 8, 'out_indices': (3,)}, ('layer4.',)),
    'convnext': (
        {'type': 'ConvNeXt', **SIZES, 'out_indices': (2,)},
        ('downsample_layers.2.', 'stages.2.', 'downsample_layers.3.', 'stages.3.'),
    ),
    'v2 frozen': (
        {'type': 'ConvNeXtV2', **SIZES, 'out_indices': (1, 3), 'frozen_stages': 1},
        ('downsample_layers.3.', 'stages.3.'),
    ),
    'slak': (
        {'type': 'SLaK', **SIZES, 'kernel_size': (13, 11, 9, 7, 3), 'out_indices': (2,)},
        ('downsample_layers.2.', 'stages.2.', 'downsample_layers.3.', 'stages.3.'),
    ),
    'timm': (
        {'type': 'TIMMBackbone', 'model_name': 'resnet10t', 'out_indices': (1, 2)},
        ('model.layer3.', 'model.layer4.'),
    ),
    'timm convnext': (
        {'type': 'TIMMBackbone', 'model_name': 'convnext_atto', 'out_indices': (0, 1)},
        ('model.stages.2.', 'model.stages.3.'),
    ),
    'whole': ({**SMALL, 'out_indices': (4,)}, ()),
    'every map': (SMALL, ()),
    'timm whole': ({'type': 'TIMMBackbone', 'model_name': 'resnet10t'}, ()),
}


def checkpoint_of(backbone):
    """One of ours, and the backbone."""
    torch.manual_seed(0)
    built = BACKBONES.build(dict(backbone))
    text = to_text({'model': {'type': 'SparK', 'backbone': backbone, 'mask_ratio': 0.6}, 'total_epochs': 1})
    weights = {f'backbone.{name}': value for name, value in built.state_dict().items()}
    return {
        'state_dict': {**weights, 'neck.norm.weight': torch.ones(3)},
        'meta': {'epoch': 1, 'algorithm': 'SparK', 'config': text},
    }, built


def saved(tmp_path, backbone):
    checkpoint, built = checkpoint_of(backbone)
    torch.save(checkpoint, tmp_path / 'epoch_1.pth')
    return tmp_path / 'epoch_1.pth', built


@pytest.mark.parametrize('case', CASES)
def test_what_no_map_depends_on_is_found_and_nothing_else(case):
    config, beginnings = CASES[case]
    checkpoint, built = checkpoint_of(config)
    names = set(built.state_dict())
    expected = {name for name in names if name.startswith(beginnings)} if beginnings else set()
    assert bool(expected) == bool(beginnings) and set(untrained(checkpoint)[0]) == expected
    found = find_backbone(checkpoint, 'x.pth')
    assert set(found.untrained) == expected and set(found.weights) == names - expected
    assert {name for name, why in found.unused.items() if 'never trained' in why} == {
        f'backbone.{name}' for name in expected
    }
    if not built.training or not expected:
        return
    sum(m.sum() for m in built(torch.randn(2, 3, 64, 64))).backward()  # the definition: no gradient
    reached = {name for name, p in built.named_parameters() if p.grad is not None}
    assert not reached & expected


@pytest.mark.parametrize(
    'change',
    [
        lambda m: m.pop('config'),
        lambda m: m.update(config=3),
        lambda m: m.update(config='model = (('),
        lambda m: m.update(config='x = 1'),
        lambda m: m.update(config='model = open("x")'),
        lambda m: m.update(config=m['config'].replace("'ResNet'", "'MyNet'")),
        lambda m: m.update(config=m['config'].replace('out_indices=(1, 2)', 'out_indices=(1, 7)')),
    ],
)
def test_without_a_config_that_tells_nothing_is_left_out(change):
    checkpoint, built = checkpoint_of(CASES['resnet'][0])
    change(checkpoint['meta'])
    found = find_backbone(checkpoint, 'x.pth')
    assert not found.untrained and set(found.weights) == set(built.state_dict())
    assert not find_backbone({'state_dict': checkpoint['state_dict'], 'meta': ['odd']}, 'x.pth').untrained


@pytest.mark.parametrize('naming', ['own', 'timm', 'official'])
def test_extraction_leaves_them_out_and_says_so(tmp_path, naming):
    path, built = saved(tmp_path, CASES['resnet'][0])
    with pytest.warns(
        SelfSupWarning,
        match=r'epoch_1.pth: 36 tensors of the backbone are left out, as they are behind the last of '
        r'out_indices=\(1, 2\), so never trained: layer3.0.conv1.weight, ',
    ):
        target, number = extract_backbone(path, tmp_path / 'out.pth', naming=naming)
    weights = read_checkpoint(target)['state_dict']
    assert number == len(weights) == len(built.state_dict()) - 36
    assert all(torch.equal(value, built.state_dict()[name]) for name, value in weights.items())
    assert extract_backbone(target, tmp_path / 'again.pth')[1] == number  # there is nothing more to leave out


def test_they_are_not_counted_as_loaded(tmp_path, caplog):
    path, built = saved(tmp_path, CASES['resnet'][0])
    model = MODELS.build(
        {
            'type': 'Classification',
            'backbone': {**SMALL, 'out_indices': (4,)},
            'head': {'type': 'ClsHead', 'with_avg_pool': True, 'in_channels': 32, 'num_classes': 2},
        }
    )
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    with (
        caplog.at_level(logging.DEBUG, 'selfsup'),
        pytest.warns(
            SelfSupWarning, match='kept their initial values: layer3.*not used from the file, as behind the last of'
        ),
    ):
        report = load_backbone(model, str(path))
    assert len(report.loaded) == len(built.state_dict()) - 36 and all(
        name.startswith(('layer3', 'layer4')) for name in report.missing
    )
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, (before if name in report.missing else built.state_dict())[name])


@pytest.mark.parametrize(('case', 'stages'), [('resnet50', 3), ('convnext', 2), ('v2 frozen', 3), ('slak', 2)])
def test_conversion_gives_the_trained_stages(tmp_path, case, stages):
    pytest.importorskip('safetensors')
    path, built = saved(tmp_path, CASES[case][0])
    done = convert(path, tmp_path / 'out.safetensors', 'safetensors', check=True, size=64)
    assert done.network.config['out_indices'] == tuple(range(1, stages + 1))
    assert any(f'trained {stages} stages' in note for note in done.network.notes)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(done.network.backbone(images)[-1], built.eval()(images)[-1])
    if case == 'resnet50':
        with pytest.raises(ConfigError, match='torchvision has no ResNet with num_stages=3'):
            convert(path, tmp_path / 'out.pth', 'torchvision')
    if case == 'convnext':
        with pytest.raises(ConfigError, match='timm has no ConvNeXt of 2 stages'):
            convert(path, tmp_path / 'out.pth', 'timm')
        convert(path, tmp_path / 'out.pth', 'torchvision', check=True, size=64)


def test_a_run_that_trained_the_stem_only_is_no_network_to_convert(tmp_path):
    path, _ = saved(tmp_path, {**CASES['resnet50'][0], 'out_indices': (0,)})
    with pytest.raises(CheckpointError, match='trained the stem of its network only'):
        convert(path, tmp_path / 'out.safetensors', 'safetensors')


def test_the_checkpoint_of_a_real_run(tmp_path):
    work_dir = train(
        write_config(tmp_path, 'SimCLR'),
        tmp_path / 'work',
        'model.backbone.out_indices=(2,)',
        'model.neck.in_channels=8',
        'total_epochs=1',
        curves=False,
    )
    with pytest.warns(SelfSupWarning, match='left out'):
        path, _ = extract_backbone(work_dir / 'epoch_1.pth', tmp_path / 'out.pth')
    assert not [name for name in read_checkpoint(path)['state_dict'] if name.startswith(('layer3', 'layer4'))]
