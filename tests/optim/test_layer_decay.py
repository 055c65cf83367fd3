"""Layer decay: groups against the numbers of the official codes, name by name."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from selfsup.errors import ConfigError
from selfsup.optim.layer_decay import lr_scales
from selfsup.optim.paramwise import param_groups
from selfsup.registry import BACKBONES

GOLDEN = json.loads((Path(__file__).parents[1] / 'golden' / 'param_groups.json').read_text())
NO_DECAY = {'': {'max_ndim': 1, 'weight_decay': 0.0}}
CONVNEXT_V2 = {**NO_DECAY, r'\.(bias|gamma|beta)$': {'weight_decay': 0.0}}


class Model(nn.Module):
    """A backbone with a classifier, without memory for weights."""

    def __init__(self, **backbone):
        super().__init__()
        with torch.device('meta'):
            self.backbone = BACKBONES.build(backbone)
            self.fc = nn.Linear(8, 4)


def by_name(groups):
    return {
        name: (group.get('lr_scale', 1.0), group.get('lr', 2.0), group.get('weight_decay', 0.05))
        for group in groups
        for name in group['param_names']
    }


@pytest.mark.parametrize('kind', ['single', 'group'])
@pytest.mark.parametrize('arch', ['tiny', 'base'])
def test_golden_convnext_v2(arch, kind):
    golden, model = GOLDEN[f'convnextv2_{arch}/{kind}'], Model(type='ConvNeXtV2', arch=arch, num_classes=1000)
    groups = param_groups(
        model,
        {'type': 'AdamW', 'lr': 2.0, 'weight_decay': 0.05},
        CONVNEXT_V2,
        {'rate': golden['layer_decay'], 'groups': kind},
    )
    found = by_name(groups)
    assert found.pop('fc.weight') == (1.0, 2.0, 0.05) and found.pop('fc.bias') == (1.0, 2.0, 0.0)
    assert found == {
        f'backbone.{name}': (scale, 2.0 * scale, decay) for name, (_, scale, decay) in golden['params'].items()
    }
    sizes = [[group.get('lr_scale', 1.0), group.get('weight_decay', 0.05), len(group['params'])] for group in groups]
    for size in sizes[-2:]:
        size[2] -= 1  # fc
    assert sizes == golden['groups']


@pytest.mark.parametrize(
    ('name', 'backbone'),
    [
        ('resnet50', {'type': 'ResNet', 'depth': 50}),
        ('resnet50', {'type': 'TIMMBackbone', 'model_name': 'resnet50'}),
        ('convnext_small', {'type': 'ConvNeXt', 'arch': 'small', 'num_classes': 1000}),
    ],
)
def test_golden_spark(name, backbone):
    golden, model = GOLDEN[f'spark_imagenet/{name}'], Model(**backbone)
    found = lr_scales(model, golden['lr_scale'], 'spark')
    scales = {key.removeprefix('backbone.').removeprefix('model.'): scale for key, scale in found.items()}
    for key, (_, _, scale, _) in golden['params'].items():
        assert scales[key] == pytest.approx(scale, rel=1e-12), key
    assert set(scales) - set(golden['params']) <= {'fc.weight', 'fc.bias'}  # the ConvNeXt has its classifier inside


def layers(groups, rate=0.5, **backbone):
    """Number of layers between each parameter and the head, by name."""
    scales = lr_scales(Model(**backbone), rate, groups)
    return {name.removeprefix('backbone.'): round(math.log(scale, rate)) for name, scale in scales.items()}


def test_single_blocks_of_a_resnet():
    """The stem belongs to the first block; the head is layer 9."""
    found = layers('single', type='ResNet', depth=18, norm_cfg={'type': 'GN', 'num_groups': 2})
    assert found['conv1.weight'] == found['gn1.weight'] == 8 and found['layer2.0.downsample.0.weight'] == 6
    assert [found[f'layer{s}.{b}.conv1.weight'] for s in range(1, 5) for b in range(2)] == [8, 7, 6, 5, 4, 3, 2, 1]
    assert found['fc.weight'] == 0


def test_spark_groups_of_other_sizes():
    """ResNet-101 has 12 layers, ResNet-152 13; a ConvNeXt with at most nine blocks in the third stage has 6, else 12."""
    for depth, number in ((50, 6), (101, 12), (152, 13)):
        assert max(layers('spark', type='ResNet', depth=depth).values()) == number + 1
    assert max(layers('spark', type='ConvNeXt', arch='tiny').values()) == 7
    assert max(layers('spark', type='ConvNeXt', arch='small').values()) == 13
    assert max(layers('group', type='ConvNeXt', arch='tiny').values()) == 13


@pytest.mark.parametrize(
    ('blocks', 'second', 'third', 'number'),
    [
        ((3, 4, 6, 3), 2, 3, 6),
        ((3, 4, 23, 3), 2, 3, 12),
        ((3, 8, 36, 3), 4, 4, 13),
        ((3, 24, 36, 3), 4, 4, 17),
        ((3, 30, 48, 8), 5, 6, 16),
    ],
)
def test_spark_groups_of_every_resnet(blocks, second, third, number):
    """Layers of `second` and `third` blocks in the second and third stage, and how many there are in all (SparK's code)."""
    found = layers('spark', type='ResNet', depth=50, stage_blocks=blocks, base_channels=4)
    in_second = -(-blocks[1] // second)
    expected = [1] * blocks[0] + [2 + b // second for b in range(blocks[1])]
    expected += [2 + in_second + b // third for b in range(blocks[2])] + [number] * blocks[3]
    assert [
        number + 1 - found[f'layer{s + 1}.{b}.conv1.weight'] for s in range(4) for b in range(blocks[s])
    ] == expected
    assert found['conv1.weight'] == number + 1 and found['fc.weight'] == 0


def test_slak_has_the_12_groups_of_convnext():
    one, other = (
        layers('group', arch='tiny', **kind) for kind in ({'type': 'SLaK', 'width_factor': 1.3}, {'type': 'ConvNeXt'})
    )
    assert one['stages.2.8.large_kernel.LoRA1.conv.weight'] == other['stages.2.8.dwconv.weight'] == 13 - 5
    assert {name: layer for name, layer in one.items() if 'large_kernel' not in name} == {
        name: layer for name, layer in other.items() if 'dwconv' not in name
    }


def test_single_layers_of_timm_models():
    own, timm = ({'type': 'ConvNeXt', 'arch': 'tiny'}, {'type': 'TIMMBackbone', 'model_name': 'convnext_tiny'})
    assert set(layers('single', **own).values()) == set(layers('single', **timm).values()) == set(range(19))
    vit = layers('single', type='TIMMBackbone', model_name='vit_tiny_patch16_224')
    assert [vit[f'model.blocks.{i}.norm1.weight'] for i in range(12)] == [12 - i for i in range(12)]
    assert vit['model.patch_embed.proj.weight'] == 13 and vit['fc.weight'] == 0


def test_patterns_and_decay_act_together():
    model = Model(type='ConvNeXt', depths=(1, 1), dims=(4, 8))
    model.backbone.stages[0].requires_grad_(False)
    groups = param_groups(
        model, {'type': 'SGD', 'lr': 2.0}, {'fc': {'lr': 3.0}, r'stages\.1': {'lr_mult': 10}}, {'rate': 0.5}
    )
    found = by_name(groups)
    assert found['fc.weight'] == (1.0, 3.0, 0.05) and found['backbone.stages.1.0.gamma'] == (0.5, 10.0, 0.05)
    assert (
        found['backbone.downsample_layers.0.0.weight'] == (0.25, 0.5, 0.05) and 'backbone.stages.0.0.gamma' not in found
    )
    assert by_name(param_groups(model, {'lr': 2.0}, None, {'rate': 1.0}))['backbone.stages.1.0.gamma'] == (
        1.0,
        2.0,
        0.05,
    )


class Bare(nn.Module):
    """A backbone whose parameters say nothing about their order."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Linear(2, 2)


@pytest.mark.parametrize(
    ('backbone', 'layer_decay', 'message'),
    [
        ('tiny', {'rate': 0.0}, r'rate=0.0: must be a number in (0, 1]'),
        ('tiny', {'rate': 1.5}, 'rate=1.5'),
        ('deep', {'rate': 1e-12}, 'leaves nothing of the learning rate of the first of 31 layers'),
        ('tiny', {'rate': '0.9'}, "rate='0.9'"),
        (
            'tiny',
            {'rate': 0.9, 'groups': 'singel'},
            "groups='singel': must be 'single', 'group' or 'spark'. Did you mean 'single'",
        ),
        ('tiny', {'groups': 'single'}, "layer_decay is written dict(rate=0.9, groups='single')"),
        ('tiny', 0.9, "layer_decay is written dict(rate=0.9, groups='single')"),
        ('bare', {'rate': 0.9}, "no layer is known for 2 of 2 parameters of Bare, such as 'backbone.trunk.weight'"),
        ('resnet18', {'rate': 0.9, 'groups': 'group'}, "made for ConvNeXts; for a ResNet use 'spark' or 'single'"),
        ('resnet18', {'rate': 0.9, 'groups': 'spark'}, 'no table for a ResNet of (2, 2, 2, 2) blocks'),
        ('deep', {'rate': 0.9, 'groups': 'group'}, "this backbone has (1, 1, 28, 1): use groups='single'"),
        ('vit', {'rate': 0.9, 'groups': 'group'}, "such as 'backbone.model.cls_token'"),
        (None, {'rate': 0.9}, 'Linear has no backbone with parameters'),
    ],
)
def test_errors(backbone, layer_decay, message):
    builders = {
        'tiny': {'type': 'ConvNeXt', 'arch': 'atto'},
        'resnet18': {'type': 'ResNet', 'depth': 18},
        'deep': {'type': 'ConvNeXt', 'depths': (1, 1, 28, 1), 'dims': (2, 2, 2, 2)},
        'vit': {'type': 'TIMMBackbone', 'model_name': 'test_vit'},
    }
    model = nn.Linear(2, 2) if backbone is None else nn.Module() if backbone == 'bare' else Model(**builders[backbone])
    if backbone == 'bare':
        model.backbone = Bare()
    with pytest.raises(ConfigError) as error:
        param_groups(model, {'type': 'SGD', 'lr': 1.0}, None, layer_decay)
    assert message in str(error.value)


def test_a_rate_that_is_not_written_cannot_be_scaled():
    with pytest.raises(ConfigError, match='which is not given; write lr into'):
        param_groups(Model(type='ConvNeXt', arch='atto'), {'type': 'AdamW'}, None, {'rate': 0.9})
