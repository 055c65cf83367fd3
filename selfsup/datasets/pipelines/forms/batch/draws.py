"""The draws of the steps that have a form for batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torchvision.transforms import v2

from ...transforms import GaussianBlur, RandomAppliedTrans, Solarization
from ..base import Size


class Draws:
    """Makes the draws of one step, from the same generators in its order."""

    def __init__(self, step: Any, draw: Callable[[Any, Size], Any]) -> None:
        self.step, self._draw = step, draw

    def draw(self, size: Size) -> Any:
        return self._draw(self.step, size)


def _coin(step: Any, size: Size) -> bool | None:
    return True if torch.rand(1) < step.p else None


def _always(step: Any, size: Size) -> bool:
    return True


def _uniform(low: float, high: float) -> float:
    return torch.empty(1).uniform_(low, high).item()


def _jitter(step: Any, size: Size) -> tuple[list[int], list[float | None]]:
    order = torch.randperm(4).tolist()
    limits = (step.brightness, step.contrast, step.saturation, step.hue)
    return order, [None if pair is None else _uniform(*pair) for pair in limits]


def _blur(step: Any, size: Size) -> float:
    return np.random.uniform(step.sigma_min, step.sigma_max)


def _box(step: Any, size: Size) -> tuple[int, int, int, int]:
    height, width = size
    low, high = step._log_ratio.tolist()
    for _ in range(10):
        area = height * width * _uniform(*step.scale)
        ratio = torch.exp(torch.empty(1).uniform_(low, high)).item()
        wide, tall = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < tall <= height:
            top = torch.randint(0, height - tall + 1, (1,)).item()
            return int(top), int(torch.randint(0, width - wide + 1, (1,)).item()), tall, wide
    wide, tall = width, height
    if width / height < min(step.ratio):
        tall = round(width / min(step.ratio))
    elif width / height > max(step.ratio):
        wide = round(height * max(step.ratio))
    return (height - tall) // 2, (width - wide) // 2, tall, wide


def _corner(step: Any, size: Size) -> tuple[int, int]:
    left, right, top, bottom = step.padding or (0, 0, 0, 0)
    spare = (size[0] + top + bottom - step.size[0], size[1] + left + right - step.size[1])
    if min(spare) < 0:
        raise ValueError(f'a crop of {tuple(step.size)} is larger than the image of {size} with its padding')
    down, across = (int(torch.randint(0, room + 1, ())) if room else 0 for room in spare)
    return down, across


DRAWS: dict[type, Callable[[Any, Size], Any]] = {
    v2.RandomHorizontalFlip: _coin,
    v2.RandomVerticalFlip: _coin,
    v2.RandomGrayscale: _coin,
    v2.RandomSolarize: _coin,
    v2.RandomInvert: _coin,
    v2.RandomPosterize: _coin,
    v2.Grayscale: _always,
    Solarization: _always,
    v2.ColorJitter: _jitter,
    GaussianBlur: _blur,
    v2.RandomResizedCrop: _box,
    v2.RandomCrop: _corner,
    v2.Resize: _always,
    v2.CenterCrop: _always,
    RandomAppliedTrans: _always,
    v2.RandomApply: _always,
}
