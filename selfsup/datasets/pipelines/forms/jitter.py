"""Forms of the steps that change colours or sharpness and leave every pixel in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from torchvision.transforms import v2

from ..transforms import GaussianBlur, Solarization
from . import colours, filters, tables
from .base import Form, Size, form_of
from .draws import numpy_between
from .opencv import has_opencv

Jitter = tuple[
    tuple[int, float], ...
]  # number of the operation, as torchvision counts them, and its factor; in their order
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
LARGEST_FACTOR = 50


def needs_opencv(kind: type[Form]) -> Callable[[Any], Form | None]:
    """What makes a form of `kind` where OpenCV is there, and none where it is not."""
    return lambda step: kind(step) if has_opencv() else None


class ColorJitterForm(Form):
    """Parameters: `Jitter`; operations that the step leaves out are not in it."""

    OPERATIONS = (colours.brightness, colours.contrast, colours.saturation, colours.hue)

    def __init__(self, step: v2.ColorJitter) -> None:
        super().__init__(step)
        self.ranges = (step.brightness, step.contrast, step.saturation, step.hue)

    def draw(self, size: Size) -> Jitter:
        order = torch.randperm(4).tolist()
        factors = [None if r is None else self.numbers.between(r[0], r[1]) for r in self.ranges]
        return tuple((number, factor) for number in order if (factor := factors[number]) is not None)

    def apply(self, image: np.ndarray, params: Jitter) -> np.ndarray:
        for number, factor in params:
            image = self.OPERATIONS[number](image, factor)
        return image


class GaussianBlurForm(Form):
    """Parameter: the radius in pixels."""

    def draw(self, size: Size) -> float:
        return numpy_between(self.step.sigma_min, self.step.sigma_max)

    def apply(self, image: np.ndarray, params: float) -> np.ndarray:
        return filters.blur(image, params)


class SolarizationForm(Form):
    """Parameter: the threshold, which is not drawn."""

    def draw(self, size: Size) -> float:
        return self.step.threshold

    def apply(self, image: np.ndarray, params: float) -> np.ndarray:
        return tables.solarize(image, params)


class CoinForm(Form):
    """A step that does one thing with probability `p`. Parameters: none, where the coin says so."""

    OPERATIONS: ClassVar[dict[type, Callable[[np.ndarray, Any], np.ndarray]]] = {
        v2.RandomGrayscale: lambda image, step: colours.to_grey(image),
        v2.RandomSolarize: lambda image, step: tables.solarize(image, step.threshold),
        v2.RandomInvert: lambda image, step: tables.invert(image),
        v2.RandomPosterize: lambda image, step: tables.posterize(image, step.bits),
        v2.RandomAutocontrast: lambda image, step: tables.autocontrast(image),
        v2.RandomEqualize: lambda image, step: tables.equalize(image),
        v2.RandomAdjustSharpness: lambda image, step: filters.sharpness(image, step.sharpness_factor),
    }

    def draw(self, size: Size) -> tuple[()] | None:
        return None if self.numbers.share() >= self.step.p else ()

    def apply(self, image: np.ndarray, params: tuple[()]) -> np.ndarray:
        return self.OPERATIONS[type(self.step)](image, self.step)


form_of(GaussianBlur)(needs_opencv(GaussianBlurForm))
form_of(Solarization)(needs_opencv(SolarizationForm))
form_of(*(kind for kind in CoinForm.OPERATIONS if kind is not v2.RandomPosterize))(needs_opencv(CoinForm))


@form_of(v2.ColorJitter)
def _jitter(step: v2.ColorJitter) -> Form | None:
    """Factors that no photo survives have no form: products of more than 2^23 are not exact in OpenCV's floats."""
    factors = [factor for limits in (step.brightness, step.contrast, step.saturation) if limits for factor in limits]
    return ColorJitterForm(step) if max(factors, default=0) <= LARGEST_FACTOR and has_opencv() else None


@form_of(v2.RandomPosterize)
def _posterize(step: v2.RandomPosterize) -> Form | None:
    """Numbers of bits that PIL refuses have no form: the step says what is wrong."""
    return CoinForm(step) if step.bits in range(1, 9) and has_opencv() else None
