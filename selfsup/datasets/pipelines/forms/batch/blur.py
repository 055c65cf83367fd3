"""Blur of a batch, each image with its own radius."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ...transforms import GaussianBlur
from .base import BatchForm, Row, batch_form_of, on_rows

PASSES = 3  # PIL's number of box filters


def box_radius(sigma: Tensor) -> Tensor:
    """Radius (B,), whole pixels and a fraction, of the box that applied `PASSES` times has standard deviation sigma (B,).

    "Fast and accurate Gaussian blur" (Gwosdek et al. 2011, section 3), as in PIL's BoxBlur.c.
    """
    variance = sigma.double() ** 2 / PASSES
    whole = ((12 * variance + 1).sqrt() - 1).div_(2).floor_()
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance)
    return whole + part / (6 * (variance - (whole + 1) ** 2))


def boxes(sigma: Tensor) -> Tensor:
    """Half of a box filter: float32 (B, K), weights of the middle and of the pixels 1, 2, ... K - 1 to either side.

    Args:
        sigma: standard deviations (B,) of all `PASSES` together.
    """
    radius = box_radius(sigma)[:, None]
    distance = torch.arange(math.floor(float(radius.max())) + 2, dtype=torch.float64)
    return ((radius + 1 - distance).clamp(0, 1) / (2 * radius + 1)).float()


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """PIL's blur: box filters across, then down, the edge repeated before and bytes rounded after each.

    Written as sums of products, pixel by pixel in one order: what a convolution of the library gives depends on the rest of the batch.

    Args:
        images: uint8 (B, C, H, W).
        sigma: standard deviations (B,) in pixels, > 0, in host memory.
    """
    weights = boxes(sigma).to(images.device, non_blocking=True).view(len(images), -1, 1, 1, 1).unbind(1)
    reach = len(weights) - 1
    values = images.float()
    for axis, edges in ((3, (reach, reach, 0, 0)), (2, (0, 0, reach, reach))):
        pixels = images.shape[axis]
        for _ in range(PASSES):
            padded = F.pad(values, edges, mode='replicate')
            values = padded.narrow(axis, reach, pixels) * weights[0]
            for away in range(1, reach + 1):
                both = padded.narrow(axis, reach - away, pixels) + padded.narrow(axis, reach + away, pixels)
                values.add_(both.mul_(weights[away]))
            values.add_(0.5).floor_()
    return values.to(torch.uint8)


@batch_form_of(GaussianBlur)
class GaussianBlurBatch(BatchForm):
    """Row: the radius, PIL's word for the standard deviation."""

    width = 1

    def pack(self, params: Any) -> Row:
        return [params or 0.0]

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        return on_rows(images, draws[:, 0] > 0, blur, draws[:, 0])
