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
    """Weights of one box filter, float32 (B, K) with K odd, for standard deviations sigma (B,) of all `PASSES`."""
    radius = box_radius(sigma)[:, None]
    reach = math.floor(float(radius.max())) + 1
    distance = torch.arange(-reach, reach + 1, dtype=torch.float64).abs()
    return ((radius + 1 - distance).clamp(0, 1) / (2 * radius + 1)).float()


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """PIL's blur: box filters across, then down, the edge repeated and bytes rounded before each.

    Args:
        images: uint8 (B, C, H, W).
        sigma: standard deviations (B,) in pixels, > 0, in host memory.
    """
    count, channels, height, width = images.shape
    weights = boxes(sigma).to(images.device, non_blocking=True)
    reach, planes = weights.shape[1] // 2, count * channels
    across = weights.repeat_interleave(channels, dim=0)[:, None, None]  # (B C, 1, 1, K)
    values = images.reshape(1, planes, height, width).float()
    for kernel, edges in ((across, (reach, reach, 0, 0)), (across.transpose(2, 3), (0, 0, reach, reach))):
        for _ in range(PASSES):
            values = F.conv2d(F.pad(values, edges, mode='replicate'), kernel, groups=planes).add_(0.5).floor_()
    return values.to(torch.uint8).view_as(images)


@batch_form_of(GaussianBlur)
class GaussianBlurBatch(BatchForm):
    """Row: the radius, PIL's word for the standard deviation."""

    width = 1

    def pack(self, params: Any) -> Row:
        return [params or 0.0]

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        return on_rows(images, draws[:, 0] > 0, blur, draws[:, 0])
