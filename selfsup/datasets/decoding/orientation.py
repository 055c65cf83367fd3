"""How the camera was held: the EXIF orientation of an image, and the image turned upright."""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import ExifTags, Image

Exif = Literal['apply', 'ignore']
TAG = ExifTags.Base.Orientation
# Orientation -> what turns the stored image upright (CIPA DC-008, 4.6.4 A).
METHODS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
TURNED_BACK = {6: 8, 8: 6}  # what undoes an orientation, where that is not itself
TURNED = ('TIFF', 'HEIF')  # formats that are turned by their decoders
SWAPPED = (5, 6, 7, 8)  # height becomes width
FLIPPED_X, FLIPPED_Y = (2, 3, 6, 7), (3, 4, 7, 8)  # after that


def load_as_stored(image: Image.Image) -> tuple[Image.Image, int]:
    """Decode an open image completely: the image as it is stored, and its orientation, 1 where it says none."""
    if image.format not in TURNED:
        image.load()
        return image, orientation_of(image)
    # The decoder turns these formats by itself, and then forgets why; pillow-heif remembers.
    orientation = image.info.get('original_orientation') or orientation_of(image)
    image.load()
    return image.transpose(
        METHODS[TURNED_BACK.get(orientation, orientation)]
    ) if orientation in METHODS else image, orientation


def orientation_of(image: Image.Image) -> int:
    """Orientation of an open image, 1 where it says none."""
    try:
        orientation = image.getexif().get(TAG, 1)
    except Exception:  # Pillow raises errors of any kind for mangled EXIF data; the pixels may be whole
        return 1
    return orientation if orientation in METHODS else 1


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The image as it is to be seen."""
    return image.transpose(METHODS[orientation]) if orientation in METHODS else image


def upright_array(image: np.ndarray, orientation: int, y: int, x: int) -> np.ndarray:
    """The array with rows on axis `y` and columns on axis `x`, as it is to be seen."""
    if orientation in SWAPPED:
        image = np.swapaxes(image, y, x)
    axes = tuple(axis for axis, flipped in ((y, FLIPPED_Y), (x, FLIPPED_X)) if orientation in flipped)
    return np.ascontiguousarray(np.flip(image, axes)) if orientation in METHODS else image
