"""Parameters and FLOPs with and without zeros."""

import pytest
import torch
from torch import nn

from selfsup.evaluation.analysis.parameters import flops, nonzero_flops, size_and_nonzero
from selfsup.hooks.sparse_training.first_masks import maskable
from selfsup.models.algorithms.base import Algorithm
from selfsup.models.backbones.slak import SLaK
from selfsup.optim import sparsity
from selfsup.registry import MODELS


class Tokens(nn.Module):
    """A strided convolution, then a linear layer on maps whose channels come last."""

    def __init__(self):
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), nn.Linear(4, 6)

    def forward(self, x):
        return (self.linear(self.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2),)


class Any(Algorithm):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone


def test_every_weight_counts_once_per_position():
    model = Any(Tokens())
    with torch.no_grad():
        model.backbone.conv.weight.view(-1)[:100] = 0  # 8 of 108 are left
        model.backbone.linear.weight[0] = 0  # 20 of 24
        model.backbone.linear.bias.fill_(1)
    assert size_and_nonzero(model) == (108 + 24 + 6, 8 + 20 + 6)
    positions = 8 * 8
    assert nonzero_flops(model, 16) == (2 * positions * (108 + 24), 2 * positions * (8 + 20))


@pytest.mark.parametrize(
    'backbone',
    [
        dict(type='ResNet', depth=18, stage_blocks=(1, 1, 1, 1), base_channels=8, out_indices=(4,)),
        dict(type='SLaK', depths=(1, 1, 1, 1), dims=(4, 8, 8, 8), kernel_size=(7, 7, 7, 5, 3)),
    ],
    ids=['resnet', 'slak'],
)
def test_without_zeros_it_is_what_torch_counts(backbone):
    model = MODELS.build(
        dict(
            type='Classification',
            backbone=backbone,
            head=dict(type='ClsHead', with_avg_pool=True, in_channels=64, num_classes=3),
        )
    )
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(1)
    dense, nonzero = nonzero_flops(model, 64)
    assert dense == nonzero == flops(model, 64)['backbone']


@pytest.mark.parametrize('init', ['uniform', 'erk'])
def test_slak_tiny_at_the_density_of_the_paper(init):
    """50.7 M parameters, 30.5 M without the 40 % of its weights at zero."""
    with torch.device('meta'):
        model = Any(SLaK('tiny', width_factor=1.3, num_classes=1000))
    model = model.to_empty(device='cpu')
    weights = maskable(model)
    densities = {'uniform': sparsity.uniform_densities, 'erk': sparsity.erk_densities}[init](
        {name: tuple(p.shape) for name, p in weights.items()}, 0.6
    )
    counts = sparsity.kept_counts({name: p.numel() for name, p in weights.items()}, densities, 0.6)
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(1)
        for name, count in counts.items():
            weights[name].view(-1)[count:] = 0
    assert sum(p.numel() for p in weights.values()) == 50_576_524
    assert size_and_nonzero(model) == (50_703_838, 30_473_228)
