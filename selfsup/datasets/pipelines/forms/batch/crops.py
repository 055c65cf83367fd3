"""Pieces of the images of a batch, of one size, padded where they reach over the edge."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from ..base import Size
from .base import BatchForm, Row, batch_form_of


def cut(images: Tensor, corners: Tensor, size: Size) -> Tensor:
    """The piece of `size` at `corners` (B, 2), top and left, of every image (B, C, H, W)."""
    top, left = corners.to(images.device, non_blocking=True).long().unbind(1)
    rows = top[:, None] + torch.arange(size[0], device=images.device)  # (B, h)
    columns = left[:, None] + torch.arange(size[1], device=images.device)
    count, channels, _, width = images.shape
    images = images.gather(2, rows[:, None, :, None].expand(count, channels, size[0], width))
    return images.gather(3, columns[:, None, None, :].expand(count, channels, *size))


@batch_form_of(v2.RandomCrop, v2.CenterCrop)
class CropBatch(BatchForm):
    """Row: top and left of the piece; where it reaches over the edge, it is black."""

    resizes = True
    width = 2

    def pack(self, params: Any) -> Row:
        return params[:2]

    def size_after(self, size: Size) -> Size:
        height, width = self.step.size
        return height, width

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        height, width = size = self.size_after((images.shape[-2], images.shape[-1]))
        (top, left), (last_top, last_left) = draws.amin(0).int().tolist(), draws.amax(0).int().tolist()
        over = (-left, last_left + width - images.shape[-1], -top, last_top + height - images.shape[-2])
        edges = [max(pixels, 0) for pixels in over]
        if any(edges):
            images = F.pad(images, edges)
            draws = draws + torch.tensor([edges[2], edges[0]])
        return cut(images, draws, size)
