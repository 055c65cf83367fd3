"""What a cache keeps of an image: uint8 RGB, or the channels that the source gives, with the shortest side at most `size`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from ..decoding import Pixels
from ..robust import EXHAUSTED, UNREADABLE

# How an image lies in the store; the position is the number that is stored.
KINDS = ('broken', 'rgb', 'uint8', 'uint16', 'float32')


def small_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width with the shortest side at `size`, as torchvision's Resize rounds them; never larger than the image."""
    short, long = min(height, width), max(height, width)
    if short <= size:
        return height, width
    other = int(size * long / short)
    return (size, other) if height <= width else (other, size)


def shrink(pixels: Pixels, size: int) -> np.ndarray:
    """An image as it is stored: uint8 (H, W, 3) of an RGB image, (C, H, W) of its type of any other; resized with antialiasing.

    Raises:
        ValueError: pixels that no source of images hands out.
    """
    if isinstance(pixels, Image.Image) or (pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8):
        return _shrink_rgb(pixels, size)
    if pixels.ndim != 3 or pixels.dtype.name not in KINDS:
        raise ValueError(f'an array {pixels.shape} of {pixels.dtype} cannot be cached')
    height, width = small_size(pixels.shape[1], pixels.shape[2], size)
    if (height, width) == pixels.shape[1:]:
        return np.ascontiguousarray(pixels)
    values = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32))
    values = torch.nn.functional.interpolate(values[None], (height, width), mode='bilinear', antialias=True)[0]
    small = values.numpy()
    if pixels.dtype != np.float32:
        small = np.clip(np.rint(small), 0, np.iinfo(pixels.dtype).max)
    return small.astype(pixels.dtype)


def _shrink_rgb(pixels: Pixels, size: int) -> np.ndarray:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    if image.mode != 'RGB':
        raise ValueError(f'an image of mode {image.mode} cannot be cached; a source hands out RGB')
    height, width = small_size(image.height, image.width, size)
    if (height, width) != (image.height, image.width):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image)


def kind_of(image: np.ndarray) -> str:
    """The name of `KINDS` under which a shrunk image is stored."""
    return 'rgb' if image.shape[2] == 3 and image.dtype == np.uint8 else image.dtype.name


def read_small(source: Any, index: int, size: int) -> np.ndarray | None:
    """Image number `index` of a source as it is stored; None where it cannot be read.

    Raises:
        OSError: the machine's fault, not the file's.
    """
    try:
        return shrink(source.read_image(index), size)
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno in EXHAUSTED:
            raise
        return None
