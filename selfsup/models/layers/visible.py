"""Feature maps that store and compute visible blocks only, so that hiding 60 % of an image saves 60 % of the work.

Masked pretraining of convnets (SparK, arXiv 2301.03580; FCMAE, arXiv 2301.00808) hides blocks of 32 px. Such blocks align with the maps
of every stage of a network of stride 32, so the visible part of a map is a small dense array (N, C, z, z) with z = 8, 4, 2, 1:
ordinary layers run on it, and a convolution that looks beyond its block first fetches the pixels around it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ...errors import ConfigError, ShapeError, did_you_mean
from . import map_channels, map_whole  # noqa: F401  (rules that are in the tables once these are imported)
from .block_map import BlockMap, check_scale
from .blocks import Blocks, map_of, rows_of
from .map_axes import as_maps, as_seen, channel_sizes, from_maps
from .map_statistics import length
from .masked import MaskedMap
from .norm_relu import Normed, Rectified
from .visible_rules import VISIBLE


class VisibleMap(BlockMap):
    """A feature map (B, C, H, W) that holds its visible blocks only; networks take it as a tensor.

    Hidden positions are zero for their neighbours and absent from statistics. See `BlockMap` for what a map is and
    `register_rule` for operations that have no rule yet.
    """

    rules = VISIBLE
    normed: Normed | None = None  # this map comes right out of a batch norm
    rectified: Rectified | None = None  # this map is the ReLU of one and need not be kept for gradients

    @classmethod
    def _start(cls, x: Tensor, blocks: Blocks) -> VisibleMap:
        return cls(blocks.gather(x), blocks)

    @property
    def values(self) -> Tensor:
        """(N, C, zh, zw) the visible blocks, by image, row, column; in the order of `axes`. Channels-last in memory."""
        return self.stored

    def dense(self) -> Tensor:
        """The whole map, zeros where hidden; differentiable. Channels-last in memory."""
        whole = self.blocks.scatter(as_maps(self.stored, self.axes))
        return as_seen(from_maps(whole, self.axes, self.channel_sizes()), self.axes)

    def with_whole(self, whole: Tensor, blocks: Blocks | None = None) -> VisibleMap:
        blocks = self.blocks if blocks is None else blocks
        return VisibleMap(blocks.gather(check_scale(blocks, whole)), blocks)

    def with_stored(self, stored: Tensor, axes: str | None = None, clean: bool = True) -> VisibleMap:
        return VisibleMap(stored, self.blocks, self.axes if axes is None else axes)

    def with_margin(
        self, stored: Tensor, margin: tuple[int, int, int, int] | None = None, value: float | str | None = None
    ) -> VisibleMap:
        """A map like this one, with a margin (or its own) around it."""
        return VisibleMap(
            stored,
            self.blocks,
            self.axes,
            self.margin if margin is None else margin,
            self.margin_value if value is None else value,
        )

    def block_size(self) -> tuple[int, int]:
        axes = self.axes.upper()
        return self.stored.shape[axes.index('H')], self.stored.shape[axes.index('W')]

    def zeroed(self) -> Tensor:
        return self.stored

    def safe(self, t: Tensor) -> Tensor:
        return t

    def hide(self, t: Tensor) -> Tensor:
        return t

    def hide_(self) -> None:
        """Nothing hidden is stored."""

    def positions(self) -> Tensor:
        return rows_of(self.stored)  # a view; batch norm of rows is faster on CPU than that of many small maps

    def with_positions(self, positions: Tensor) -> VisibleMap:
        return self.with_stored(map_of(positions, *self.block_size()))

    def with_normed(self, normed: Normed) -> VisibleMap:
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


PATHS = {'visible': VisibleMap, 'masked': MaskedMap}


def register_rule(*functions: Callable | str, path: str = 'visible') -> Callable[[Callable], Callable]:
    """Decorator that teaches maps a torch operation.

    A rule gets the arguments of the operation and returns a map or a plain tensor. For an operation that treats every position
    alike, compute on what the map stores::

        @register_rule(torch.special.erfcx)
        def erfcx(x):
            return x.with_stored(torch.special.erfcx(x.stored))

    For one that mixes positions, `x.dense()` gives the whole map with zeros where hidden and `VisibleMap.from_dense` goes back.
    On the masked path pass `clean=False` to `with_stored` where hidden positions may have become non-zero. Rules are meant to be
    registered once, when the module that defines them is imported.

    Args:
        *functions: torch functions, or names such as 'cumsum', which stand for the function and the method.
        path: 'visible' or 'masked'.

    Raises:
        ConfigError: unknown path or function.
    """
    return map_kind(path).rules.add(*functions)


def map_kind(path: str) -> type[BlockMap]:
    """The kind of map for one of the `PATHS`.

    Raises:
        ConfigError: there is no such path.
    """
    if path not in PATHS:
        raise ConfigError(f'path={path!r} is no way to compute with hidden blocks.{did_you_mean(str(path), PATHS)}')
    return PATHS[path]


def encode_visible(
    backbone: nn.Module, img: Tensor, visible: Tensor, path: str = 'visible', sync: bool = False
) -> tuple[VisibleMap | MaskedMap, ...]:
    """The maps of `backbone` for images of which only some blocks are visible.

    Args:
        backbone: a convnet that takes images and returns a map or a tuple of maps; it runs as it is.
        img: (B, C, H, W) float.
        visible: (B, fh, fw) bool, True = kept. The block H / fh x W / fw must be a multiple of the stride of each map returned.
        path: 'visible' computes on visible blocks only; 'masked' computes everything and masks after each operation, the
            slow reference. Both give the same numbers.
        sync: batch norms use the visible positions of all ranks. They do so too if the backbone has a SyncBatchNorm.

    Returns:
        One map per map of the backbone.

    Raises:
        ShapeError: sizes that do not fit.
        ConfigError: unknown path, an operation without a rule, a network with another stride, or one that returns no maps.
    """
    sync = sync or any(isinstance(module, nn.SyncBatchNorm) for module in backbone.modules())
    start = map_kind(path).from_dense(img, visible, sync)
    start.blocks.needs_grad = torch.is_grad_enabled()
    return checked_maps(backbone, backbone(start), start)


def checked_maps(backbone: nn.Module, maps: object, start: BlockMap) -> tuple[VisibleMap | MaskedMap, ...]:
    """What `backbone` made of `start`, as a tuple.

    Raises:
        ConfigError: not maps of the blocks of `start`.
        ShapeError: there is none.
    """
    maps = tuple(maps) if isinstance(maps, (tuple, list)) else (maps,)
    for m in maps:
        if isinstance(m, BlockMap) and m.blocks is not start.blocks:
            raise ConfigError(
                f'{type(backbone).__name__} returned a map of {" x ".join(map(str, m.shape[2:]))}, which does not hold '
                f'{start.blocks.fh} x {start.blocks.fw} equal blocks: make the block size a multiple of the stride of the '
                'network, or return fewer stages.'
            )
        if not isinstance(m, BlockMap) or m.axes != 'NCHW':
            given = (
                repr(m) if isinstance(m, BlockMap) else f'{type(m).__name__} of shape {tuple(getattr(m, "shape", ()))}'
            )
            raise ConfigError(
                f'{type(backbone).__name__} returned {given}, which is no feature map (B, C, H, W): use a backbone that '
                'returns maps, without pooling or flattening.'
            )
    if not maps:
        raise ShapeError(f'{type(backbone).__name__} returned no maps.')
    return maps
