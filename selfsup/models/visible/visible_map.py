"""Feature maps that store and compute visible blocks only, so that hiding 60 % of an image saves 60 % of the work.

Masked pretraining of convnets (SparK, arXiv 2301.03580; FCMAE, arXiv 2301.00808) hides blocks of 32 px. Such blocks align with the maps
of every stage of a network of stride 32, so the visible part of a map is a small dense array (N, C, z, z) with z = 8, 4, 2, 1:
ordinary layers run on it, and a convolution that looks beyond its block first fetches the pixels around it.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import Self

from ..layers.functional import length
from .axes import as_maps, as_seen, channel_sizes, from_maps
from .block_map import BlockMap, Margin
from .grid import Blocks, map_of, rows_of
from .kernels.norm_relu import Normed, Rectified


class VisibleMap(BlockMap):
    """A feature map (B, C, H, W) that holds its visible blocks only; networks take it as a tensor.

    Hidden positions are zero for their neighbours and absent from statistics. See `BlockMap` for what a map is and
    `register_rule` for operations that have no rule yet.
    """

    path: ClassVar[str] = 'visible'
    normed: Normed | None = None  # this map comes right out of a batch norm
    rectified: Rectified | None = None  # this map is the ReLU of one and need not be kept for gradients

    @classmethod
    def _start(cls, x: Tensor, blocks: Blocks) -> Self:
        return cls(blocks.gather(x), blocks)

    @property
    def values(self) -> Tensor:
        """(N, C, zh, zw) the visible blocks, by image, row, column; in the order of `axes`. Channels-last in memory."""
        return self.stored

    def dense(self) -> Tensor:
        """The whole map, zeros where hidden; differentiable. Channels-last in memory."""
        whole = self.blocks.scatter(as_maps(self.stored, self.axes))
        return as_seen(from_maps(whole, self.axes, self.channel_sizes()), self.axes)

    def with_stored(self, stored: Tensor, axes: str | None = None, clean: bool = True) -> Self:
        return type(self)(stored, self.blocks, self.axes if axes is None else axes)

    def with_margin(self, margin: Margin, value: float | str) -> Self:
        """The next operation fetches its blocks with what is in the margin; nothing is stored."""
        return type(self)(self.stored, self.blocks, self.axes, margin, value)

    def block_size(self) -> tuple[int, int]:
        axes = self.axes.upper()
        return self.stored.shape[axes.index('H')], self.stored.shape[axes.index('W')]

    def positions(self) -> Tensor:
        return rows_of(self.stored)  # a view; batch norm of rows is faster on CPU than that of many small maps

    def with_positions(self, positions: Tensor) -> Self:
        return self.with_stored(map_of(positions, *self.block_size()))

    def with_normed(self, normed: Normed) -> Self:
        out = self.with_positions(normed.out)
        out.normed = normed
        return out

    def image_sum(self, t: Tensor) -> Tensor:
        return self.blocks.by_image(t.sum((2, 3))).sum(1)

    def image_norm(self, t: Tensor, order: float, dtype: torch.dtype) -> Tensor:
        """(B, C) norms over the visible positions of each image: the norm of the norms of its blocks."""
        return length(self.blocks.by_image(length(t, order, (2, 3), dtype)), order, (1,), dtype)

    def per_image(self, t: Tensor, dim: int) -> Tensor:
        return t.index_select(dim, self.blocks.image)

    def image_total(self, t: Tensor) -> Tensor:
        return self.blocks.by_image(t.flatten(1)).sum(1).view(self.blocks.batch, *t.shape[1:])

    def by_image(self, t: Tensor) -> tuple[Tensor, Tensor]:
        n, channels, zh, zw = t.shape
        rows = self.blocks.by_image(t.permute(0, 2, 3, 1).reshape(n, zh * zw * channels))
        there = self.blocks.by_image(t.new_ones(n, 1)) > 0
        return rows.view(len(rows), -1, channels), there.expand(-1, -1, zh * zw).reshape(len(rows), -1)

    def spread(self, plain: Tensor) -> Tensor:
        axes = self.axes.upper()
        images = axes.index('N')
        if any(plain.shape[axes.index(axis)] != 1 for axis in 'HW'):
            plain = plain.expand(
                *(
                    whole if axis in 'NHW' else size
                    for axis, size, whole in zip(axes, plain.shape, self.whole_sizes(), strict=True)
                )
            )
            return from_maps(self.blocks.gather(as_maps(plain, axes)), axes, channel_sizes(plain, axes))
        return plain if plain.shape[images] == 1 else plain.index_select(images, self.blocks.image)
