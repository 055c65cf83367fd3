"""What decodes the images of a data source."""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Callable
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from ...errors import ConfigError, SelfSupWarning
from .endings import register_heif
from .fast import decode_jpeg, say_what_is_used
from .jpeg_header import orientation_if_plain
from .layers import NUMPY_MAGIC, read_layers
from .notices import Kind, Notices
from .orientation import Exif, load_as_stored, orientation_of, upright, upright_array
from .value_range import TOP, ValueRange, as_kept_type, remark

Backend = Literal['fast', 'reference']
# What a source hands out: a PIL image of mode RGB; the same as a uint8 array (H, W, 3), from the fast backend; or, where other channels
# or a value range are asked for, an array (C, H, W) of uint8, uint16 or float32.
Pixels = Image.Image | np.ndarray
RGB = 3
HEIC = (b'heic', b'heix', b'hevc', b'heim', b'heis', b'mif1', b'msf1')  # brands of ISO/IEC 23008-12


def load_rgb(
    file: str | os.PathLike | BinaryIO,
    exif: Exif = 'ignore',
    notices: Notices | None = None,
    name: Callable[[], str] | None = None,
) -> Image.Image:
    """Decode an image file completely, so that damage shows here and not in the middle of a pipeline.

    Args:
        file: path or open file.
        exif: 'apply' turns the image as its EXIF orientation says, 'ignore' reads it as it is stored; the same for every format.
        notices: what was said about the source already; None: say it of this image.
        name: gives the name of the image, for warnings; None: its path.

    Returns:
        RGB image; an image that is RGB already is not copied. 16-bit grey keeps its upper 8 bits: PIL's own conversion cuts
        at 255, which makes nearly every such image white. RGB of 16 bits does too. Where values do not fill 16 bits, a warning
        says so.

    Raises:
        ValueError: pixels are floats, of which nobody knows the range.
    """
    register_heif()

    def called() -> str:
        return name() if name is not None else str(file) if isinstance(file, str | os.PathLike) else 'an image'

    with Image.open(file) as opened:
        deep_colours = opened.mode == 'RGB' and any(';16' in str(tile[3]) for tile in opened.tile)
        image, orientation = load_as_stored(opened)
        if image.mode == 'F':
            raise ValueError(
                'its pixels are floats; state channels=1 and value_range=(lowest, highest) of the data source'
            )
        if image.mode == 'I' or image.mode.startswith('I;16'):
            values = np.asarray(image).astype(np.int64)
            _say(notices, 'range', lambda: remark(values, (0, TOP), called()))
            image = Image.fromarray((values.clip(0, TOP) >> 8).astype(np.uint8))
        if deep_colours:  # Pillow keeps the upper 8 bits
            extremes = np.asarray(image.getextrema())
            _say(
                notices,
                'range',
                lambda: remark(np.array([extremes.min() << 8, extremes.max() << 8 | 255]), (0, TOP), called()),
            )
        image = image if image.mode == 'RGB' else image.convert('RGB')
        if orientation == 1:
            return image
        if exif == 'apply':
            return upright(image, orientation)
        _say(notices, 'exif', lambda: _ignored(called(), orientation))
        return image


def _say(notices: Notices | None, kind: Kind, text: Callable[[], str]) -> None:
    """Warn of `text()`, once of each kind; never of an empty text."""
    if notices is None or notices.open(kind):
        said = text()
        if said:
            warnings.warn(said, SelfSupWarning, stacklevel=3)
            if notices is not None:
                notices.close(kind)


def as_pil(image: Pixels) -> Image.Image:
    """An RGB image in the form of the reference backend."""
    return image if isinstance(image, Image.Image) else Image.fromarray(image)


def _ignored(name: str, orientation: int) -> str:
    return (
        f'{name}: its EXIF orientation ({orientation}) is ignored, as are those of all images: they are read as stored. '
        "Set exif='apply' of the data source to turn them."
    )


