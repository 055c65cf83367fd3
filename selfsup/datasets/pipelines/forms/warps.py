"""Affine warps of uint8 images (H, W, 3), as PIL computes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided
from PIL import Image

from .colours import CUT

Colour = tuple[int, ...]


def _taps(fraction: np.ndarray) -> torch.Tensor:
    """float32 (4, H, 1): weights of four neighbours of a point `fraction` (H,) after the second; PIL's bicubic, whose parameter is -1."""
    t, t2, t3 = fraction, fraction**2, fraction**3
    weights = np.stack([-t + 2 * t2 - t3, 1 - 2 * t2 + t3, t + t2 - t3, -t2 + t3]).astype(np.float32)
    return torch.from_numpy(weights)[:, :, None]


def slide_rows(image: np.ndarray, starts: np.ndarray, fill: Colour) -> np.ndarray:
    """Every row moved along itself, with PIL's bicubic interpolation.

    Args:
        image: uint8 (H, W, 3).
        starts: float64 (H,): x in the source of the first pixel's middle, in pixels from the left edge of the image.
        fill: colour of what lies outside.
    """
    import cv2

    height, width, _ = image.shape
    first = np.floor(starts - 0.5).astype(np.int64)
    weights = _taps(starts - 0.5 - first)
    margin = int(max(0, 1 - first.min(), first.max() + 3))
    margin = min(margin, width + 3)
    first = first.clip(1 - margin, margin - 3)  # rows that lie outside altogether are filled below
    padded = cv2.copyMakeBorder(image, 0, 0, margin, margin, cv2.BORDER_REPLICATE)
    row = 3 * (width + 2 * margin)
    reach = 3 * (width + 3)
    windows = as_strided(padded.reshape(-1), (padded.size - reach + 1, reach), (1, 1))
    rows = windows[np.arange(height) * row + 3 * (margin + first - 1)]  # uint8 (H, 3 (W + 3)): the taps of each row
    taps = torch.from_numpy(rows).to(torch.float32)
    moved = taps[:, : 3 * width] * weights[0]
    for tap in (1, 2, 3):
        moved.addcmul_(taps[:, 3 * tap : 3 * (tap + width)], weights[tap])
    out = (
        moved.clamp_(0, 255).numpy().astype(np.uint8).reshape(image.shape)
    )  # numpy converts several times faster than torch
    x = np.arange(width, dtype=np.int32)
    outside = x < np.ceil(-starts).astype(np.int32)[:, None]
    outside |= x >= np.ceil(width - starts).astype(np.int32)[:, None]
    return cv2.copyTo(plain(height, width, fill), outside.view(np.uint8), out)


def plain(height: int, width: int, fill: Colour) -> np.ndarray:
    """uint8 (height, width, 3) of one colour."""
    row = np.tile(np.array(fill, np.uint8), width)
    return np.tile(row, (height, 1)).reshape(height, width, 3)


def shift(image: np.ndarray, x: int, y: int, fill: Colour) -> np.ndarray:
    """The part of the same size that begins `x` pixels to the right and `y` below."""
    height, width, _ = image.shape
    out = plain(height, width, fill)
    rows, columns = slice(max(0, y), min(height, height + y)), slice(max(0, x), min(width, width + x))
    if rows.start < rows.stop and columns.start < columns.stop:
        out[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x] = image[rows, columns]
    return out


def rotate(image: np.ndarray, degrees: float, resample: int, fill: Colour) -> np.ndarray:
    """PIL's `rotate` around the middle, counter-clockwise; PIL computes what is not bicubic, and quarter turns."""
    if resample != Image.Resampling.BICUBIC or degrees % 90 == 0:
        return np.asarray(Image.fromarray(image).rotate(degrees, Image.Resampling(resample), fillcolor=fill))
    import cv2

    height, width, _ = image.shape
    turn = np.array([[math.cos(math.radians(degrees)), -math.sin(math.radians(degrees))]])
    turn = np.concatenate([turn, turn[:, ::-1] * [[-1, 1]]])  # from places in the result to places in the image
    middle = np.array([width, height]) / 2
    corner = middle - turn @ middle
    first = turn.sum(1) / 2 + corner - 0.5  # the middle of the first pixel, in OpenCV's counting
    matrix = np.concatenate([turn, first[:, None]], 1)
    cubic, linear = (
        cv2.warpAffine(
            image, matrix, (width, height), flags=kind | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )
        for kind in (cv2.INTER_CUBIC, cv2.INTER_LINEAR)
    )
    # OpenCV's parameter is -3/4, PIL's -1; a third more of what sets the cubic apart from the linear one comes near it.
    out = cv2.addWeighted(cubic, 4 / 3, linear, -1 / 3, CUT, dst=cubic)
    inside = np.ones((height, 2), np.int32) * [0, width]
    y = np.arange(height) + 0.5
    for (along, across), begin, size in zip(turn, corner, (width, height), strict=True):
        ends = np.sort(np.stack([-begin - across * y, size - begin - across * y], 1) / along - 0.5, 1)
        inside[:, 0] = np.maximum(inside[:, 0], np.ceil(ends[:, 0]))
        inside[:, 1] = np.minimum(inside[:, 1], np.ceil(ends[:, 1]))
    x = np.arange(width, dtype=np.int32)
    outside = (x < inside[:, :1]) | (x >= inside[:, 1:])
    return cv2.copyTo(plain(height, width, fill), outside.view(np.uint8), out)


def affine(image: np.ndarray, matrix: Sequence[float], resample: int, fill: Colour) -> np.ndarray:
    """PIL's `transform` by an affine matrix, from places in the result to places in `image`; bicubic shears and shifts are faster."""
    a, b, c, d, e, f = matrix
    height, width, _ = image.shape
    if (a, b, d, e) == (1, 0, 0, 1) and c == int(c) and f == int(f):
        return shift(image, int(c), int(f), fill)
    if resample == Image.Resampling.BICUBIC:
        if (a, d, e, f) == (1, 0, 1, 0):
            return slide_rows(image, 0.5 + b * (np.arange(height) + 0.5) + c, fill)
        if (a, b, c, e) == (1, 0, 0, 1):
            import cv2

            starts = 0.5 + d * (np.arange(width) + 0.5) + f
            return cv2.transpose(slide_rows(cv2.transpose(image), starts, fill))
    warped = Image.fromarray(image).transform(
        (width, height), Image.Transform.AFFINE, tuple(matrix), Image.Resampling(resample), fillcolor=fill
    )
    return np.asarray(warped)
