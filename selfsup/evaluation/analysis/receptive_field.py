"""Effective receptive field: how far the pixels lie that the centre of the last feature map looks at.

Luo et al. 2016, arXiv:1701.04128, section 2; as a map over input pixels and a table of areas as in RepLKNet (arXiv:2203.06717,
section 4.2, table 10) and SLaK (arXiv:2207.03620, section 5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...errors import ConfigError, DataError, ShapeError

THRESHOLDS = (0.2, 0.3, 0.5, 0.99)


class ReceptiveField(NamedTuple):
    """What was measured.

    Attributes:
        map: (H, W) float64, mean contribution of every pixel, >= 0.
        images: number of images in the mean.
        skipped: images left out, as their gradients were not finite.
    """

    map: np.ndarray
    images: int
    skipped: int


class Area(NamedTuple):
    """The smallest centred square that holds more than a share of the contributions.

    Attributes:
        share: in (0, 1).
        side: of the square in pixels, odd; cut off at the border of the image where it is reached.
        ratio: of the square's area to that of the image, in (0, 1].
    """

    share: float
    side: int
    ratio: float


def contribution(extract: Callable[[Tensor], Sequence[Tensor]], image: Tensor) -> Tensor:
    """How much every pixel contributes to the centre of the last map.

    The centre outputs of all channels go through a ReLU and are summed; the positive part of the gradient of that sum is summed over
    the channels of the image.

    Args:
        extract: from images (B, C, H, W) to feature maps; a network in eval mode.
        image: (C, H, W), normalised as in training.

    Returns:
        (H, W) >= 0, or with values that are not finite where the network's are not.

    Raises:
        ShapeError: the last map has no positions.
    """
    pixels = image[None].clone().requires_grad_(True)
    with torch.enable_grad():
        maps = extract(pixels)
        last = maps if isinstance(maps, Tensor) else maps[-1]
        if last.dim() != 4:
            raise ShapeError(
                f'The network gives {tuple(last.shape)} for images {tuple(pixels.shape)}; a receptive field needs its map '
                '(B, C, H, W) before pooling.'
            )
        centre = last[:, :, last.shape[2] // 2, last.shape[3] // 2].relu().sum()
        if not centre.requires_grad:
            raise ConfigError(
                'The last map does not depend on the image by operations that have a gradient: no receptive field.'
            )
        (gradient,) = torch.autograd.grad(centre, pixels)
    # The ReLU has gradient 0 where its input is NaN: let that be seen.
    return gradient.relu().sum((0, 1)) + 0 * centre.detach()


def receptive_field(extract: Callable[[Tensor], Sequence[Tensor]], images: Iterable[Tensor]) -> ReceptiveField:
    """Mean of `contribution` over images of one size. Images whose map is not finite are counted and left out.

    Args:
        extract: see `contribution`.
        images: (C, H, W) each.

    Raises:
        DataError: no image, another size among them, or no finite map at all.
    """
    total, used, skipped = None, 0, 0
    for image in images:
        weights = contribution(extract, image).double().cpu().numpy()
        if not np.isfinite(weights).all():
            skipped += 1
        elif total is not None and total.shape != weights.shape:
            raise DataError(
                f'Image {used + skipped + 1} has {weights.shape[0]} x {weights.shape[1]} pixels, those before it '
                f'{total.shape[0]} x {total.shape[1]}: resize all to one size.'
            )
        else:
            total, used = weights if total is None else total + weights, used + 1
    if total is None:
        raise DataError(
            f'None of {skipped} images gave finite gradients: the weights or the images are not finite.'
            if skipped
            else 'There are no images.'
        )
    return ReceptiveField(total / used, used, skipped)


def in_logarithms(field: np.ndarray) -> np.ndarray:
    """log10(field + 1), divided by its largest value; exact also where the values are tiny.

    Args:
        field: (H, W) >= 0, see `ReceptiveField`.

    Raises:
        DataError: it is 0 everywhere.
    """
    values = np.log1p(field)  # the base cancels
    if not values.max() > 0:
        raise DataError('No pixel contributes to the centre of the last map: all its outputs there are 0 or below.')
    return values / values.max()


def areas(field: np.ndarray, shares: Sequence[float] = THRESHOLDS) -> list[Area]:
    """The smallest squares around the centre of the image that hold more than the given shares of `in_logarithms(field)`.

    Args:
        field: (H, W) >= 0, see `ReceptiveField`. The centre is pixel (H // 2, W // 2).
        shares: each in (0, 1).

    Raises:
        DataError: the field is 0 everywhere.
        ConfigError: a share outside of (0, 1).
    """
    if not all(0 < share < 1 for share in shares):
        raise ConfigError(f'shares={tuple(shares)}: each must lie between 0 and 1.')
    values = in_logarithms(field)
    height, width = values.shape
    rows, columns = (abs(np.arange(size) - size // 2) for size in (height, width))
    distance = np.maximum(rows[:, None], columns)  # of a pixel: half the side of the square that just holds it
    held = np.cumsum(np.bincount(distance.ravel(), weights=values.ravel())) / values.sum()
    held[-1] = 1.0  # whatever the sum was rounded to
    squares = []
    for share in shares:
        half = int(np.argmax(held > share))
        inside = int((rows <= half).sum()) * int((columns <= half).sum())
        squares.append(Area(share, min(2 * half + 1, max(height, width)), inside / (height * width)))
    return squares
