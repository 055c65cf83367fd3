"""Maps of visible blocks: what networks in the wild write that once gave other numbers, or none, than the whole map does."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from selfsup.errors import ConfigError
from selfsup.models.visible import MaskedMap, VisibleMap, encode_visible, probe_maps

from .test_visible import BOTH, gradients, hide, sample
from .visible_cases import close, ragged


def test_inplace_activation_after_a_convolution_of_small_blocks():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(inplace=True)
    )
    img, visible = torch.randn(2, 16, 4, 4, requires_grad=True), ragged(2, 2, 2)
    a, b = (encode_visible(net, img, visible, path)[0].dense() for path in ('visible', 'masked'))
    close(a, b, 'map')
    for g, h in zip(gradients(a, img, *net.parameters()), gradients(b, img, *net.parameters()), strict=True):
        close(g, h, 'gradient')


@BOTH
def test_torch_norm_is_the_method(kind):
    x, visible = sample()
    m = kind.from_dense(x, visible).permute(0, 2, 3, 1)
    out = torch.norm(m, p=2, dim=(1, 2), keepdim=True)
    close(out, m.norm(p=2, dim=(1, 2), keepdim=True), 'method')
    close(out, torch.norm(x.permute(0, 2, 3, 1), p=2, dim=(1, 2), keepdim=True), 'whole map')
    for order in (0, -1, float('-inf')):
        with pytest.raises(ConfigError, match='needs an order above 0'):
            torch.linalg.vector_norm(m, order, (1, 2))


POOLS = [
    lambda x: F.avg_pool2d(F.pad(x, (1, 1, 1, 1), value=1.0), 3, 1),
    lambda x: F.avg_pool2d(x, 3, 2, 0, ceil_mode=True),
    lambda x: F.avg_pool2d(x, 3, 2, 0, ceil_mode=True, count_include_pad=False),
    lambda x: F.avg_pool2d(x, 4, 2, 1, True),
    lambda x: F.avg_pool2d(x, (3, 1), 1, (1, 0), True, False),
    lambda x: F.avg_pool2d(x, 3, 2, 0, ceil_mode=True, divisor_override=2),
]


@BOTH
@pytest.mark.parametrize('number', range(len(POOLS)))
def test_average_over_the_border(kind, number):
    x, visible = sample()
    out, whole = POOLS[number](kind.from_dense(x, visible)).dense(), hide(POOLS[number](x), visible)
    close(out, whole, 'map')


def test_padding_that_blocks_cannot_hold_is_refused():
    x, visible = sample()
    padded = F.pad(VisibleMap.from_dense(x, visible), (1, 1, 1, 1), value=1.0)
    with pytest.raises(ConfigError, match='Pad with 0'):
        F.conv2d(padded, torch.ones(4, 4, 3, 3).double())
    with pytest.raises(ConfigError, match='cannot look beyond that padding'):
        F.avg_pool2d(padded, 5, 1, 1)
    with pytest.raises(ConfigError, match='cannot look beyond its padding'):
        F.max_pool2d(F.pad(VisibleMap.from_dense(x, visible), (1, 0, 1, 0)), 4, 2, ceil_mode=True)
    with pytest.raises(ConfigError, match='padded'):
        torch.cat([padded, padded], 1)


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


def test_a_map_is_itself_in_sets_and_next_to_other_things():
    m = VisibleMap.from_dense(*sample())
    assert m in {m} and (m == None) is False and m != 'map'  # noqa: E711


def test_alpha_dropout_leaves_nothing_at_hidden_positions():
    x, visible = sample()
    for training in (False, True):
        out = F.alpha_dropout(MaskedMap.from_dense(x, visible), 0.5, training)
        assert not out.hidden_zero
        close(out.dense(), hide(out.dense(), visible), 'hidden')


@BOTH
@pytest.mark.parametrize('inplace', [False, True])
def test_dropout2d_drops_whole_channels_of_images(kind, inplace):
    x, visible = sample(channels=64)
    m = kind.from_dense(x, visible)
    torch.manual_seed(0)
    out = F.dropout2d(m, 0.5, True, inplace)
    kept = (out.dense() if not inplace else m.dense()).detach() / x.detach()
    for image, grid in zip(kept[:2], visible, strict=False):
        seen = image[:, grid.repeat_interleave(8, 0).repeat_interleave(8, 1)]
        assert torch.all((seen == 0).all(1) | ((seen - 2).abs() < 1e-9).all(1))
        assert 10 < int((seen[:, 0] == 0).sum()) < 54
    torch.manual_seed(0)
    other = VisibleMap if kind is MaskedMap else MaskedMap
    close(out.dense(), F.dropout2d(other.from_dense(x, visible), 0.5).dense(), 'other path')


class Reentrant(nn.Module):
    def __init__(self):
        super().__init__()
        self.stage = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        return checkpoint(self.stage, x, use_reentrant=True)


def test_reentrant_checkpointing_of_the_first_stage_is_refused():
    net, img, visible = Reentrant(), torch.randn(2, 3, 8, 8), ragged(2, 2, 2)
    with pytest.warns(UserWarning, match='requires_grad'), pytest.raises(ConfigError, match='use_reentrant=False'):
        encode_visible(net, img, visible)
    with torch.no_grad():
        assert encode_visible(net.stage, img, visible)[0].shape == (2, 4, 8, 8)


def test_probe_takes_one_map_and_any_batch_norm():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4, momentum=None), nn.ReLU(inplace=True))
    net[2].eval()
    assert probe_maps(net) == ((4, 2),)
    assert net.training and net[1].training and not net[2].training and int(net[1].num_batches_tracked) == 0
    with pytest.raises(ConfigError, match='no feature map'):
        probe_maps(nn.Sequential(net, nn.Flatten()))
