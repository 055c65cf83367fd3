"""Maps of visible blocks: convolutions, poolings and padding against a plain computation on the whole map."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from selfsup.errors import ConfigError
from selfsup.models.visible import VisibleMap, encode_visible

from .visible_cases import BOTH, close, gradients, hide, ragged, sample

CONVS = [  # kernel, stride, padding, dilation, groups (of 4 channels)
    (1, 1, 0, 1, 1),
    (1, 2, 0, 1, 1),
    (2, 2, 0, 1, 4),
    (3, 1, 1, 1, 1),
    (3, 2, 1, 1, 1),
    (3, 1, 2, 2, 1),
    (3, 1, 1, 1, 2),
    (3, 1, 1, 1, 4),
    (3, 2, 1, 1, 4),
    (5, 1, 2, 1, 4),
    (5, 2, 2, 1, 1),
    (7, 2, 3, 1, 1),
    (7, 1, 3, 1, 4),
    (7, 1, 3, 1, 1),
    (7, 1, 9, 3, 4),
    (11, 1, 5, 1, 4),
    (2, 2, 0, 1, 1),
    (3, 1, 'same', 1, 1),
    (4, 1, 'same', 1, 4),
    (8, 1, 'same', 1, 4),
    ((1, 7), 1, (0, 3), 1, 4),
    ((3, 1), (2, 1), (1, 0), 1, 1),
    (3, 4, 1, 1, 1),
    (21, 1, 10, 1, 4),
]


@BOTH
@pytest.mark.parametrize('size', [(16, 24), (8, 12), (2, 3)], ids=['z=8', 'z=4', 'z=1'])
@pytest.mark.parametrize(('kernel', 'stride', 'padding', 'dilation', 'groups'), CONVS)
def test_convolution_is_mask_convolve_mask(kind, size, kernel, stride, padding, dilation, groups):
    x, visible = sample(size=size)
    steps = stride if isinstance(stride, tuple) else (stride, stride)
    kernel = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    weight = torch.randn(8, 4 // groups, *kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(8, dtype=torch.float64, requires_grad=True)
    arguments = weight, bias, stride, padding, dilation, groups
    if any((extent // count) % step for extent, count, step in zip(size, (2, 3), steps, strict=True)):
        with pytest.raises(ConfigError, match='a multiple of the stride of the network'):
            F.conv2d(kind.from_dense(x, visible), *arguments)
        return
    out, whole = F.conv2d(kind.from_dense(x, visible), *arguments).dense(), hide(F.conv2d(x, *arguments), visible)
    close(out, whole, 'map')
    for a, b in zip(gradients(out, x, weight, bias), gradients(whole, x, weight, bias), strict=True):
        close(hide(a, visible) if a.shape == x.shape else a, hide(b, visible) if b.shape == x.shape else b, 'gradient')


POOLS = [
    lambda x: F.max_pool2d(x, 3, 2, 1),
    lambda x: F.max_pool2d(x, 2),
    lambda x: F.max_pool2d(x, 3, 1, 1),
    lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True),
    lambda x: F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-9.0), 3, 2),
    lambda x: F.avg_pool2d(x, 3, 1, 1),
    lambda x: F.avg_pool2d(x, 2, 2),
    lambda x: F.avg_pool2d(x, 3, 2, 1),
    lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
    lambda x: F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False),
    lambda x: F.interpolate(x, scale_factor=2),
    lambda x: F.interpolate(x, size=(32, 72), mode='nearest'),
    lambda x: F.conv2d(F.pad(x, (0, 1, 0, 1)), torch.ones(2, 4, 3, 3, dtype=torch.float64), None, 2),
    lambda x: F.conv2d(F.pad(x, (1, 2, 1, 2)), torch.ones(4, 1, 4, 4, dtype=torch.float64), groups=4),
]


@BOTH
@pytest.mark.parametrize('number', range(len(POOLS)))
def test_pooling_and_padding(kind, number):
    x, visible = sample()
    with torch.no_grad():
        x -= x.abs()  # negative values: a zero of a hidden neighbour wins a maximum, one beyond the image does not
    out, whole = POOLS[number](kind.from_dense(x, visible)).dense(), hide(POOLS[number](x), visible)
    close(out, whole, 'map')
    close(hide(gradients(out, x)[0], visible), hide(gradients(whole, x)[0], visible), 'gradient')


BORDER_POOLS = [
    lambda x: F.avg_pool2d(F.pad(x, (1, 1, 1, 1), value=1.0), 3, 1),
    lambda x: F.avg_pool2d(x, 3, 2, 0, ceil_mode=True),
    lambda x: F.avg_pool2d(x, 3, 2, 0, ceil_mode=True, count_include_pad=False),
    lambda x: F.avg_pool2d(x, 4, 2, 1, True),
    lambda x: F.avg_pool2d(x, (3, 1), 1, (1, 0), True, False),
    lambda x: F.avg_pool2d(x, 3, 2, 0, ceil_mode=True, divisor_override=2),
]


@BOTH
@pytest.mark.parametrize('number', range(len(BORDER_POOLS)))
def test_average_over_the_border(kind, number):
    x, visible = sample()
    out, whole = BORDER_POOLS[number](kind.from_dense(x, visible)).dense(), hide(BORDER_POOLS[number](x), visible)
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


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('size', [(8, 16), (4, 8), (2, 4)], ids=['z=4', 'z=2', 'z=1'])
@pytest.mark.parametrize(
    ('kernel', 'stride', 'dilation'), [(1, 1, 1), (3, 1, 1), (3, 1, 2), (5, 1, 1), (3, 2, 1), (1, 2, 1)]
)
def test_small_blocks_that_are_laid_out_for_speed(dtype, size, kernel, stride, dilation):
    """On CPU in float32, rows of small blocks become maps of other shapes; 16 and more blocks take that path."""
    if size[0] // 2 % stride:
        return
    x = torch.randn(8, 12, *size, generator=torch.Generator().manual_seed(0)).to(dtype)
    visible = torch.ones(8, 2, 4, dtype=torch.bool)
    visible[:, 1, 1:] = False
    visible[0, 1] = torch.tensor([False, True, True, True])
    visible[1, 0] = torch.tensor([True, False, False, False])
    x = hide(x, visible).requires_grad_()
    weight = (torch.randn(20, 12, kernel, kernel) / (12 * kernel**2) ** 0.5).to(dtype).requires_grad_()
    bias = torch.randn(20).to(dtype).requires_grad_()
    arguments = weight, bias, stride, dilation * (kernel // 2), dilation
    out, whole = F.conv2d(VisibleMap.from_dense(x, visible), *arguments).dense(), hide(F.conv2d(x, *arguments), visible)
    close(out, whole, 'map')
    for a, b in zip(gradients(out, x, weight, bias), gradients(whole, x, weight, bias), strict=True):
        close(hide(a, visible) if a.shape == x.shape else a, hide(b, visible) if b.shape == x.shape else b, 'gradient')


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
