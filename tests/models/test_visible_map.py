"""Maps of visible blocks: what they store, and what their errors say."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from selfsup.errors import ConfigError, ShapeError
from selfsup.models.visible import VisibleMap, encode_visible, register_rule

from .visible_cases import (
    close,
    hide,
    sample,
    tiny,
)


def test_what_is_stored():
    x, visible = sample()
    m = VisibleMap.from_dense(x, visible)
    assert m.shape == x.shape and m.size(2) == 16 and m.dim() == 4 and len(m) == 3 and m.dtype == torch.float64
    assert m.values.shape == (int(visible.sum()), 4, 8, 8) and m.values.is_contiguous(memory_format=torch.channels_last)
    for row, (image, y, x_) in enumerate(itertools.islice(visible.nonzero().tolist(), 4)):
        torch.testing.assert_close(m.values[row], x[image, :, 8 * y : 8 * y + 8, 8 * x_ : 8 * x_ + 8])
    assert m.permute(0, 2, 3, 1).shape == (3, 16, 24, 4) and m.float().dtype == torch.float32
    torch.testing.assert_close(m.dense(), x)


def test_a_map_is_itself_in_sets_and_next_to_other_things():
    m = VisibleMap.from_dense(*sample())
    assert m in {m} and (m == None) is False and m != 'map'  # noqa: E711


@pytest.mark.parametrize(
    ('size', 'visible', 'message'),
    [
        ((2, 3, 60, 64), torch.ones(2, 8, 2, dtype=torch.bool), '60 x 64 pixels cannot be cut into 8 x 2 equal blocks'),
        (
            (2, 3, 64, 64),
            torch.ones(2, 2, 2),
            r'must be a bool tensor \(B, fh, fw\), True = kept; got \(2, 2, 2\) torch.float32',
        ),
        ((2, 3, 64, 64), torch.ones(2, 4, dtype=torch.bool), r'must be a bool tensor .* got \(2, 4\)'),
        ((2, 3, 64, 64), torch.ones(1, 2, 2, dtype=torch.bool), '2 images but visible has 1 grids'),
        ((2, 3, 64, 64), torch.zeros(2, 2, 2, dtype=torch.bool), 'keeps no block at all'),
        ((3, 64, 64), torch.ones(2, 2, 2, dtype=torch.bool), 'Images must be a float tensor'),
    ],
)
def test_bad_grids(size, visible, message):
    with pytest.raises(ShapeError, match=message):
        encode_visible(nn.Identity(), torch.zeros(size), visible)


def test_errors_say_what_to_do():
    x, visible = sample()
    m = VisibleMap.from_dense(x, visible)
    with pytest.raises(ConfigError, match=r'no rule for Tensor.cumsum\. Add one with'):
        m.cumsum(1)
    with pytest.raises(ConfigError, match='over all positions'):
        F.fold(m, 2, 2)
    with pytest.raises(ConfigError, match=r'no rule for torch\.trace'):
        torch.trace(m)
    with pytest.raises(ConfigError, match=r"path='visibel'.* Did you mean 'visible'"):
        encode_visible(nn.Identity(), x, visible, 'visibel')
    with pytest.raises(ConfigError, match='returned Tensor of shape'):
        encode_visible(nn.AdaptiveAvgPool2d(1), x, visible)
    with pytest.raises(ConfigError, match='a multiple of the stride of the network'):
        encode_visible(tiny('ResNet18'), torch.randn(1, 3, 64, 64), torch.ones(1, 4, 4, dtype=torch.bool))
    with pytest.raises(ShapeError, match='do not fit'):
        m + VisibleMap.from_dense(x, visible)
    with pytest.raises(ShapeError, match='does not broadcast'):
        m + torch.ones(5, 1, 1)
    with pytest.raises(ConfigError, match=r'after F\.pad only a convolution or a pooling'):
        F.relu(F.pad(m, (1, 1, 1, 1)))
    with pytest.raises(AttributeError, match='no attribute'):
        m.no_such_thing()


class Doubled(torch.autograd.Function):
    """An operation that torch does not offer to maps: it would run without a gradient."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * 2


def test_a_custom_autograd_function_does_not_lose_the_gradient_silently():
    x, visible = sample()
    with pytest.raises(ConfigError, match='the gradient would be lost'):
        Doubled.apply(VisibleMap.from_dense(x, visible))


def test_a_rule_can_be_added():
    x, visible = sample()

    @register_rule(torch.special.erfcx)
    def erfcx(m):
        return m.with_stored(torch.special.erfcx(m.stored))

    close(
        torch.special.erfcx(VisibleMap.from_dense(x, visible)).dense(), hide(torch.special.erfcx(x), visible), 'erfcx'
    )
    with pytest.raises(ConfigError, match="no function 'erfcxx'"):
        register_rule('erfcxx')
