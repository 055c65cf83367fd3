"""Images of any number of channels and of any depth, as they are stored."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from .endings import register_heif
from .orientation import load_as_stored
from .raster import has_rasterio, read_raster
from .tiff import TIFF_MAGIC, read_tiff

NUMPY_MAGIC = b'\x93NUMPY'
PNG_MAGIC = b'\x89PNG\r\n\x1a\n'
PNG_DEPTH, PNG_KIND = 24, 25  # offsets of bits per channel and of the colour type
PNG_GREY_ALPHA = 4
DEEP_FORMATS = ('JPEG2000', 'PPM')  # of which Pillow hands out 8 bits where there are more
# Mode of Pillow -> number of channels, the last of which is transparency. Others are converted to RGB.
MODES = {'1': 1, 'L': 1, 'I': 1, 'F': 1, 'LA': 2, 'RGB': 3, 'RGBA': 4, 'CMYK': 4}


def read_layers(data: bytes, channels: int) -> tuple[np.ndarray, int]:
    """All channels of an image.

    Args:
        data: a TIFF file of any number of channels and pages, a `.npy` file of shape (C, H, W) or (H, W), or what Pillow reads; what none
            of them reads is given to rasterio where it is installed.
        channels: that are wanted. 3 takes grey as three equal channels, and leaves transparency out.

    Returns:
        Values (C, H, W) as stored, of any type, and the EXIF orientation.

    Raises:
        ValueError: another number of channels, or what the decoders raise.
    """
    if data.startswith(NUMPY_MAGIC):
        values, orientation, transparent = _array(data), 1, False
    elif data.startswith(TIFF_MAGIC):
        found = read_tiff(data)
        values, orientation, transparent = found if found is not None else _other(data)
    else:
        values, orientation, transparent = _other(data)
    if channels == 3 and transparent:
        values = values[:-1]
    if channels == 3 and len(values) == 1:
        values = np.repeat(values, 3, axis=0)
    if len(values) != channels:
        raise ValueError(
            f'it has {len(values)} channel{"s" if len(values) > 1 else ""}, not the {channels} of the data source'
        )
    return values, orientation


def _array(data: bytes) -> np.ndarray:
    try:
        values = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # of any kind: the header is a piece of Python
        raise ValueError(f'NumPy cannot read it: {error}') from None
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3:
        raise ValueError(f'its array has the shape {values.shape}, not (channels, height, width)')
    return values


def _other(data: bytes) -> tuple[np.ndarray, int, bool]:
    """Values (C, H, W), orientation, and whether the last channel is transparency."""
    register_heif()
    try:
        opened = Image.open(io.BytesIO(data))
    except Image.UnidentifiedImageError:
        if not has_rasterio():
            raise
        return read_raster(data), 1, False
    with opened:
        image, orientation = load_as_stored(opened)  # Pillow judges what is damaged
        deep = _deep(data, opened.format, image.mode)
        if deep is not None:
            return deep, orientation, len(deep) in (2, 4)
        if image.mode not in MODES and not image.mode.startswith('I;16'):
            image = image.convert('RGBA' if image.has_transparency_data else 'RGB')
        values = np.asarray(image)
        values = values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)
        return np.ascontiguousarray(values), orientation, image.mode in ('LA', 'RGBA')


def _deep(data: bytes, kind: str | None, mode: str) -> np.ndarray | None:
    """Values (C, H, W) of an image with several channels of more than 8 bits, of which Pillow hands out 8; None for others."""
    png = kind == 'PNG' and data.startswith(PNG_MAGIC) and data[PNG_DEPTH] == 16
    if mode not in ('LA', 'RGB', 'RGBA') or not (png or kind in DEEP_FORMATS):
        return None
    import cv2

    values: Any = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise ValueError('it has more than 8 bits per channel, in a form that OpenCV does not read')
    if values.dtype == np.uint8:
        return None
    values = np.moveaxis(np.atleast_3d(values), -1, 0)
    if png and data[PNG_KIND] == PNG_GREY_ALPHA:
        values = values[[0, 3]]
    elif len(values) >= 3:
        values = values[[2, 1, 0, *range(3, len(values))]]  # OpenCV's order is blue, green, red
    return np.ascontiguousarray(values)
