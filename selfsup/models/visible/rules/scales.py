"""Rules for operations to another number of positions: poolings, interpolation, transposed convolutions, pixel shuffles.

In local poolings hidden neighbours take part as zeros (as in SparK's public code); global ones leave hidden positions out. Enlarging by a
whole number with mode 'nearest', transposed convolutions whose kernel is their stride, and pixel shuffles stay within each block; other
changes of scale run on the whole map with zeros where hidden and cost what they cost in a plain network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from ....errors import ConfigError
from ..block_map import BlockMap
from ..grid import check_scale
from ..kernels.conv import max_pool
from ..masked_map import MaskedMap
from ..messages import where
from ..rule_table import rule
from ..visible_map import VisibleMap
from .norms import need_channels_first
from .pointwise import mul
from .statistics import amax, mean
from .windows import (
    One,
    Pair,
    fetched,
    halo,
    keeps_blocks,
    overhangs,
    pair,
    pooled_beyond_blocks,
    pooled_size,
    steps,
    whole_with_margin,
)

MODES = 'nearest', 'nearest-exact', 'bilinear', 'bicubic', 'area'


def _on_each_side(padding: Pair) -> tuple[Pair, Pair]:
    return (padding[0], padding[0]), (padding[1], padding[1])


@rule('max_pool2d', path='visible', takes_margin=True)
def max_pool2d(
    x: VisibleMap,
    kernel_size: One,
    stride: One | None = None,
    padding: One = 0,
    dilation: One = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> BlockMap:
    """(B, C, H / s, W / s) of (B, C, H, W); what lies beyond the image does not take part."""
    need_channels_first(x, 'max_pool2d')
    _no_indices(return_indices, 'max_pool2d')
    kernel, spread, pads = pair(kernel_size), pair(dilation), pair(padding)
    step = steps(kernel, stride)
    if isinstance(x.margin_value, str):
        return x.with_whole(functional.max_pool2d(whole_with_margin(x), kernel, step, pads, spread, ceil_mode))
    padded = any(x.margin)
    if not padded and spread == (1, 1) and not keeps_blocks(x, pooled_size(x, kernel, step, pads, ceil_mode), step):
        whole = functional.max_pool2d(x.dense(), kernel, step, pads, 1, ceil_mode)
        return pooled_beyond_blocks(x, whole, kernel, step, pads, ceil_mode)
    if padded and any(pads):
        raise ConfigError(f'max_pool2d of a padded map cannot pad again{where()}.')
    around = halo(x, kernel, step, _on_each_side(pads), spread, ceil_mode)
    if padded and overhangs(x, around, (0, 0)):
        raise ConfigError(
            f'max_pool2d of a padded map cannot look beyond its padding{where()}: pad more, or leave out ceil_mode.'
        )
    outside = x.margin_value if padded else float('-inf')
    return x.with_stored(max_pool(fetched(x, around, outside), kernel, step, spread))


@rule('max_pool2d', path='masked', takes_margin=True)
def max_pool2d_masked(
    x: MaskedMap,
    kernel_size: One,
    stride: One | None = None,
    padding: One = 0,
    dilation: One = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> BlockMap:
    """(B, C, H / s, W / s) of (B, C, H, W)."""
    _no_indices(return_indices, 'max_pool2d')
    out = functional.max_pool2d(x.zeroed(), kernel_size, stride, padding, dilation, ceil_mode)
    return _pooled(x, out, kernel_size, stride, padding, ceil_mode)


@rule('avg_pool2d', path='visible', takes_margin=True)
def avg_pool2d(
    x: VisibleMap,
    kernel_size: One,
    stride: One | None = None,
    padding: One = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> BlockMap:
    """(B, C, H / s, W / s) of (B, C, H, W); hidden neighbours are counted (as in SparK's public code)."""
    need_channels_first(x, 'avg_pool2d')
    kernel, pads = pair(kernel_size), pair(padding)
    step = steps(kernel, stride)
    settings = kernel, step, pads, ceil_mode
    if isinstance(x.margin_value, str):
        return x.with_whole(functional.avg_pool2d(whole_with_margin(x), *settings, count_include_pad, divisor_override))
    padded = any(x.margin)
    if not padded and not keeps_blocks(x, pooled_size(x, *settings), step):
        whole = functional.avg_pool2d(x.dense(), *settings, count_include_pad, divisor_override)
        return pooled_beyond_blocks(x, whole, *settings)
    around = halo(x, kernel, step, _on_each_side(pads), (1, 1), ceil_mode)
    beyond = overhangs(x, around, pads)
    if padded and x.margin_value != 0 and (any(pads) or beyond):
        raise ConfigError(
            f'avg_pool2d of a map that was padded with {x.margin_value} cannot look beyond that padding{where()}: pad more, '
            'or leave out padding and ceil_mode.'
        )
    blocks = fetched(x, around, x.margin_value if padded else 0.0)
    out = x.with_stored(functional.avg_pool2d(blocks, kernel, step, 0, divisor_override=divisor_override))
    if divisor_override is None and (beyond or (any(pads) and not count_include_pad)):
        # windows at the border count what lies inside of the image, its margin and, if asked for, the padding
        counted = functional.pad(
            x.new_ones((1, 1, *x.shape[2:])), (pads[1], pads[1], pads[0], pads[0]), value=float(count_include_pad)
        )
        counts = functional.avg_pool2d(counted, kernel, step, 0, ceil_mode, divisor_override=1)
        return mul(out, counts.reciprocal() * (kernel[0] * kernel[1]))
    return out


@rule('avg_pool2d', path='masked', takes_margin=True)
def avg_pool2d_masked(
    x: MaskedMap,
    kernel_size: One,
    stride: One | None = None,
    padding: One = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> BlockMap:
    """(B, C, H / s, W / s) of (B, C, H, W); hidden neighbours are counted."""
    out = functional.avg_pool2d(
        x.zeroed(), kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )
    return _pooled(x, out, kernel_size, stride, padding, ceil_mode)


def _pooled(x: MaskedMap, out: Tensor, kernel_size: One, stride: One | None, padding: One, ceil_mode: bool) -> BlockMap:
    """The map of `out` (B, C, h, w), what pooling the whole map gave."""
    kernel = pair(kernel_size)
    step = steps(kernel, stride)
    if keeps_blocks(x, out.shape[2:], step) or any(x.margin):
        return x.masked(check_scale(x.blocks, out))
    return pooled_beyond_blocks(x, out, kernel, step, pair(padding), ceil_mode)


def _no_indices(return_indices: bool, name: str) -> None:
    if return_indices:
        raise ConfigError(f'{name} of a map cannot return indices{where()}.')


# ---- global -----------------------------------------------------------------------------------------------------------------


@rule('adaptive_avg_pool2d')
def adaptive_avg_pool2d(x: BlockMap, output_size: One) -> BlockMap | Tensor:
    """(B, C, 1, 1) means over the visible positions; other output sizes are refused."""
    _one_value(output_size, 'adaptive_avg_pool2d')
    return mean(x, (2, 3), keepdim=True)


@rule('adaptive_max_pool2d')
def adaptive_max_pool2d(x: BlockMap, output_size: One, return_indices: bool = False) -> BlockMap | Tensor:
    """(B, C, 1, 1) largest of the visible positions; other output sizes are refused."""
    _one_value(output_size, 'adaptive_max_pool2d')
    _no_indices(return_indices, 'adaptive_max_pool2d')
    return amax(x, (2, 3), keepdim=True)


def _one_value(output_size: object, name: str) -> None:
    if output_size not in (1, (1, 1), [1, 1]):
        raise ConfigError(
            f'{name} of a map gives one value per image and channel{where()}; got output_size={output_size}: regions '
            'hold hidden and visible positions alike; masked training needs a convolutional network without them.'
        )


# ---- interpolation and shuffles ----------------------------------------------------------------------------------------------


@rule('interpolate')
def interpolate(
    x: BlockMap,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = 'nearest',
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> BlockMap:
    """(B, C, h, w) of (B, C, H, W), at a scale at which a block is a whole number of positions; hidden neighbours take part as zeros."""
    need_channels_first(x, 'interpolate')
    if mode not in MODES:
        raise ConfigError(f'interpolate of a map takes the modes {", ".join(MODES)}{where()}; got mode={mode!r}.')
    sizes = _target(x, size, scale_factor)
    factors = [new / old for new, old in zip(sizes, x.shape[2:], strict=True)]
    if mode == 'nearest' and all(f == int(f) and f >= 1 for f in factors) and x.blocks.finer is None:
        return x.with_stored(functional.interpolate(x.stored, scale_factor=tuple(map(float, factors)), mode='nearest'))
    whole = functional.interpolate(
        x.dense(), size, scale_factor, mode, align_corners, recompute_scale_factor, antialias
    )
    finer = x.blocks.finer  # from positions that cover several blocks back to the map that they were pooled from
    return x.with_whole(whole, finer[0] if finer is not None and tuple(whole.shape[2:]) == finer[1] else None)


def _target(
    x: BlockMap, size: int | Sequence[int] | None, scale_factor: float | Sequence[float] | None
) -> tuple[int, ...]:
    if size is not None:
        return tuple(int(side) for side in ((size, size) if isinstance(size, (int, Tensor)) else size))
    factors = (scale_factor,) * 2 if isinstance(scale_factor, (int, float)) else tuple(scale_factor or ())
    return tuple(math.floor(side * factor) for side, factor in zip(x.shape[2:], factors, strict=True))


@rule('conv_transpose2d')
def conv_transpose2d(
    x: BlockMap,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    output_padding: int | tuple[int, ...] = 0,
    groups: int = 1,
    dilation: int | tuple[int, ...] = 1,
) -> BlockMap:
    """(B, D, s * H, s * W) of (B, C, H, W); hidden positions add nothing to their neighbours."""
    need_channels_first(x, 'conv_transpose2d')
    steps, pads, more, spread = (pair(value) for value in (stride, padding, output_padding, dilation))
    arguments = weight, bias, stride, padding, output_padding, groups, dilation
    if steps == tuple(weight.shape[2:]) and not any(pads) and not any(more) and spread == (1, 1):
        return x.with_stored(functional.conv_transpose2d(x.stored, *arguments), clean=bias is None)
    return x.with_whole(functional.conv_transpose2d(x.dense(), *arguments))


@rule('pixel_unshuffle')
def pixel_unshuffle(x: BlockMap, downscale_factor: int) -> BlockMap:
    """(B, C * r * r, H / r, W / r) of (B, C, H, W): positions become channels, within each block."""
    need_channels_first(x, 'pixel_unshuffle')
    if any(size % downscale_factor for size in x.block_size()):
        raise ConfigError(
            f'pixel_unshuffle by {downscale_factor} does not divide blocks of {x.block_size()}{where()}: make the block size '
            'a multiple of the stride of the network.'
        )
    return x.with_stored(functional.pixel_unshuffle(x.stored, downscale_factor))


@rule('pixel_shuffle')
def pixel_shuffle(x: BlockMap, upscale_factor: int) -> BlockMap:
    """(B, C / (r * r), H * r, W * r) of (B, C, H, W): channels become positions, within each block."""
    need_channels_first(x, 'pixel_shuffle')
    return x.with_stored(functional.pixel_shuffle(x.stored, upscale_factor))
