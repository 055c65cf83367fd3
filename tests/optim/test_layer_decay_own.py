"""Layer decay of networks of one's own whose stages are rows of layers: a convolution and its norm have one rate."""

import pytest
import torch
from torch import nn

from selfsup.optim.layer_decay import lr_scales
from selfsup.registry import BACKBONES


class Own(nn.Module):
    """A backbone of the given stages, and a head."""

    def __init__(self, stages, stem=None, name='stages'):
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.stem = stem or nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.BatchNorm2d(4))
        if name == 'stages':
            self.backbone.stages = nn.ModuleList(stages)
        else:
            for i, stage in enumerate(stages, 1):
                setattr(self.backbone, f'layer{i}', stage)
        self.fc = nn.Linear(4, 2)


def conv():
    return nn.Conv2d(4, 4, 3, padding=1)


def plain():
    return nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU(), conv(), nn.GroupNorm(2, 4), nn.ReLU())


def preactivated():
    return nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), conv(), nn.BatchNorm2d(4), conv())


def mixed():
    return nn.Sequential(
        nn.Sequential(conv(), nn.BatchNorm2d(4)), nn.Identity(), conv(), nn.BatchNorm2d(4), nn.PReLU(4)
    )


def layers(model, **kwargs):
    scales = lr_scales(model, 0.5, **kwargs)
    return {name.removeprefix('backbone.'): -int(torch.tensor(scale).log2()) for name, scale in scales.items()}


@pytest.mark.parametrize('name', ['stages', 'layers'])
def test_a_norm_has_the_rate_of_its_convolution(name):
    model = Own([plain(), plain()], name=name, stem=None if name == 'stages' else nn.Identity())
    found = layers(model)
    first, second = ('stages.0.', 'stages.1.') if name == 'stages' else ('layer1.', 'layer2.')
    expected = {
        (first, 0): 4,
        (first, 1): 4,
        (first, 3): 3,
        (first, 4): 3,
        (second, 0): 2,
        (second, 1): 2,
        (second, 3): 1,
        (second, 4): 1,
    }
    for (stage, child), layer in expected.items():
        assert found[f'{stage}{child}.weight'] == found[f'{stage}{child}.bias'] == layer, (stage, child)
    # Before the first block.
    assert found['fc.weight'] == 0 and found.get('stem.0.weight', 4) == found.get('stem.1.bias', 4) == 4


def test_stages_that_begin_with_a_norm_and_stages_with_blocks_among_layers():
    found = layers(Own([preactivated(), mixed()]))
    assert [found[f'stages.0.{child}.weight'] for child in (0, 2, 3, 4)] == [4, 4, 4, 3]
    assert found['stages.1.0.0.weight'] == found['stages.1.0.1.weight'] == 2  # a block of its own
    assert [found[f'stages.1.{child}.weight'] for child in (2, 3, 4)] == [1, 1, 1]


def test_a_stage_of_norms_alone_is_one_layer():
    found = layers(Own([nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4)), plain()]))
    assert found['stages.0.0.weight'] == found['stages.0.2.bias'] == 3 and found['stages.1.4.weight'] == 1


@pytest.mark.parametrize('groups', ['single', 'group', 'spark'])
def test_blocks_are_counted_as_before(groups):
    with torch.device('meta'):
        model = nn.Module()
        model.backbone = BACKBONES.build({'type': 'ConvNeXt', 'arch': 'tiny'})
    found = layers(model, groups=groups)
    deepest = {'single': 18, 'group': 13, 'spark': 7}[groups]
    assert found['downsample_layers.0.0.weight'] == deepest and found['stages.3.2.gamma'] == 1
    for stage, block in ((0, 0), (2, 8)):
        assert len({layer for name, layer in found.items() if name.startswith(f'stages.{stage}.{block}.')}) == 1
