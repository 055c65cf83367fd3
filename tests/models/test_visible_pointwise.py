"""Maps of visible blocks: what treats every position alike, changes in place, and what maps refuse."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from selfsup.errors import ConfigError
from selfsup.models.visible import MaskedMap, VisibleMap

from .visible_cases import BOTH, close, gradients, hide, ragged, sample

POINTWISE = [
    lambda x: 2 - x,
    lambda x: 1 / (x + 3.5),
    lambda x: (x * x + 1).sqrt(),
    lambda x: -x / 2,
    lambda x: x**2,
    lambda x: (x - 9) ** -1,
    lambda x: x.exp(),
    torch.sigmoid,
    lambda x: F.relu(x + 1, inplace=True),
    F.hardswish,
    lambda x: x.clamp(min=0.5),
    lambda x: torch.cat([x, x + 1], 1),
    lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    lambda x: x[:, 1:3],
    lambda x: x.split([1, 3], 1)[1],
    lambda x: x + torch.arange(4.0).view(4, 1, 1),
    lambda x: x * torch.arange(3.0).view(3, 1, 1, 1),
    lambda x: x + torch.arange(16 * 24.0).view(1, 1, 16, 24),
    lambda x: torch.addcmul(x, x + 1, x - 1, value=0.5),
    lambda x: x / (x + 20),
    lambda x: x - x.mean(1, keepdim=True),
    lambda x: torch.sqrt((x + 1).pow(2).sum(1, keepdim=True)),
    lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,), torch.arange(4.0).double(), torch.ones(4).double()).permute(
        0, 3, 1, 2
    ),
    lambda x: F.linear(x.transpose(1, 3), torch.ones(5, 4).double(), torch.ones(5).double()).transpose(1, 3),
    lambda x: torch.rsub(x, 1) if isinstance(x, torch.Tensor) else 1 - x,
    lambda x: F.normalize(x + 1),
    lambda x: x.add(x, alpha=3),
]


@BOTH
@pytest.mark.parametrize('number', range(len(POINTWISE)))
def test_operations_on_positions(kind, number):
    function = POINTWISE[number]
    x, visible = sample()
    out, whole = function(kind.from_dense(x, visible)).dense(), hide(function(x), visible)
    close(out, whole, 'map')
    a, b = (hide(gradients(y, x)[0], visible) for y in (out, whole))
    assert torch.isfinite(a).all()
    close(a, b, 'gradient')


def written(name, *arguments):
    def function(x):
        x = x * 1
        getattr(x, name)(*arguments)
        return x

    return function


PER_IMAGE = torch.linspace(0.5, 1.5, 3).double().view(3, 1, 1, 1)


CHANGES = [
    written('mul_', 3.0),
    written('add_', 1.0),
    written('add_', PER_IMAGE),
    written('sub_', 2),
    written('div_', PER_IMAGE),
    written('pow_', 2),
    written('relu_'),
    written('clamp_', 0.5),
    written('addcmul_', PER_IMAGE, PER_IMAGE),
    lambda x: (y := x * 1, F.hardtanh(y, 1.0, 2.0, inplace=True), y)[2],
    lambda x: x.clamp(min=PER_IMAGE),
    lambda x: x.clamp_max(PER_IMAGE),
    lambda x: torch.clamp(x, PER_IMAGE - 1, max=PER_IMAGE),
    lambda x: x * (x < 0),
    lambda x: abs(x),
    lambda x: x * (x == x) + (x != 0),
    lambda x: x * (x >= PER_IMAGE),
    lambda x: (y := x * 1, y[:, :2].add_(1.0), y)[2],
    lambda x: (y := x * 1, y.mul_(x), y.div_(x + 9), y)[3],
]


@BOTH
@pytest.mark.parametrize('number', range(len(CHANGES)))
def test_changes_in_place_bounds_and_comparisons(kind, number):
    """A convolution follows, so that what was left at hidden positions would show."""
    x, visible = sample()
    weight = torch.randn(4, 4, 3, 3, dtype=torch.float64)
    out = F.conv2d(CHANGES[number](kind.from_dense(x, visible)), weight, padding=1).dense()
    whole = hide(F.conv2d(hide(CHANGES[number](x), visible), weight, padding=1), visible)
    close(out, whole, 'map')
    close(hide(gradients(out, x)[0], visible), hide(gradients(whole, x)[0], visible), 'gradient')


REFUSED = [
    (lambda m: torch.zeros(3, 4, 16, 24).add_(m), 'cannot write a map into a plain tensor'),
    (bool, 'neither true nor false'),
    (lambda m: m // 2, 'no rule for'),
    (lambda m: m % 2, 'no rule for'),
    (lambda m: 2**m, 'no rule for'),
    (lambda m: m.pow_(0.5), '1 or more'),
    (lambda m: torch.add(m, 1, out=torch.zeros(1)), 'does not take these arguments'),
    (lambda m: m.__setitem__(0, 1), 'Only the channels'),
    (lambda m: torch.clamp(torch.ones(1), min=m), 'cannot take a map'),
]


@BOTH
@pytest.mark.parametrize('number', range(len(REFUSED)))
def test_what_maps_cannot_do_is_a_clear_error(kind, number):
    function, message = REFUSED[number]
    with pytest.raises(ConfigError, match=message):
        function(kind.from_dense(*sample()))


def test_alpha_dropout_leaves_nothing_at_hidden_positions():
    x, visible = sample()
    for training in (False, True):
        out = F.alpha_dropout(MaskedMap.from_dense(x, visible), 0.5, training)
        assert not out.hidden_zero
        close(out.dense(), hide(out.dense(), visible), 'hidden')


def test_linear_layers_in_single_precision():
    x, visible = torch.randn(8, 12, 8, 16, requires_grad=True), ragged(8, 2, 4)
    layer = nn.Linear(12, 20)
    out, whole = (
        layer(VisibleMap.from_dense(x, visible).permute(0, 2, 3, 1)).permute(0, 3, 1, 2).dense(),
        layer(x.permute(0, 2, 3, 1)),
    )
    whole = hide(whole.permute(0, 3, 1, 2), visible)
    close(out, whole, 'map')
    for a, b in zip(gradients(out, x, *layer.parameters()), gradients(whole, x, *layer.parameters()), strict=True):
        close(a, b, 'gradient')
