"""Rules for convolutions, and for the padding before them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from ....errors import ConfigError
from ...large_kernel.conv import large_kernel_conv2d
from ...large_kernel.operands import in_autocast_dtype
from ..block_map import BlockMap
from ..grid import check_scale
from ..kernels import conv
from ..masked_map import MaskedMap
from ..messages import CONVOLUTIONS, where
from ..rule_table import rule
from ..visible_map import VisibleMap
from .norms import need_channels_first
from .pointwise import unchanged
from .windows import One, Pair, halo, pair, whole_with_margin

PAD_MODES = 'constant', 'reflect', 'replicate', 'circular'


def _explicit_padding(padding: One | str, kernel: Pair, dilation: Pair) -> tuple[Pair, Pair]:
    """((top, bottom), (left, right)) of a convolution's `padding`."""
    if padding == 'valid':
        return (0, 0), (0, 0)
    if padding == 'same':
        rows, columns = (d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
        return (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)
    assert not isinstance(padding, str)
    return (pair(padding)[0],) * 2, (pair(padding)[1],) * 2


@rule('conv2d', path='visible', takes_margin=True)
def conv2d(
    x: VisibleMap,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: One = 1,
    padding: One | str = 0,
    dilation: One = 1,
    groups: int = 1,
) -> VisibleMap:
    """(B, D, H / s, W / s) of (B, C, H, W): as it is where no output looks beyond its block, else on blocks with a halo."""
    need_channels_first(x, 'conv2d')
    if any(x.margin) and x.margin_value != 0:
        if isinstance(x.margin_value, str):
            return x.with_whole(
                functional.conv2d(whole_with_margin(x), weight, bias, stride, padding, dilation, groups)
            )
        raise ConfigError(
            f'conv2d of a map that was padded with {x.margin_value}{where()}: hidden neighbours are zeros, so only zeros can '
            "be padded here. Pad with 0, or use path='masked'."
        )
    kernel, step, spread = pair(weight.shape[2:]), pair(stride), pair(dilation)
    pads = halo(x, kernel, step, _explicit_padding(padding, kernel, spread), spread)
    values, weight, bias = in_autocast_dtype(x.stored, weight, bias)  # before blocks are fetched: half the traffic
    rectified = x.rectified if values is x.stored and unchanged(x, x.rectified) else None
    if not any(pads):
        return x.with_stored(conv.conv_inside(values, weight, bias, x.blocks, step, spread, groups, rectified))
    if conv.prefers_whole_map(values, weight, groups, step):
        return x.with_stored(conv.depthwise_on_whole_map(values, weight, bias, x.blocks, pads, spread, groups))
    return x.with_stored(conv.conv_with_halo(values, weight, bias, x.blocks, pads, step, spread, groups, rectified))


@rule('conv2d', path='masked', takes_margin=True)
def conv2d_masked(
    x: MaskedMap,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: One = 1,
    padding: One | str = 0,
    dilation: One = 1,
    groups: int = 1,
) -> MaskedMap:
    """(B, D, H / s, W / s) of (B, C, H, W): convolved whole; the result is masked in place, which costs no memory."""
    return x.masked(
        check_scale(x.blocks, functional.conv2d(x.zeroed(), weight, bias, stride, padding, dilation, groups)),
        in_place=True,
    )


@rule(large_kernel_conv2d, path='visible')
def large_kernel(
    x: VisibleMap, weight: Tensor, bias: Tensor | None = None, implementation: str | None = None
) -> VisibleMap:
    """(B, C, H, W): on the whole map with zeros where hidden, if the kernel is larger than a block; else as any convolution."""
    need_channels_first(x, 'large_kernel_conv2d')
    if not conv.prefers_whole_map(x.stored, weight, len(weight), (1, 1)):
        return conv2d(x, weight, bias, padding=(weight.shape[2] // 2, weight.shape[3] // 2), groups=len(weight))
    values, weight, bias = in_autocast_dtype(x.stored, weight, bias)
    return x.with_stored(x.blocks.gather(large_kernel_conv2d(x.blocks.scatter(values), weight, bias, implementation)))


@rule(large_kernel_conv2d, path='masked')
def large_kernel_masked(
    x: MaskedMap, weight: Tensor, bias: Tensor | None = None, implementation: str | None = None
) -> MaskedMap:
    """(B, C, H, W): as any other convolution."""
    return x.masked(large_kernel_conv2d(x.zeroed(), weight, bias, implementation), in_place=True)


@rule('pad')
def pad(x: BlockMap, pad: Sequence[int], mode: str = 'constant', value: float | None = None) -> BlockMap:
    """Zeros, another value for a pooling, or a copy of the map's border, around the image; the next operation must use them up."""
    if mode not in PAD_MODES or len(pad) != 4 or x.axes != 'NCHW' or min(pad) < 0:
        raise ConfigError(
            f'A map (axes NCHW) can be padded in space only{where()}; got axes {x.axes}, pad={tuple(pad)}, '
            f'mode={mode!r}: {CONVOLUTIONS}.'
        )
    left, right, top, bottom = pad
    return x.with_margin((top, bottom, left, right), (value or 0.0) if mode == 'constant' else mode)
