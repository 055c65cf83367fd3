"""Where the pixels of a batch come from: flips, crops and antialiased resizing, each image with its own box."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from ...torchvision_steps import interpolation_mode
from ..base import Size
from .base import BatchForm, Row, batch_form_of, to_bytes
from .colour import FlagBatch


@batch_form_of(v2.RandomHorizontalFlip)
class HorizontalFlipBatch(FlagBatch):
    def change(self, images: Tensor) -> Tensor:
        return images.flip(-1)


@batch_form_of(v2.RandomVerticalFlip)
class VerticalFlipBatch(FlagBatch):
    def change(self, images: Tensor) -> Tensor:
        return images.flip(-2)


def resizing_weights(start: Tensor, length: Tensor, total: int, out: int, mode: InterpolationMode) -> Tensor:
    """How PIL's antialiased resizing makes `out` pixels of a piece of a line (Resample.c).

    Args:
        start: int (B,): the first pixel of the piece.
        length: int (B,): its pixels, >= 1.
        total: pixels of the line.
        out: pixels wanted.
        mode: bilinear or bicubic.

    Returns:
        float32 (B, out, total), rows that add up to 1.
    """
    start, length = (values.to(torch.float32)[:, None, None] for values in (start, length))
    device = start.device
    place = torch.arange(total, device=device) - start  # (B, 1, total), from the first pixel of the piece on
    scale = length / out
    stretch = scale.clamp(min=1)
    centre = (torch.arange(out, device=device)[:, None] + 0.5) * scale  # (B, out, 1)
    distance = ((place - centre + 0.5) / stretch).abs()
    if mode == InterpolationMode.BILINEAR:
        weights = (1 - distance).clamp(min=0)
    else:  # Keys' cubic with a = -0.5
        near = (1.5 * distance - 2.5) * distance * distance + 1
        far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
        weights = torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))
    weights = weights * ((place >= 0) & (place < length))
    return weights / weights.sum(-1, keepdim=True)


def crop_and_resize(images: Tensor, boxes: Tensor, size: Size, mode: InterpolationMode) -> Tensor:
    """A piece of each image, resized with antialiasing: two products with weights of each image's own.

    Args:
        images: uint8 (B, C, H, W).
        boxes: (B, 4) top, left, height and width of the pieces in pixels.
        size: height and width that the pieces get.
        mode: bilinear or bicubic.

    Returns:
        uint8 (B, C, *size).
    """
    height, width = images.shape[-2:]
    top, left, tall, wide = boxes.to(images.device, non_blocking=True).unbind(1)
    across = resizing_weights(left, wide, width, size[1], mode)[:, None]  # (B, 1, w, W)
    down = resizing_weights(top, tall, height, size[0], mode)[:, None]  # (B, 1, h, H)
    # bytes in between, as PIL has them
    between = (images.float() @ across.transpose(2, 3)).add_(0.5).floor_().clamp_(0, 255)
    return to_bytes(down @ between)


class ResizingBatch(BatchForm):
    """A box of each image, resized to one size. Row: top, left, height, width."""

    resizes = True
    width = 4

    def pack(self, params: Any) -> Row:
        return params

    def size_after(self, size: Size) -> Size:
        height, width = self.step.size
        return height, width

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        size = self.size_after((images.shape[-2], images.shape[-1]))
        return crop_and_resize(images, draws, size, interpolation_mode(self.step.interpolation))


batch_form_of(v2.RandomResizedCrop)(ResizingBatch)


@batch_form_of(v2.Resize)
class ResizeBatch(ResizingBatch):
    """All images to the size that the step makes of theirs; nothing is drawn."""

    width = 0

    def pack(self, params: Any) -> Row:
        return ()

    def size_after(self, size: Size) -> Size:
        return self.form.draw(size)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        whole = torch.tensor([[0, 0, *images.shape[-2:]]]).expand(len(images), 4)
        return super().apply(images, whole)
