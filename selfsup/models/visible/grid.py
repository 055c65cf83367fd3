"""Which blocks of a batch of images are visible, and moving pixels between the visible blocks and whole maps.

An image is cut into a grid of `fh x fw` blocks. On a feature map at any scale a block is a square of `zh x zw` pixels, so one
boolean grid describes all scales of a network. Pixels are moved by index tables that depend on the grid and on the scale
only; they are built once per forward pass and shared by every map of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.nn import functional

from ...errors import ConfigError, ShapeError
from .messages import where

Pads = tuple[int, int, int, int]
M = TypeVar('M', bound=Callable)


class _Fetch(torch.autograd.Function):
    """`Blocks.fetch` with `Blocks.give_back` as its gradient."""

    @staticmethod
    def forward(ctx, values: Tensor, blocks: Blocks, pads: Pads) -> Tensor:
        ctx.blocks, ctx.pads, ctx.size = blocks, pads, values.shape[2:]
        return blocks.fetch(values, pads)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        return ctx.blocks.give_back(grad, ctx.size, ctx.pads), None, None


def _with_zero_row(rows: Tensor) -> Tensor:
    return torch.cat([rows, rows.new_zeros(1, rows.shape[1])])


def _bags_are_fast(rows: Tensor) -> bool:
    """Whether to fill a table, some rows of which stay zero, with an embedding bag of one row or none for each of its rows.

    It writes each row once. Zeros and a copy, or a copy and zeros, were measured to take twice as long on a CPU.
    """
    return rows.device.type == 'cpu' and rows.dtype == torch.float32


class Places:
    """Rows of a larger table, each of them at most once.

    Args:
        index: (M,) int64, which rows.
        size: rows of the table.
    """

    def __init__(self, index: Tensor, size: int) -> None:
        self.index, self.size = index, size

    @cached_property
    def bags(self) -> tuple[Tensor, Tensor]:
        """(M,) what sorts `index`; (size,) how many of its rows come before each row of the table. Not every device reads them."""
        taken = torch.zeros(self.size, dtype=torch.int64, device=self.index.device).index_fill_(0, self.index, 1)
        return self.index.argsort(), _before(taken)


def _before(taken: Tensor) -> Tensor:
    """Where the bag of each row begins: how many rows before it are taken (1), not left at zero (0)."""
    return taken.cumsum(0) - taken


def _fill(rows: Tensor, order: Tensor, before: Tensor) -> Tensor:
    """A table whose row i is the row of `rows` in its bag, or zero where the bag is empty."""
    return functional.embedding_bag(order, rows.contiguous(), before, mode='sum')


class _Take(torch.autograd.Function):
    """The rows of `rows` that `places` names."""

    @staticmethod
    def forward(ctx, rows: Tensor, places: Places) -> Tensor:
        ctx.places = places
        return rows.index_select(0, places.index)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return _Put.apply(grad, ctx.places), None


class _Put(torch.autograd.Function):
    """A table of zeros with `rows` written to `places`: the inverse of `_Take`."""

    @staticmethod
    def forward(ctx, rows: Tensor, places: Places) -> Tensor:
        ctx.places = places
        if _bags_are_fast(rows):
            return _fill(rows, *places.bags)
        return rows.new_zeros(places.size, rows.shape[1]).index_copy_(0, places.index, rows)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return _Take.apply(grad, ctx.places), None


def rows_of(x: Tensor) -> Tensor:
    """Pixels of a map (N, C, h, w) as rows (N * h * w, C); a view where the memory is channels-last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def map_of(rows: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `rows_of`: (N, C, h, w), channels-last in memory."""
    return rows.view(-1, height, width, rows.shape[1]).permute(0, 3, 1, 2)


def _once(method: M) -> M:
    """Keep what a method of `Blocks` makes of its arguments, for the other maps of the forward pass."""

    def table(self: Blocks, *args: Any) -> Any:
        key = (method.__name__, *args)
        if key not in self._tables:
            self._tables[key] = method(self, *args)
        return self._tables[key]

    return cast(M, table)


class Blocks:
    """The visible blocks of a batch.

    Args:
        visible: (B, fh, fw) bool, True = kept. Images may keep different numbers of blocks, or none.
        sync: norms with batch statistics use the visible positions of all ranks.

    Attributes:
        cells: (N,) int64, indices of the visible blocks in the flattened grid, ascending: by image, row, column.
        image, row, column: (N,) int64, where each visible block is.
        counts: (B,) int64, visible blocks of each image.
        finer: the blocks of which these are poolings, and the (H, W) of the map that was pooled; None for the blocks of images.
        needs_grad: whether a forward pass with gradients is under way, so that weights must not be used without.
    """

    def __init__(self, visible: Tensor, sync: bool = False) -> None:
        self.visible, self.sync, self.needs_grad = visible, sync, False
        self.batch, self.fh, self.fw = visible.shape
        self.cells = visible.flatten().nonzero().squeeze(1)
        self.number = len(self.cells)
        self.image = torch.div(self.cells, self.fh * self.fw, rounding_mode='floor')
        within = self.cells % (self.fh * self.fw)
        self.row, self.column = torch.div(within, self.fw, rounding_mode='floor'), within % self.fw
        self.counts = visible.flatten(1).sum(1)
        self._tables: dict[tuple, Any] = {}
        self._coarser: dict[tuple, Blocks] = {}
        self.finer: tuple[Blocks, tuple[int, int]] | None = None

    def coarser(self, key: tuple, visible: Callable[[], Tensor], size: tuple[int, int]) -> Blocks:
        """Blocks each of which covers several of these.

        Args:
            key: what tells these coarser blocks from others of this grid.
            visible: makes their grid (B, h, w) bool.
            size: of the map that they are a pooling of.
        """
        if key not in self._coarser:
            blocks = self._coarser[key] = Blocks(visible(), self.sync)
            blocks.needs_grad, blocks.finer = self.needs_grad, (self, size)
        return self._coarser[key]

    @_once
    def slots(self) -> Tensor:
        """(B, fh, fw) int64: number of each block among the visible ones, N where hidden."""
        slots = torch.full((self.visible.numel(),), self.number, device=self.visible.device)
        slots[self.cells] = torch.arange(self.number, device=slots.device)
        return slots.view(self.visible.shape)

    @_once
    def pixel_mask(self, zh: int, zw: int, dtype: torch.dtype) -> Tensor:
        """(B, 1, fh * zh, fw * zw), 1 at the visible pixels of a map whose blocks have zh x zw pixels, 0 at the others."""
        return self.visible.repeat_interleave(zh, 1).repeat_interleave(zw, 2).unsqueeze(1).to(dtype)

    @_once
    def pixels(self, zh: int, zw: int) -> Places:
        """Places of the N * zh * zw pixels of the visible blocks in the flattened (B, H, W) map."""
        row = self.image * self.fh + self.row  # counts on over the images, as pixel rows do
        y = (row * zh)[:, None] + torch.arange(zh, device=row.device)
        x = (self.column * zw)[:, None] + torch.arange(zw, device=row.device)
        return Places((y[:, :, None] * (self.fw * zw) + x[:, None, :]).flatten(), self.visible.numel() * zh * zw)

    def rows(self, dense: Tensor) -> Tensor:
        """(N * zh * zw, C) the visible pixels of a whole map (B, C, H, W)."""
        return _Take.apply(rows_of(dense), self.pixels(dense.shape[2] // self.fh, dense.shape[3] // self.fw))

    def unrows(self, rows: Tensor, zh: int, zw: int) -> Tensor:
        """The inverse of `rows`, with zeros where hidden; channels-last."""
        return map_of(_Put.apply(rows, self.pixels(zh, zw)), self.fh * zh, self.fw * zw)

    def gather(self, dense: Tensor) -> Tensor:
        """The visible blocks (N, C, zh, zw) of a whole map (B, C, H, W); channels-last."""
        return map_of(self.rows(dense), dense.shape[2] // self.fh, dense.shape[3] // self.fw)

    def scatter(self, values: Tensor) -> Tensor:
        """The whole map (B, C, H, W) with zeros where hidden, from the blocks (N, C, zh, zw); channels-last."""
        return self.unrows(rows_of(values), *values.shape[2:])

    @_once
    def _halo(self, zh: int, zw: int, pads: Pads) -> tuple[Tensor, Tensor, Tensor]:
        """For `fetch`: index of each pixel among the stored ones, flat; which of these are zeros; (N, h, w) bool 'inside the image'."""
        y, y_inside = self._around(self.row, self.fh, zh, pads[0], pads[1])
        x, x_inside = self._around(self.column, self.fw, zw, pads[2], pads[3])
        inside = y_inside[:, :, None] & x_inside[:, None, :]
        slot = self._slot_at(
            torch.div(y, zh, rounding_mode='floor')[:, :, None], torch.div(x, zw, rounding_mode='floor')[:, None, :]
        )
        pixel = (slot * zh + (y % zh)[:, :, None]) * zw + (x % zw)[:, None, :]
        there = inside & (slot < self.number)
        return (pixel * there).flatten(), (~there).flatten().nonzero().squeeze(1), inside

    @_once
    def _halo_bags(self, zh: int, zw: int, pads: Pads) -> tuple[Tensor, Tensor]:
        """Of the pixels in `_halo` those that are not zeros, and how many of them come before each pixel of the result."""
        index, zeros, _ = self._halo(zh, zw, pads)
        there = torch.ones_like(index).index_fill_(0, zeros, 0)
        return index[there.bool()], _before(there)

    def _around(self, block: Tensor, blocks: int, size: int, before: int, after: int) -> tuple[Tensor, Tensor]:
        """Along one axis: positions in the image from `before` to `after` each block, clamped, and which of them are inside."""
        position = (block * size)[:, None] + torch.arange(-before, size + after, device=block.device)
        return position.clamp(0, blocks * size - 1), (position >= 0) & (position < blocks * size)

    def _slot_at(self, row: Tensor, column: Tensor) -> Tensor:
        """Numbers of the blocks at (N, h, 1) rows and (N, 1, w) columns of the grids of the N blocks' images."""
        return self.slots().flatten()[(self.image * (self.fh * self.fw))[:, None, None] + row * self.fw + column]

    @_once
    def _halo_back(self, zh: int, zw: int, pads: Pads) -> Tensor:
        """(N * zh * zw, J): places of each stored pixel in the result of `fetch`; what nobody reads points at its end."""
        height, width = zh + pads[0] + pads[1], zw + pads[2] + pads[3]
        y, row, y_read = self._readers(self.row, self.fh, zh, pads[0], pads[1])
        x, column, x_read = self._readers(self.column, self.fw, zw, pads[2], pads[3])
        read = y_read[:, :, None] & x_read[:, None, :]
        slot = self._slot_at(row[:, :, None], column[:, None, :])
        place = torch.where(
            read & (slot < self.number),
            (slot * height + y[:, :, None]) * width + x[:, None, :],
            self.number * height * width,
        )
        place = place.view(self.number, zh, -1, zw, place.shape[2] // zw).transpose(2, 3)
        return place.reshape(self.number * zh * zw, -1)

    def _readers(self, block: Tensor, blocks: int, size: int, before: int, after: int) -> tuple[Tensor, Tensor, Tensor]:
        """Along one axis: which blocks read a position, and where in their halo it is.

        Returns:
            (1, size * J) places in the halo, (N, size * J) reading blocks, clamped, and whether these exist; J readers at most.
        """
        offsets = range(-((size + after - 1) // size), (size + before - 1) // size + 1)
        readers = [[e for e in offsets if 0 <= y - e * size + before < size + before + after] for y in range(size)]
        most = max(map(len, readers))
        flat = [
            (y - e * size + before, e)
            for y, reading in enumerate(readers)
            for e in reading + [blocks] * (most - len(reading))
        ]
        place, offset = torch.tensor(flat, device=block.device).unbind(1)
        reader = block[:, None] + offset
        return place[None], reader.clamp(0, blocks - 1), (reader >= 0) & (reader < blocks)

    def fetch(self, values: Tensor, pads: Pads) -> Tensor:
        """Each block with pixels of its surroundings, zeros where these are hidden or beyond the image. Not differentiable.

        Args:
            values: (N, C, zh, zw).
            pads: pixels to add at the top, bottom, left, right; >= 0, any number.

        Returns:
            (N, C, top + zh + bottom, left + zw + right), channels-last.
        """
        if not any(pads):
            return values
        zh, zw = values.shape[2:]
        rows = rows_of(values)
        if _bags_are_fast(rows):
            fetched = _fill(rows, *self._halo_bags(zh, zw, pads))
        else:
            index, zeros, _ = self._halo(zh, zw, pads)
            fetched = rows.index_select(0, index).index_fill_(0, zeros, 0)
        return map_of(fetched, pads[0] + zh + pads[1], pads[2] + zw + pads[3])

    def give_back(self, fetched: Tensor, size: tuple[int, int], pads: Pads) -> Tensor:
        """The transpose of `fetch`: each pixel of the blocks of `size` (zh, zw) gets the sum over all places where it was read.

        It is a sum of reads, which is deterministic, unlike scattered additions. The fused one of an embedding bag was
        measured 2 to 15 times faster on CPU than reads that are added up.
        """
        if not any(pads):
            return fetched
        back = self._halo_back(*size, pads)
        rows = _with_zero_row(rows_of(fetched))
        rows = (
            rows.index_select(0, back[:, 0]) if back.shape[1] == 1 else functional.embedding_bag(back, rows, mode='sum')
        )
        return map_of(rows, *size)

    def with_halo(self, values: Tensor, pads: Pads, outside: float = 0.0) -> Tensor:
        """`fetch`, differentiable, with the value `outside` beyond the image."""
        padded, (zh, zw) = _Fetch.apply(values, self, pads), values.shape[2:]
        return padded if outside == 0 else torch.where(self._halo(zh, zw, pads)[2][:, None], padded, outside)

    @_once
    def _image_places(self) -> Places:
        """Place of each visible block in a table (B, M) of the blocks by image; M is the largest count."""
        most = max(int(self.counts.max()), 1)
        rank = torch.arange(self.number, device=self.image.device) - (self.counts.cumsum(0) - self.counts)[self.image]
        return Places(self.image * most + rank, self.batch * most)

    def by_image(self, rows: Tensor) -> Tensor:
        """(B, M, C) from one row per visible block (N, C); M is the largest count, and rows that are missing are zeros."""
        return _Put.apply(rows, self._image_places()).view(self.batch, -1, rows.shape[1])


def check_grid(x: Tensor, visible: Tensor) -> None:
    """Raise a ShapeError where `visible` is no grid of blocks for `x`."""
    if not isinstance(visible, Tensor) or visible.dtype != torch.bool or visible.dim() != 3:
        shown = (
            f'{tuple(visible.shape)} {visible.dtype}' if isinstance(visible, Tensor) else repr(type(visible).__name__)
        )
        raise ShapeError(f'visible must be a bool tensor (B, fh, fw), True = kept; got {shown}.')
    if x.dim() != 4 or not x.is_floating_point():
        raise ShapeError(f'Images must be a float tensor (B, C, H, W); got {tuple(x.shape)} {x.dtype}.')
    if len(x) != len(visible):
        raise ShapeError(
            f'There are {len(x)} images but visible has {len(visible)} grids: give one (fh, fw) grid per image.'
        )
    if 0 in visible.shape or x.shape[2] % visible.shape[1] or x.shape[3] % visible.shape[2]:
        raise ShapeError(
            f'An image of {x.shape[2]} x {x.shape[3]} pixels cannot be cut into {visible.shape[1]} x {visible.shape[2]} equal '
            'blocks: resize the images to multiples of the block size.'
        )
    if visible.device != x.device:
        raise ShapeError(
            f'The images are on {x.device} but visible is on {visible.device}: move visible to {x.device}.'
        )
    if not bool(visible.any()):
        raise ShapeError(f'visible {tuple(visible.shape)} keeps no block at all: lower the mask ratio.')


def check_scale(blocks: Blocks, whole: Tensor) -> Tensor:
    """`whole` (B, C, H, W) itself.

    Raises:
        ConfigError: it cannot be cut into the blocks.
    """
    if whole.shape[2] % blocks.fh or whole.shape[3] % blocks.fw or 0 in whole.shape[2:]:
        raise ConfigError(
            f'The map became {whole.shape[2]} x {whole.shape[3]}, which does not hold {blocks.fh} x {blocks.fw} equal blocks'
            f'{where()}: make the block size a multiple of the stride of the network, or return fewer stages.'
        )
    return whole
