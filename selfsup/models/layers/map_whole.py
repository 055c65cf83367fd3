"""Rules of both kinds of partly visible maps for operations that are rare or look far: on the whole map, with zeros where hidden.

They cost what they cost in a plain network. Enlarging by a whole number with mode 'nearest', and transposed convolutions whose kernel is
their stride, stay within each block.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from ...errors import ConfigError
from .block_map import BlockMap, where
from .map_norms import need_channels_first
from .map_rules import SHARED

PAD_MODES = 'constant', 'reflect', 'replicate', 'circular'
MODES = 'nearest', 'nearest-exact', 'bilinear', 'bicubic', 'area'


@SHARED.add('interpolate')
def interpolate(
    x: BlockMap,
    size: object = None,
    scale_factor: object = None,
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


def _target(x: BlockMap, size: object, scale_factor: object) -> tuple[int, ...]:
    if size is not None:
        return tuple(int(side) for side in ((size, size) if isinstance(size, (int, Tensor)) else size))
    factors = (scale_factor,) * 2 if isinstance(scale_factor, (int, float)) else tuple(scale_factor)
    return tuple(math.floor(side * factor) for side, factor in zip(x.shape[2:], factors, strict=True))


@SHARED.add('conv_transpose2d')
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


def pair(value: int | tuple[int, ...] | list[int]) -> tuple[int, int]:
    """Height and width of an argument that may be one number for both."""
    two = (value, value) if isinstance(value, int) else tuple(value)
    return two * 2 if len(two) == 1 else two


def keeps_blocks(x: BlockMap, sizes: tuple[int, int], stride: tuple[int, int]) -> bool:
    """Whether an operation of that stride, which gives maps of `sizes` (H, W), leaves a whole number of positions in each block."""
    grid = x.blocks.fh, x.blocks.fw
    return all(
        held % step == 0 and size * step == held * number
        for size, step, held, number in zip(sizes, stride, x.block_size(), grid, strict=True)
    )


def pooled_beyond_blocks(
    x: BlockMap,
    whole: Tensor,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    ceil_mode: bool,
) -> BlockMap:
    """A map whose positions cover several blocks each, as pooling the last stage of a network gives.

    A position is visible if any of those it was pooled from is.

    Args:
        x: what was pooled.
        whole: (B, C, h, w) what pooling the whole map gave, with zeros where hidden.
        kernel: of the pooling, as the following.
    """
    mask = x.blocks.pixel_mask(*x.block_size(), torch.float32)

    def visible() -> Tensor:
        seen = functional.max_pool2d(mask, kernel, stride, padding, 1, ceil_mode)
        return seen[:, 0] > 0

    blocks = x.blocks.coarser((kernel, stride, padding, ceil_mode, *x.block_size()), visible, tuple(x.shape[2:]))
    return x.with_whole(whole, blocks)
