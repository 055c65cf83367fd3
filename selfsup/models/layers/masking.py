"""Which blocks of an image a masked method sees, and which it predicts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Literal

import torch
from annotated_types import Interval
from torch import Tensor

from ... import distributed
from ...arguments import Count, Positive, Share, Whole, held
from ...errors import ShapeError

MaskRatio = Annotated[float, Interval(gt=0, lt=1)]
Keep = Literal['round', 'floor']


@held
@dataclass(frozen=True)
class BlockMasking:
    """Random visible blocks: an exact number per image, every choice of blocks equally likely.

    Args:
        mask_ratio: share of the blocks to hide, in (0, 1); SparK and FCMAE use 0.6.
        keep: how the number of visible blocks, blocks * (1 - mask_ratio), becomes whole: 'round' (SparK: 20 of 49) or
            'floor' (FCMAE: 19 of 49).
        block: side of a block in pixels.
    """

    mask_ratio: MaskRatio = 0.6
    keep: Keep = 'round'
    block: Count = 32

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Blocks per column and per row of an image of `height` x `width` pixels.

        Raises:
            ShapeError: a side is no multiple of `block`.
        """
        if height % self.block or width % self.block or not min(height, width):
            near = ' x '.join(str(max(self.block, round(side / self.block) * self.block)) for side in (height, width))
            raise ShapeError(
                f'The images have {height} x {width} pixels, but both sides must be multiples of block={self.block}: '
                f'crop them to {near}, say.'
            )
        return height // self.block, width // self.block

    def visible_of(self, blocks: int) -> int:
        """How many of `blocks` stay visible.

        Raises:
            ShapeError: none or all of them.
        """
        exact = blocks * (1 - self.mask_ratio)
        number = round(exact) if self.keep == 'round' else int(exact)
        if not 0 < number < blocks:
            raise ShapeError(
                f'mask_ratio={self.mask_ratio} of {blocks} blocks leaves {number} visible and {blocks - number} hidden: use '
                f'larger images, a smaller block than {self.block} pixels or another mask_ratio.'
            )
        return number

    def draw(self, img: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Visible blocks of every image, drawn on the device of the images.

        Args:
            img: (B, C, H, W).
            generator: of that device; None takes torch's own, which the training loop seeds before every iteration.

        Returns:
            (B, H / block, W / block) bool, True = visible.
        """
        rows, columns = self.grid(*img.shape[-2:])
        noise = torch.rand(len(img), rows * columns, device=img.device, generator=generator)
        chosen = noise.argsort(dim=1)[:, : self.visible_of(rows * columns)]
        return torch.zeros_like(noise, dtype=torch.bool).scatter_(1, chosen, True).view(-1, rows, columns)


@held
@dataclass(frozen=True)
class TargetMasking:
    """Visible blocks and blocks to predict, by one of two ways, which is drawn anew for each batch (CNN-JEPA, arXiv 2408.07514, section 3).

    Either a few rectangles of each image are to be predicted, whose size is drawn for the batch and whose places for each image
    (I-JEPA, arXiv 2301.08243, section 3); all the rest is visible, in a number that differs between images. Or blocks are chosen as
    in `random`, and all that are hidden are to be predicted.

    A rectangle of h rows begins in one of the first `rows - h` rows, so that the last row of the grid is not reached, and likewise for
    columns: the public code of I-JEPA and CNN-JEPA draws so. An image in which the rectangles leave too few blocks visible goes
    without its last rectangles; that code lets them be seen and predicted.

    Args:
        random: the second way.
        multi_block: probability of the first way.
        targets: rectangles of an image; they may overlap.
        scale: smallest and largest share of the grid that one rectangle covers.
        aspect: smallest and largest ratio of its height and its width. ONE number places scale and aspect, so that large ones are tall.
        min_visible: more blocks than that stay visible in every image; of the first way.
    """

    random: BlockMasking
    multi_block: Share = 0.75
    targets: Count = 4
    scale: tuple[Share, Share] = (0.15, 0.2)
    aspect: tuple[Positive, Positive] = (0.75, 1.5)
    min_visible: Whole = 5

    def draw(self, img: Tensor) -> tuple[Tensor, Tensor]:
        """What is visible and what is to be predicted, from the generators that the training loop seeds before every iteration.

        Args:
            img: (B, C, H, W).

        Returns:
            Two grids (B, H / block, W / block) bool, on the device of the images; no block is in both.

        Raises:
            ShapeError: the images are no whole number of blocks, or the rectangles do not fit them.
        """
        rows, columns = self.random.grid(*img.shape[-2:])
        if self.multi_block:
            self._check(rows, columns)
        way, u = torch.rand(2).tolist()  # of the CPU: numbers that decide on shapes
        if way >= self.multi_block:
            visible = self.random.draw(img)
            return visible, ~visible
        target = self._rectangles(len(img), rows, columns, u, img.device)
        return ~target, target

    def _check(self, rows: int, columns: int) -> None:
        largest = _largest_rectangle(rows, columns, self.scale, self.aspect)
        if largest + self.min_visible >= rows * columns:
            raise ShapeError(
                f'A target of up to {largest} of the {rows} x {columns} blocks does not leave more than min_visible={self.min_visible} '
                f'visible: use larger images, a smaller block than {self.random.block} pixels, a smaller target_scale or min_visible, '
                'or multi_block=0.'
            )

    def _rectangles(self, batch: int, rows: int, columns: int, u: float, device: torch.device) -> Tensor:
        """(batch, rows, columns) bool, True in the rectangles."""
        h, w = rectangle(u, rows, columns, self.scale, self.aspect)
        top = torch.randint(max(rows - h, 1), (batch, self.targets, 1), device=device)
        left = torch.randint(max(columns - w, 1), (batch, self.targets, 1), device=device)
        y, x = torch.arange(rows, device=device), torch.arange(columns, device=device)
        within = ((y >= top) & (y < top + h))[..., None] & ((x >= left) & (x < left + w))[:, :, None]
        together = within.cumsum(dim=1) > 0  # the first rectangle, the first two, ...
        enough = rows * columns - together.flatten(2).sum(2) > self.min_visible
        return (together & enough[:, :, None, None]).any(dim=1)


def rectangle(
    u: float, rows: int, columns: int, scale: tuple[float, float], aspect: tuple[float, float]
) -> tuple[int, int]:
    """Rows and columns, at least 1, of the rectangle that a number `u` in [0, 1) stands for; see `TargetMasking`."""
    blocks = int(rows * columns * (scale[0] + u * (scale[1] - scale[0])))
    ratio = aspect[0] + u * (aspect[1] - aspect[0])
    return (
        min(max(round(math.sqrt(blocks * ratio)), 1), rows),
        min(max(round(math.sqrt(blocks / ratio)), 1), columns),
    )


@cache
def _largest_rectangle(rows: int, columns: int, scale: tuple[float, float], aspect: tuple[float, float]) -> int:
    """Blocks of the largest rectangle that may be drawn."""
    sizes = (rectangle(i / 1000, rows, columns, scale, aspect) for i in range(1001))
    return max(h * w for h, w in sizes)


def enlarge(cells: Tensor, height: int, width: int) -> Tensor:
    """Repeat every cell of (B, h, w) until the grid has `height` x `width` cells, multiples of h and w: (B, height, width)."""
    return cells.repeat_interleave(height // cells.shape[1], dim=1).repeat_interleave(width // cells.shape[2], dim=2)


def mean_count(hidden: Tensor) -> Tensor:
    """Number of True entries, averaged over the processes.

    A loss that every process divides by this number has, averaged over processes as DDP averages gradients, the value and
    the gradient of the mean over all of them together, also where their numbers differ.
    """
    return distributed.sum(hidden.sum()) / distributed.world_size()
