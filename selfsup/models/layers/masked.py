"""Feature maps that are computed whole and masked: the slow, readable reference for `VisibleMap`.

This is what the public code of SparK does with a mask that lives in a module-level variable; here every map knows its own. As there,
a map is masked after each convolution and pooling, and batch norm works on the visible positions, gathered into (N, C). Biases of
other layers leave something at hidden positions; that is masked before the next operation that looks beyond a position.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ...errors import ConfigError
from .block_map import CONVOLUTIONS, BlockMap, Rules, check_scale, takes_margin, where
from .blocks import Blocks
from .large_kernel import large_kernel_conv2d
from .map_axes import as_seen, from_maps
from .map_norms import NORMS
from .map_statistics import length
from .map_whole import PAD_MODES, keeps_blocks, pair, pooled_beyond_blocks

MASKED = Rules(NORMS)


class MaskedMap(BlockMap):
    """A whole feature map (B, C, H, W) of which hidden positions count as zeros; networks take it as a tensor."""

    rules = MASKED

    @classmethod
    def _start(cls, x: Tensor, blocks: Blocks) -> MaskedMap:
        return cls(x, blocks).masked(x)

    def dense(self) -> Tensor:
        """The whole map, zeros where hidden; differentiable."""
        return as_seen(self.zeroed(), self.axes)

    def with_whole(self, whole: Tensor, blocks: Blocks | None = None) -> MaskedMap:
        blocks = self.blocks if blocks is None else blocks
        return MaskedMap(check_scale(blocks, whole), blocks).masked(whole)

    def with_stored(self, stored: Tensor, axes: str | None = None, clean: bool = True) -> MaskedMap:
        out = MaskedMap(stored, self.blocks, self.axes if axes is None else axes)
        out.hidden_zero = clean and self.hidden_zero
        return out

    def masked(self, stored: Tensor, in_place: bool = False) -> MaskedMap:
        """A map like this one that holds `stored` with zeros at hidden positions."""
        out = MaskedMap(stored, self.blocks, self.axes)
        out.stored = stored.mul_(out.mask()) if in_place else out.hide(stored)
        return out

    def zeroed(self) -> Tensor:
        return self.stored if self.hidden_zero else self.hide(self.stored)

    def block_size(self) -> tuple[int, int]:
        height, width = (self.stored.shape[self.axes.upper().index(axis)] for axis in 'HW')
        return (height - sum(self.margin[:2])) // self.blocks.fh, (width - sum(self.margin[2:])) // self.blocks.fw

    def mask(self) -> Tensor:
        """1 where visible, 0 where hidden, of the dtype of the map; broadcasts with what is stored."""
        return from_maps(
            self.blocks.pixel_mask(*self.block_size(), self.stored.dtype), self.axes, [1] * (len(self.axes) - 3)
        )

    def hide(self, t: Tensor) -> Tensor:
        """`t` with zeros at hidden positions."""
        return t * self.mask()

    def hide_(self) -> None:
        """In place, so that views of the same memory may rely on it as well."""
        if self.hidden_zero:
            self.stored.mul_(self.mask())

    def safe(self, t: Tensor) -> Tensor:
        """`t` with ones at hidden positions."""
        return torch.where(self.mask().bool(), t, 1.0)

    def positions(self) -> Tensor:
        return self.blocks.rows(self.stored)

    def with_positions(self, positions: Tensor) -> MaskedMap:
        return MaskedMap(self.blocks.unrows(positions, *self.block_size()), self.blocks)

    def image_sum(self, t: Tensor) -> Tensor:
        return t.sum((2, 3))

    def per_image(self, t: Tensor, dim: int) -> Tensor:
        return t

    def image_total(self, t: Tensor) -> Tensor:
        return t

    def by_image(self, t: Tensor) -> tuple[Tensor, Tensor]:
        there = self.blocks.pixel_mask(*self.block_size(), torch.bool)
        return t.flatten(2).transpose(1, 2), there.flatten(1)

    def image_norm(self, t: Tensor, order: float, dtype: torch.dtype) -> Tensor:
        """(B, C) norms over the visible positions of each image."""
        return length(t, order, (2, 3), dtype)

    def spread(self, plain: Tensor) -> Tensor:
        return plain


@MASKED.add('conv2d')
@takes_margin
def conv2d(
    x: MaskedMap,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int = 1,
    padding: int | str = 0,
    dilation: int = 1,
    groups: int = 1,
) -> MaskedMap:
    """The whole map is convolved; the result is masked in place, which costs no memory."""
    return x.masked(
        check_scale(x.blocks, functional.conv2d(x.zeroed(), weight, bias, stride, padding, dilation, groups)),
        in_place=True,
    )


@MASKED.add(large_kernel_conv2d)
def large_kernel(
    x: MaskedMap, weight: Tensor, bias: Tensor | None = None, implementation: str | None = None
) -> MaskedMap:
    """As any other convolution."""
    return x.masked(large_kernel_conv2d(x.zeroed(), weight, bias, implementation), in_place=True)


@MASKED.add('max_pool2d')
@takes_margin
def max_pool2d(
    x: MaskedMap,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> MaskedMap:
    """Hidden neighbours take part as zeros."""
    if return_indices:
        raise ConfigError(f'max_pool2d of a map cannot return indices{where()}.')
    out = functional.max_pool2d(x.zeroed(), kernel_size, stride, padding, dilation, ceil_mode)
    return _pooled(x, out, kernel_size, stride, padding, ceil_mode)


@MASKED.add('avg_pool2d')
@takes_margin
def avg_pool2d(
    x: MaskedMap,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> MaskedMap:
    """Hidden neighbours take part as zeros and are counted."""
    out = functional.avg_pool2d(
        x.zeroed(), kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )
    return _pooled(x, out, kernel_size, stride, padding, ceil_mode)


def _pooled(
    x: MaskedMap, out: Tensor, kernel_size: int, stride: int | None, padding: int, ceil_mode: bool
) -> MaskedMap:
    kernel, padding = pair(kernel_size), pair(padding)
    stride = kernel if stride is None or stride == [] else pair(stride)
    if keeps_blocks(x, tuple(out.shape[2:]), stride) or any(x.margin):
        return x.masked(check_scale(x.blocks, out))
    return pooled_beyond_blocks(x, out, kernel, stride, padding, ceil_mode)


@MASKED.add('pad')
def pad(x: MaskedMap, pad: tuple[int, ...], mode: str = 'constant', value: float | None = None) -> MaskedMap:
    """Zeros, another value for a pooling, or a copy of the map's border, around the image."""
    if mode not in PAD_MODES or len(pad) != 4 or x.axes != 'NCHW' or min(pad) < 0:
        raise ConfigError(
            f'A map (axes NCHW) can be padded in space only{where()}; got axes {x.axes}, pad={tuple(pad)}, '
            f'mode={mode!r}: {CONVOLUTIONS}.'
        )
    left, right, top, bottom = pad
    padded = functional.pad(x.zeroed(), tuple(pad), mode, value)
    return MaskedMap(
        padded, x.blocks, margin=(top, bottom, left, right), margin_value=(value or 0.0) if mode == 'constant' else mode
    )
