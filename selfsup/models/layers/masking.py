"""Which blocks of an image a masked autoencoder sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ... import distributed
from ...errors import ConfigError, ShapeError, did_you_mean

KEEP = ('round', 'floor')


@dataclass(frozen=True)
class BlockMasking:
    """Random visible blocks: an exact number per image, every choice of blocks equally likely.

    Args:
        mask_ratio: share of the blocks to hide, in (0, 1); SparK and FCMAE use 0.6.
        keep: how the number of visible blocks, blocks * (1 - mask_ratio), becomes whole: 'round' (SparK: 20 of 49) or
            'floor' (FCMAE: 19 of 49).
        block: side of a block in pixels.

    Raises:
        ConfigError: a value outside of the above.
    """

    mask_ratio: float = 0.6
    keep: str = 'round'
    block: int = 32

    def __post_init__(self) -> None:
        if not 0 < self.mask_ratio < 1:
            raise ConfigError(
                f'mask_ratio={self.mask_ratio!r}: give the share of the blocks to hide, above 0 and below 1 (0.6, say).'
            )
        if self.keep not in KEEP:
            raise ConfigError(
                f'keep={self.keep!r} is no way to round the number of visible blocks.{did_you_mean(str(self.keep), KEEP)}'
            )
        if not isinstance(self.block, int) or self.block < 1:
            raise ConfigError(f'block={self.block!r}: give the side of a block in whole pixels (32, say).')

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
