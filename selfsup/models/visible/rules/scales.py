"""Rules for operations to another scale: within each block, or on the whole map with zeros where hidden.

Enlarging by a whole number with mode 'nearest', transposed convolutions whose kernel is their stride, and pixel shuffles stay within
each block. The others cost what they cost in a plain network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from ....errors import ConfigError
from ..block_map import BlockMap
from ..messages import where
from ..rule_table import rule
from .norms import need_channels_first
from .windows import pair

MODES = 'nearest', 'nearest-exact', 'bilinear', 'bicubic', 'area'


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
    """To another scale at which a block is a whole number of positions; hidden neighbours take part as zeros."""
    need_channels_first(x, 'interpolate')
    if mode not in MODES:
        raise ConfigError(f'interpolate of a map takes the modes {", ".join(MODES)}{where()}; got mode={mode!r}.')
    sizes = _target(x, size, scale_factor)
    factors = [new / old for new, old in zip(sizes, x.shape[2:], strict=True)]
    if mode == 'nearest' and all(f == int(f) and f >= 1 for f in factors):
        if x.blocks.finer is None:
            return x.with_stored(
                functional.interpolate(x.stored, scale_factor=tuple(map(float, factors)), mode='nearest')
            )
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
    """A transposed convolution; hidden positions add nothing to their neighbours."""
    need_channels_first(x, 'conv_transpose2d')
    steps, pads, more, spread = (pair(value) for value in (stride, padding, output_padding, dilation))
    arguments = weight, bias, stride, padding, output_padding, groups, dilation
    if steps == tuple(weight.shape[2:]) and not any(pads) and not any(more) and spread == (1, 1):
        return x.with_stored(functional.conv_transpose2d(x.stored, *arguments), clean=bias is None)
    return x.with_whole(functional.conv_transpose2d(x.dense(), *arguments))


@rule('pixel_unshuffle')
def pixel_unshuffle(x: BlockMap, downscale_factor: int) -> BlockMap:
    """Positions become channels, within each block."""
    need_channels_first(x, 'pixel_unshuffle')
    if any(size % downscale_factor for size in x.block_size()):
        raise ConfigError(
            f'pixel_unshuffle by {downscale_factor} does not divide blocks of {x.block_size()}{where()}: make the block size '
            'a multiple of the stride of the network.'
        )
    return x.with_stored(functional.pixel_unshuffle(x.stored, downscale_factor))


@rule('pixel_shuffle')
def pixel_shuffle(x: BlockMap, upscale_factor: int) -> BlockMap:
    """Channels become positions, within each block."""
    need_channels_first(x, 'pixel_shuffle')
    return x.with_stored(functional.pixel_shuffle(x.stored, upscale_factor))
