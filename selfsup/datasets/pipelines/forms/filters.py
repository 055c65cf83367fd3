"""Blur and sharpening of uint8 images (H, W, 3), as PIL computes them."""

from __future__ import annotations

import math

import numpy as np

from .colours import CUT

PASSES = 3  # box filters that PIL's Gaussian is made of
NARROW = 5  # pixels of the narrowest box
LARGE = 128  # pixels per side
VISIBLE = 1e-3  # OpenCV filters bytes with weights of 8 bits, of which smaller ones are none


def box_kernel(sigma: float) -> np.ndarray:
    """float32 (K,), K odd: one of PIL's box filters, which together have the standard deviation `sigma`.

    A box has whole pixels in its middle and one of less weight at each end, so that any deviation can be met (Gwosdek et al., 'Theoretical
    foundations of Gaussian convolution by extended box filtering', equations 6 to 8).
    """
    variance = sigma * sigma / PASSES
    whole = math.floor((math.sqrt(12 * variance + 1) - 1) / 2)
    end = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    box = np.ones(2 * whole + 3)
    box[0] = box[-1] = end
    return (box / (2 * whole + 1 + 2 * end)).astype(np.float32)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """PIL's GaussianBlur(radius=sigma); sigma in pixels, >= 0.

    Narrow filters on large images run as one, their convolution; it treats edges otherwise than one filter after the other, which shows
    where edges are many.
    """
    import cv2

    kernel = box_kernel(sigma)
    if len(kernel) <= NARROW and min(image.shape[:2]) >= LARGE:
        kernel = np.convolve(np.convolve(kernel, kernel), kernel)
        kernel = (kernel + kernel[::-1]) / 2  # exactly symmetric: otherwise OpenCV takes three times as long
        reach = len(kernel) // 2
        kept = int(np.flatnonzero(kernel > VISIBLE)[-1]) - reach
        kernel = kernel[reach - kept : reach + kept + 1]
        return cv2.sepFilter2D(image, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE) if kept else image
    for _ in range(PASSES):
        image = cv2.sepFilter2D(image, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
    return image


_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13  # PIL's ImageFilter.SMOOTH


def sharpness(image: np.ndarray, factor: float) -> np.ndarray:
    """PIL's blend with a smoothed image, whose outermost pixels are not smoothed."""
    import cv2

    smooth = cv2.filter2D(image, -1, _SMOOTH, borderType=cv2.BORDER_REPLICATE)
    smooth[0], smooth[-1], smooth[:, 0], smooth[:, -1] = image[0], image[-1], image[:, 0], image[:, -1]
    return cv2.addWeighted(image, factor, smooth, 1 - factor, CUT)
