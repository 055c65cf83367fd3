"""Colours of a batch, with the bytes that PIL makes of them.

PIL's definitions: `ImageEnhance` blends with black, the mean grey or the grey image and cuts the fraction off (Blend.c); grey is the
integer formula of Convert.c; hue is turned in its 8-bit HSV (Convert.c).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from ...transforms import Solarization
from .base import BatchForm, Row, batch_form_of, beside, on_rows

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


def grey(images: Tensor) -> Tensor:
    """uint8 (B, 3, H, W) -> luminance, int32 (B, 1, H, W) in [0, 255]."""
    red, green, blue = images.to(torch.int32).split(1, dim=1)
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16


def blend(images: Tensor, other: Tensor | float, factor: Tensor) -> Tensor:
    """`other` + factor * (images - other), cut to bytes."""
    return (other + beside(factor, images) * (images - other)).clamp_(0, 255).to(torch.uint8)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """uint8 (B, 3, H, W), factors (B,) -> uint8 (B, 3, H, W)."""
    return blend(images, 0.0, factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """uint8 (B, 3, H, W), factors (B,) -> uint8 (B, 3, H, W)."""
    pixels = images.shape[-2] * images.shape[-1]
    total = grey(images).sum(dim=(1, 2, 3), dtype=torch.int64, keepdim=True)
    mean = torch.div(2 * total + pixels, 2 * pixels, rounding_mode='floor')  # int(mean + 0.5), without floats
    return blend(images, mean.float(), factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """uint8 (B, 3, H, W), factors (B,) -> uint8 (B, 3, H, W)."""
    return blend(images, grey(images).float(), factor)


def hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue in PIL's 8-bit HSV.

    Args:
        images: uint8 (B, 3, H, W).
        turns: (B,) in [-0.5, 0.5] of the circle; fractions of 1/255 are cut off, as torchvision does.
    """
    values = images.float()
    red, green, blue = values.split(1, dim=1)
    largest, smallest = values.amax(1, keepdim=True), values.amin(1, keepdim=True)
    spread = largest - smallest
    divisor = spread.clamp(min=1)
    angle = torch.where(green == largest, 2 + (blue - red) / divisor, 4 + (red - green) / divisor)
    angle = torch.where(red == largest, (green - blue) / divisor, angle) / 6  # in turns, from -1/6
    angle = torch.where(angle < 0, angle + 1, angle).mul_(255).floor_()
    shift = (turns.double() * 255).trunc().remainder(256).float()
    angle = angle.add_(beside(shift, images)).remainder_(256).mul_(6 / 255)  # in sixths, from 0 to 6
    # `chroma` is v * s of a saturation that has 8 bits
    chroma = largest * (spread * 255 / largest.clamp(min=1)).floor_().div_(255)
    channels = []
    for start in (5, 3, 1):
        distance = (angle + start).remainder_(6)
        share = torch.minimum(distance, 4 - distance).clamp_(0, 1)
        channels.append(largest - chroma * share)
    return torch.cat(channels, dim=1).add_(0.5).clamp_(0, 255).to(torch.uint8)


JITTERS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (brightness, contrast, saturation, hue)


@batch_form_of(v2.ColorJitter)
class ColorJitterBatch(BatchForm):
    """Row: which change comes first and its factor, which comes second and its factor, ...; one that is not made has no number."""

    width = 8
    _NOTHING = (-1.0, 0.0)

    def pack(self, params: Any) -> Row:
        row = [value for change in params for value in change]
        return row + [*self._NOTHING] * (len(JITTERS) - len(params))

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        for place in range(len(JITTERS)):
            numbers, factors = draws[:, 2 * place], draws[:, 2 * place + 1]
            for number, change in enumerate(JITTERS):
                images = on_rows(images, numbers == number, change, factors)
        return images


class FlagBatch(BatchForm):
    """A step that changes an image, always in the same way, or leaves it. Row: whether it does."""

    width = 1

    def pack(self, params: Any) -> Row:
        return [0.0 if params is None else 1.0]

    def change(self, images: Tensor) -> Tensor:
        """The step on all images."""
        raise NotImplementedError

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        return on_rows(images, draws[:, 0] > 0, self.change)


@batch_form_of(v2.RandomGrayscale)
class GrayscaleBatch(FlagBatch):
    def change(self, images: Tensor) -> Tensor:
        return grey(images).to(torch.uint8).expand_as(images)


@batch_form_of(Solarization, v2.RandomSolarize)
class SolarizeBatch(FlagBatch):
    def change(self, images: Tensor) -> Tensor:
        return torch.where(images < self.step.threshold, images, 255 - images)


@batch_form_of(v2.RandomInvert)
class InvertBatch(FlagBatch):
    def change(self, images: Tensor) -> Tensor:
        return 255 - images


@batch_form_of(v2.RandomPosterize)
class PosterizeBatch(FlagBatch):
    def change(self, images: Tensor) -> Tensor:
        return images & (256 - 2 ** (8 - self.step.bits))