class Decoder:
    """Encoded image -> pixels.

    With `channels=3` and no value range every file becomes 8-bit RGB, whatever it holds. Otherwise the values of the file are kept, as
    uint8, uint16 or float32: signed whole numbers without negative ones become uint16, with a stated range float32; float64 is rounded to
    float32. A file must then have as many channels as are asked for; grey as three equal channels, and RGB without its transparency, count
    as 3.

    Args:
        channels: of the images.
        value_range: darkest and brightest value; None: 0 and the largest number of their type. Floats need one.
        exif: 'apply' turns an image as its EXIF orientation says, 'ignore' reads it as it is stored; the same for every format.

    Attributes:
        backend: which implementation decodes; the pixels are the same.
        layered: images are arrays (C, H, W), not RGB pictures.

    Raises:
        ConfigError: a range that is none.
    """

    def __init__(self, channels: int = RGB, value_range: ValueRange | None = None, exif: Exif = 'ignore') -> None:
        if value_range is not None:
            low, high = value_range
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ConfigError(f'value_range={value_range!r}: write (darkest, brightest), two numbers that ascend.')
            value_range = float(low), float(high)
        self.channels, self.value_range, self.exif = channels, value_range, exif
        self.layered = channels != RGB or value_range is not None
        self.backend: Backend = 'reference'
        self._notices = Notices()

    def use_backend(self, backend: Backend) -> None:
        """How images are decoded from now on; the pixels are the same."""
        self.backend = backend
        if backend == 'fast':
            say_what_is_used()

    def __call__(self, data: bytes, name: Callable[[], str] = lambda: 'an image') -> Pixels:
        """The image in `data`.

        Args:
            data: content of the file.
            name: gives the name of the image, for warnings.

        Raises:
            OSError, ValueError, ...: what `robust.UNREADABLE` lists, for an image that cannot be read.
        """
        try:
            return self._layers(data, name) if self.layered else self._rgb(data, name)
        except UnidentifiedImageError:  # of Pillow, which names the buffer
            raise UnidentifiedImageError(f'cannot identify image file{_hint(data)}') from None

    def _rgb(self, data: bytes, name: Callable[[], str]) -> Pixels:
        if self.backend == 'fast':
            orientation = orientation_if_plain(data)
            image = None if orientation is None else decode_jpeg(data)
            if image is not None:
                return image if orientation == 1 else self._held(image, orientation or _asked(data), name, 0, 1)
        return load_rgb(io.BytesIO(data), self.exif, self._notices, name)

    def _layers(self, data: bytes, name: Callable[[], str]) -> np.ndarray:
        """(C, H, W) of uint8, uint16 or float32."""
        values, orientation = read_layers(data, self.channels)
        image = as_kept_type(values, self.value_range)
        _say(self._notices, 'range', lambda: remark(image, self.value_range, name()))
        return self._held(image, orientation, name, 1, 2)

    def _held(self, image: np.ndarray, orientation: int, name: Callable[[], str], y: int, x: int) -> np.ndarray:
        """The image turned upright, or the remark that it is not."""
        if orientation == 1:
            return image
        if self.exif == 'apply':
            return upright_array(image, orientation, y, x)
        _say(self._notices, 'exif', lambda: _ignored(name(), orientation))
        return image


def _hint(data: bytes) -> str:
    """Why nothing reads a file, where its first bytes tell."""
    if not data:
        return ': it is empty'
    if data[4:8] == b'ftyp' and data[8:12] in HEIC:
        return ': it is HEIC, which Pillow reads with pillow-heif (pip install pillow-heif)'
    if data.startswith(NUMPY_MAGIC):
        return ': it is an array of NumPy, which is read where channels or value_range of the data source are stated'
    return f': it begins with {data[:8]!r}'


def _asked(data: bytes) -> int:
    """The orientation that Pillow sees."""
    with Image.open(io.BytesIO(data)) as image:
        return orientation_of(image)
