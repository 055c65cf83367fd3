"""Feature maps that are computed whole and masked: the slow, readable reference for `VisibleMap`.

This is what the public code of SparK does with a mask that lives in a module-level variable; here every map knows its own. As there,
a map is masked after each convolution and pooling, and batch norm works on the visible positions, gathered into (N, C). Biases of
other layers leave something at hidden positions; that is masked before the next operation that looks beyond a position.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import Self

from ..layers.functional import length
from .axes import as_seen, from_maps
from .block_map import BlockMap, Margin
from .grid import Blocks


class MaskedMap(BlockMap):
    """A whole feature map (B, C, H, W) of which hidden positions count as zeros; networks take it as a tensor."""

    path: ClassVar[str] = 'masked'

    @classmethod
    def _start(cls, x: Tensor, blocks: Blocks) -> Self:
        return cls(x, blocks).masked(x)

    def dense(self) -> Tensor:
        """The whole map, zeros where hidden; differentiable."""
        return as_seen(self.zeroed(), self.axes)

    def with_stored(self, stored: Tensor, axes: str | None = None, clean: bool = True) -> Self:
        out = type(self)(stored, self.blocks, self.axes if axes is None else axes)
        out.hidden_zero = clean and self.hidden_zero
        return out

    def masked(self, stored: Tensor, in_place: bool = False) -> Self:
        """A map like this one that holds `stored` with zeros at hidden positions."""
        out = type(self)(stored, self.blocks, self.axes)
        out.stored = stored.mul_(out.mask()) if in_place else out.hide(stored)
        return out

    def with_margin(self, margin: Margin, value: float | str) -> Self:
        """The margin is stored."""
        top, bottom, left, right = margin
        mode, fill = (value, None) if isinstance(value, str) else ('constant', value)
        padded = functional.pad(self.zeroed(), (left, right, top, bottom), mode, fill)
        return type(self)(padded, self.blocks, margin=margin, margin_value=value)

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

    def with_positions(self, positions: Tensor) -> Self:
        return type(self)(self.blocks.unrows(positions, *self.block_size()), self.blocks)

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
