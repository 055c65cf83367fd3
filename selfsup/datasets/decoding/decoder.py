"""What decodes the images of a data source."""

from __future__ import annotations

import io
import os
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image

from .fast import decode_jpeg, say_what_is_used
from .jpeg_header import orientation_if_plain

Backend = Literal['fast', 'reference']
# What a source hands out: a PIL image of mode RGB; the same as a uint8 array (H, W, 3), from the fast backend; or, where other channels
# or a value range are asked for, an array (C, H, W) of uint8, uint16 or float32.
Pixels = Image.Image | np.ndarray


def load_rgb(file: str | os.PathLike | BinaryIO) -> Image.Image:
    """Decode an image file completely, so that damage shows here and not in the middle of a pipeline.

    Returns:
        RGB image; an image that is RGB already is not copied. 16-bit grey keeps its upper 8 bits: PIL's own conversion cuts
        at 255, which makes nearly every such image white.

    Raises:
        ValueError: pixels are floats, of which nobody knows the range.
    """
    with Image.open(file) as image:
        image.load()
        if image.mode == 'F':
            raise ValueError('its pixels are floats; save it with 8 or 16 bits per channel')
        if image.mode == 'I' or image.mode.startswith('I;16'):
            image = Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8))
        return image if image.mode == 'RGB' else image.convert('RGB')


class Decoder:
    """Encoded image -> pixels.

    Args:
        channels: 3: RGB images, whatever the file holds; another number: arrays (channels, H, W), and the file must have as many.
        value_range: darkest and brightest value of images that are not 8-bit RGB; None: that of the type of their values.
        exif: 'apply' turns an image as its EXIF orientation says, 'ignore' reads it as it is stored.

    Attributes:
        backend: which implementation decodes.
    """

    def __init__(self, channels: int = 3, value_range: tuple[float, float] | None = None, exif: str = 'ignore') -> None:
        self.channels, self.value_range, self.exif = channels, value_range, exif
        self.backend: Backend = 'reference'

    def use_backend(self, backend: Backend) -> None:
        """How images are decoded from now on; the pixels are the same."""
        self.backend = backend
        if backend == 'fast':
            say_what_is_used()

    def __call__(self, data: bytes) -> Pixels:
        """The image in `data`.

        Raises:
            OSError, ValueError, ...: what `robust.UNREADABLE` lists, for an image that cannot be read.
        """
        if self.backend == 'fast' and orientation_if_plain(data) is not None:
            image = decode_jpeg(data)
            if image is not None:
                return image
        return load_rgb(io.BytesIO(data))
