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
from .block_map import BlockMap
from .blocks import Blocks, map_of, rows_of
from .map_rules import length
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
        """(B, C, H, W), zeros where hidden; differentiable. Channels-last in memory."""
        first = self.stored.permute(*(self.axes.index(axis) for axis in 'NCHW'))
        return self.blocks.scatter(first).permute(*('NCHW'.index(axis) for axis in self.axes))

    def with_stored(self, stored: Tensor, axes: str | None = None, clean: bool = True) -> VisibleMap:
        return VisibleMap(stored, self.blocks, self.axes if axes is None else axes)

    def with_margin(self, stored: Tensor, margin: tuple[int, int, int, int] | None = None, value: float | None = None) -> VisibleMap:
        """A map like this one, with a margin (or its own) around it."""
        return VisibleMap(stored, self.blocks, self.axes, self.margin if margin is None else margin,
                          self.margin_value if value is None else value)

    def block_size(self) -> tuple[int, int]:
        return self.stored.shape[self.axes.index('H')], self.stored.shape[self.axes.index('W')]

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

    def spread(self, plain: Tensor) -> Tensor:
        spatial = [self.axes.index(axis) for axis in 'HW']
        if any(plain.shape[axis] != 1 for axis in spatial):
            plain = plain.expand(*(size if axis == 'C' else whole
                                   for axis, size, whole in zip(self.axes, plain.shape, self.shape, strict=True)))
            first = plain.permute(*(self.axes.index(axis) for axis in 'NCHW'))
            return self.blocks.gather(first).permute(*('NCHW'.index(axis) for axis in self.axes))
        return plain if len(plain) == 1 else plain.index_select(0, self.blocks.image)


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
    return _kind(path).rules.add(*functions)


def _kind(path: str) -> type[BlockMap]:
    if path not in PATHS:
        raise ConfigError(f'path={path!r} is no way to compute with hidden blocks.{did_you_mean(str(path), PATHS)}')
    return PATHS[path]


def encode_visible(backbone: nn.Module, img: Tensor, visible: Tensor, path: str = 'visible',
                   sync: bool = False) -> tuple[VisibleMap | MaskedMap, ...]:
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
    start = _kind(path).from_dense(img, visible, sync)
    start.blocks.needs_grad = torch.is_grad_enabled()
    maps = backbone(start)
    maps = tuple(maps) if isinstance(maps, (tuple, list)) else (maps,)
    for m in maps:
        if not isinstance(m, BlockMap) or m.axes != 'NCHW':
            given = repr(m) if isinstance(m, BlockMap) else f'{type(m).__name__} of shape {tuple(getattr(m, "shape", ()))}'
            raise ConfigError(f'{type(backbone).__name__} returned {given}, which is no feature map (B, C, H, W): use a backbone that '
                              'returns maps, without pooling or flattening.')
    if not maps:
        raise ShapeError(f'{type(backbone).__name__} returned no maps.')
    return maps
