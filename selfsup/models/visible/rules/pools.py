"""Rules for poolings. Hidden neighbours take part as zeros (as in SparK's public code); global ones leave hidden positions out."""

from __future__ import annotations

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
