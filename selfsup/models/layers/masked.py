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
from .block_map import BlockMap, Rules, takes_margin, where
from .blocks import Blocks
from .large_kernel import large_kernel_conv2d
from .map_norms import NORMS
from .map_rules import length

MASKED = Rules(NORMS)


class MaskedMap(BlockMap):
    """A whole feature map (B, C, H, W) of which hidden positions count as zeros; networks take it as a tensor."""

    rules = MASKED

    @classmethod
    def _start(cls, x: Tensor, blocks: Blocks) -> MaskedMap:
        return cls(x, blocks).masked(x)

    def dense(self) -> Tensor:
        """(B, C, H, W), zeros where hidden; differentiable."""
        return self.zeroed()

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
        height, width = (self.stored.shape[self.axes.index(axis)] for axis in 'HW')
        return (height - sum(self.margin[:2])) // self.blocks.fh, (width - sum(self.margin[2:])) // self.blocks.fw

    def mask(self) -> Tensor:
        """1 where visible, 0 where hidden, of the dtype of the map; broadcasts with what is stored."""
        return self.blocks.pixel_mask(*self.block_size(), self.stored.dtype).permute(*('NCHW'.index(axis) for axis in self.axes))

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

    def image_norm(self, t: Tensor, order: float, dtype: torch.dtype) -> Tensor:
        """(B, C) norms over the visible positions of each image."""
        return length(t, order, (2, 3), dtype)

    def spread(self, plain: Tensor) -> Tensor:
        return plain


def _check_scale(x: MaskedMap, out: Tensor) -> Tensor:
    fh, fw = x.blocks.fh, x.blocks.fw
    if out.shape[2] % fh or out.shape[3] % fw:
        raise ConfigError(f'The map became {out.shape[2]} x {out.shape[3]}, which does not hold {fh} x {fw} equal blocks{where()}: '
                          'make the block size a multiple of the stride of the network, or return fewer stages.')
    return out


@MASKED.add('conv2d')
@takes_margin
def conv2d(x: MaskedMap, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int | str = 0, dilation: int = 1,
           groups: int = 1) -> MaskedMap:
    """The whole map is convolved; the result is masked in place, which costs no memory."""
    return x.masked(_check_scale(x, functional.conv2d(x.zeroed(), weight, bias, stride, padding, dilation, groups)), in_place=True)


@MASKED.add(large_kernel_conv2d)
def large_kernel(x: MaskedMap, weight: Tensor, bias: Tensor | None = None, implementation: str | None = None) -> MaskedMap:
    """As any other convolution."""
    return x.masked(large_kernel_conv2d(x.zeroed(), weight, bias, implementation), in_place=True)


def _pool(function: object) -> object:
    @takes_margin
    def rule(x: MaskedMap, *args: object, **kwargs: object) -> MaskedMap:
        return x.masked(_check_scale(x, function(x.zeroed(), *args, **kwargs)))
    return rule


MASKED.add('max_pool2d')(_pool(functional.max_pool2d))
MASKED.add('avg_pool2d')(_pool(functional.avg_pool2d))


@MASKED.add('pad')
def pad(x: MaskedMap, pad: tuple[int, ...], mode: str = 'constant', value: float | None = None) -> MaskedMap:
    """Zeros, or another value for a pooling, around the image."""
    if mode != 'constant' or len(pad) != 4 or x.axes != 'NCHW' or min(pad) < 0:
        raise ConfigError(f'A map can be padded in space by a constant only{where()}; got pad={tuple(pad)}, mode={mode!r}.')
    left, right, top, bottom = pad
    padded = functional.pad(x.zeroed(), tuple(pad), value=value)
    return MaskedMap(padded, x.blocks, margin=(top, bottom, left, right), margin_value=value or 0.0)
