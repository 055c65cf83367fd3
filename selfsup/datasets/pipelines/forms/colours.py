"""Colour operations on uint8 images (H, W, 3), as close to PIL's as rounding allows.

PIL blends an image with a duller one and cuts the fraction off; OpenCV rounds to the nearest number, so half a level is taken away first.
"""

from __future__ import annotations

import numpy as np

CUT = -0.5 + 1 / 1024  # turns rounding into cutting off; the rest keeps whole numbers where they are
LEVELS = 256
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue, as PIL has them


def grey(image: np.ndarray) -> np.ndarray:
    """(H, W) luma, as PIL's mode L."""
    import cv2

    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def to_grey(image: np.ndarray) -> np.ndarray:
    """The luma in all three channels."""
    import cv2

    return cv2.cvtColor(grey(image), cv2.COLOR_GRAY2RGB)


def brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """PIL's blend with black, `factor` >= 0."""
    import cv2

    return cv2.convertScaleAbs(image, alpha=factor, beta=CUT)


def contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """PIL's blend with the mean of the luma, rounded."""
    import cv2

    red, green, blue, _ = cv2.mean(image)
    mean = int(0.299 * red + 0.587 * green + 0.114 * blue + 0.5)
    matrix = np.zeros((3, 4), np.float32)
    matrix[0, 0] = matrix[1, 1] = matrix[2, 2] = factor
    matrix[:, 3] = (1 - factor) * mean + CUT
    return cv2.transform(image, matrix)


def saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """PIL's blend with the luma."""
    import cv2

    matrix = np.empty((3, 4), np.float32)
    matrix[:, :3] = (1 - factor) * LUMA
    matrix[0, 0] += factor
    matrix[1, 1] += factor
    matrix[2, 2] += factor
    matrix[:, 3] = CUT
    return cv2.transform(image, matrix)


def _distances() -> np.ndarray:
    """uint8 (256, 256, 1, 3): how far each channel lies below the largest, in 255ths of the chroma; by shift, then by OpenCV's hue.

    PIL keeps hues as 255ths of the circle with the fraction cut off and wraps the shifted number at 256; OpenCV rounds to 256ths. The
    table takes the middle of what PIL may have kept for each of OpenCV's hues.
    """
    levels = np.arange(LEVELS)
    shifted = (levels[:, None] + levels / LEVELS * 255 - 0.5) % LEVELS * 6 / 255  # sixths of the circle
    sixths = (np.array([5, 3, 1]) + shifted[..., None]) % 6
    return np.rint(255 * np.clip(np.minimum(sixths, 4 - sixths), 0, 1)).astype(np.uint8)[:, :, None]


_DISTANCES = _distances()


def hue(image: np.ndarray, factor: float) -> np.ndarray:
    """The hue turned by `factor` of the circle, in [-0.5, 0.5]; the largest and the smallest value of a pixel stay.

    HSV to RGB, written out: a channel is value - chroma x distance. This keeps the fraction of a hue that a way back through 8 bits loses.
    """
    import cv2

    shift = int(factor * 255) % LEVELS
    hues, saturations, values = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL))
    distance = cv2.applyColorMap(hues, _DISTANCES[shift])
    chroma = cv2.cvtColor(cv2.multiply(values, saturations, scale=1 / 255), cv2.COLOR_GRAY2RGB)
    below = cv2.multiply(chroma, distance, scale=1 / 255, dst=distance)
    return cv2.subtract(cv2.cvtColor(values, cv2.COLOR_GRAY2RGB), below, dst=below)
