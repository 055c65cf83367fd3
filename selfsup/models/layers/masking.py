"""Which blocks of an image a masked autoencoder sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Interval
from torch import Tensor

from ... import distributed
from ...arguments import Count, held
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


def enlarge(cells: Tensor, height: int, width: int) -> Tensor:
    """Repeat every cell of (B, h, w) until the grid has `height` x `width` cells, multiples of h and w: (B, height, width)."""
    return cells.repeat_interleave(height // cells.shape[1], dim=1).repeat_interleave(width // cells.shape[2], dim=2)


def mean_count(hidden: Tensor) -> Tensor:
    """Number of True entries, averaged over the processes.

    A loss that every process divides by this number has, averaged over processes as DDP averages gradients, the value and
    the gradient of the mean over all of them together, also where their numbers differ.
    """
    return distributed.sum(hidden.sum()) / distributed.world_size()
