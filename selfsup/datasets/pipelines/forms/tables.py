"""Operations that replace every value by another, exactly as PIL does; steps that look at thresholds must not differ by a rounding."""

from __future__ import annotations

import numpy as np

_VALUES = np.arange(256)


def look_up(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) through a table, uint8 (256,) for all channels or (256, 3)."""
    import cv2

    return cv2.LUT(image, table if table.ndim == 1 else table.reshape(1, 256, 3))


def invert(image: np.ndarray) -> np.ndarray:
    """255 - value."""
    import cv2

    return cv2.bitwise_not(image)


def posterize(image: np.ndarray, bits: int) -> np.ndarray:
    """The highest `bits` of every value, 0 to 8."""
    return np.bitwise_and(image, np.uint8(256 - (1 << (8 - bits))) if bits > 0 else np.uint8(0))


def solarize(image: np.ndarray, threshold: float) -> np.ndarray:
    """255 - value where the value is `threshold` or more."""
    return look_up(image, np.where(threshold > _VALUES, _VALUES, 255 - _VALUES).astype(np.uint8))


def solarize_add(image: np.ndarray, add: int, threshold: int = 128) -> np.ndarray:
    """`add` more where the value is below `threshold`."""
    return look_up(image, np.where(threshold > _VALUES, np.minimum(_VALUES + add, 255), _VALUES).astype(np.uint8))


def autocontrast(image: np.ndarray) -> np.ndarray:
    """Each channel stretched to [0, 255]; one of a single value stays."""
    import cv2

    tables = []
    for channel in cv2.split(image):
        low, high, _, _ = cv2.minMaxLoc(channel)
        if high <= low:
            tables.append(_VALUES)
            continue
        scale = 255.0 / (high - low)
        tables.append((_VALUES * scale + -low * scale).astype(np.int64).clip(0, 255))
    return look_up(image, np.stack(tables, 1).astype(np.uint8))


def equalize(image: np.ndarray) -> np.ndarray:
    """Each channel with its values spread evenly, in PIL's whole numbers."""
    import cv2

    tables = []
    for channel in range(3):
        counts = cv2.calcHist([image], [channel], None, [256], [0, 256]).ravel().astype(np.int64)
        used = counts[counts > 0]
        step = int(counts.sum() - used[-1]) // 255
        if len(used) <= 1 or not step:
            tables.append(_VALUES)
            continue
        below = np.cumsum(counts) - counts
        tables.append(((step // 2 + below) // step).clip(0, 255))
    return look_up(image, np.stack(tables, 1).astype(np.uint8))
