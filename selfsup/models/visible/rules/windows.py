"""Geometry of operations that look beyond a position: what a block needs of its surroundings, and what it becomes.

Per axis, for kernel k, stride s, dilation d and padding p: a block of z pixels gives z / s outputs, of which the first
reads p pixels before the block and the last d * (k - 1) + 1 - s - p pixels after it. Blocks are fetched with that halo and then go
through the unpadded operation, so every output costs what it costs in a whole map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ....errors import ConfigError
from ..block_map import BlockMap
from ..grid import Pads
from ..messages import where
from ..visible_map import VisibleMap

Pair = tuple[int, int]
One = int | list[int] | tuple[int, ...]  # an argument that may be one number for height and width


def pair(value: One) -> Pair:
    """Height and width of an argument that may be one number for both."""
    first, *rest = (value,) if isinstance(value, int) else value
    return first, rest[0] if rest else first


def steps(kernel: Pair, stride: One | None) -> Pair:
    """Stride of a pooling, which is that of its kernel where there is none."""
    return kernel if stride is None or stride == [] else pair(stride)


def outputs(room: int, step: int, ceil_mode: bool) -> int:
    """How many windows fit, of which the last begins `room` pixels after the first at most; with `ceil_mode` one may begin later."""
    return (-(-room // step) if ceil_mode else room // step) + 1


def halo(
    x: VisibleMap, kernel: Pair, stride: Pair, padding: tuple[Pair, Pair], dilation: Pair, ceil_mode: bool = False
) -> Pads:
    """Pixels to fetch around a block at the (top, bottom, left, right).

    Args:
        padding: of the operation itself, per axis (before, after); the margin of `x` is added here.

    Raises:
        ConfigError: the outputs do not fall into equal blocks.
    """
    pads: list[int] = []
    for axis, size in enumerate(x.block_size()):
        before, after = (p + m for p, m in zip(padding[axis], x.margin[2 * axis : 2 * axis + 2], strict=True))
        whole, step = (x.blocks.fh, x.blocks.fw)[axis] * size, stride[axis]
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        if size % step or outputs(whole + before + after - reach, step, ceil_mode) * step != whole:
            raise ConfigError(
                f'A block of {x.block_size()[0]} x {x.block_size()[1]} positions cannot go through kernel {kernel}, stride {stride}, '
                f'padding {padding}{where()}: the output does not fall into equal blocks. Make the block size a multiple of '
                'the stride of the network, return fewer stages, or use a padding that keeps positions in place.'
            )
        pads += [before, max(reach - step - before, 0)]
    return pads[0], pads[1], pads[2], pads[3]


def fetched(x: VisibleMap, pads: Pads, outside: float = 0.0) -> Tensor:
    """(N, C, top + zh + bottom, left + zw + right) blocks with pixels around them, `outside` where these lie beyond the image."""
    return x.blocks.with_halo(x.stored, pads, outside) if any(pads) else x.stored


def overhangs(x: BlockMap, pads: Pads, padding: Pair) -> bool:
    """Whether the last windows end beyond the image, its margin and the operation's own padding, as ceil_mode permits."""
    return any(pads[2 * axis + 1] > padding[axis] + x.margin[2 * axis + 1] for axis in (0, 1))


def whole_with_margin(x: VisibleMap) -> Tensor:
    """(B, C, top + H + bottom, left + W + right) the map, zeros where hidden, and the margin that copies its border."""
    top, bottom, left, right = x.margin
    return functional.pad(x.dense(), (left, right, top, bottom), str(x.margin_value))


def pooled_size(x: BlockMap, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool) -> Pair:
    """(H, W) that pooling the whole map gives."""
    sizes = []
    for size, k, step, p in zip(x.shape[2:], kernel, stride, padding, strict=True):
        number = outputs(size + 2 * p - k, step, ceil_mode)
        # As in torch, no window starts beyond the image.
        sizes.append(number - 1 if ceil_mode and (number - 1) * step >= size + p else number)
    return sizes[0], sizes[1]


def keeps_blocks(x: BlockMap, sizes: Sequence[int], stride: Pair) -> bool:
    """Whether an operation of that stride, which gives maps of `sizes` (H, W), leaves a whole number of positions in each block."""
    grid = x.blocks.fh, x.blocks.fw
    return all(
        held % step == 0 and size * step == held * number
        for size, step, held, number in zip(sizes, stride, x.block_size(), grid, strict=True)
    )


def pooled_beyond_blocks(
    x: BlockMap, whole: Tensor, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool
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

    size = x.shape[2], x.shape[3]
    return x.with_whole(whole, x.blocks.coarser((kernel, stride, padding, ceil_mode, *x.block_size()), visible, size))
