"""Pieces of the images of a batch, of one size, padded where they reach over the edge."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from ..base import Size
from .base import BatchForm, Row, batch_form_of
from .draws import Draws


def cut(images: Tensor, corners: Tensor, size: Size) -> Tensor:
    """The piece of `size` at `corners` (B, 2), top and left, of every image (B, C, H, W)."""
    top, left = corners.to(images.device, non_blocking=True).long().unbind(1)
    rows = top[:, None] + torch.arange(size[0], device=images.device)  # (B, h)
    columns = left[:, None] + torch.arange(size[1], device=images.device)
    count, channels, _, width = images.shape
    images = images.gather(2, rows[:, None, :, None].expand(count, channels, size[0], width))
    return images.gather(3, columns[:, None, None, :].expand(count, channels, *size))


class CropBatch(BatchForm):
    """Row: top and left in the padded image."""

    resizes = True
    width = 2

    def pack(self, params: Any) -> Row:
        return params

    def size_after(self, size: Size) -> Size:
        height, width = self.step.size
        return height, width

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        if self.step.padding:
            left, right, top, bottom = self.step.padding
            images = F.pad(images, (left, right, top, bottom), value=self.step.fill)
        return cut(images, draws, self.size_after((images.shape[-2], images.shape[-1])))


@batch_form_of(v2.RandomCrop)
def random_crop(step: Any, form: Draws) -> BatchForm | None:
    """With a fixed padding of one grey, or none."""
    plain = step.padding_mode == 'constant' and isinstance(step.fill, int | float) and not step.pad_if_needed
    return CropBatch(step, form) if plain else None


@batch_form_of(v2.CenterCrop)
class CenterCropBatch(BatchForm):
    """The middle of every image, black where it is smaller; nothing is drawn."""

    resizes = True

    def draw(self, size: Size) -> Row:
        return ()

    def pack(self, params: Any) -> Row:
        return ()

    def size_after(self, size: Size) -> Size:
        height, width = self.step.size
        return height, width

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        padding: list[int] = []
        for wanted, there in zip(reversed(self.step.size), reversed(images.shape[-2:]), strict=True):
            lacking = max(wanted - there, 0)
            padding += [lacking // 2, (lacking + 1) // 2]
        images = F.pad(images, padding)
        top, left = (_middle(there, wanted) for there, wanted in zip(images.shape[-2:], self.step.size, strict=True))
        return images[..., top : top + self.step.size[0], left : left + self.step.size[1]]


def _middle(there: int, wanted: int) -> int:
    return round((there - wanted) / 2)
