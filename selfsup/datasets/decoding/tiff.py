"""TIFF files of any number of channels, interleaved, in planes or one page each, with tifffile."""

from __future__ import annotations

import importlib.util
import io
from typing import Any

import numpy as np
from PIL import Image

from .orientation import METHODS, TAG
from .raster import has_rasterio, read_raster

TIFF_MAGIC = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
MIN_IS_BLACK, RGB = 1, 2
UNCOMPRESSED = 1
UNASSOCIATED, ASSOCIATED = 2, 1  # kinds of an extra sample that are transparency


def read_tiff(data: bytes) -> tuple[np.ndarray, int, bool] | None:
    """Channels of a TIFF file.

    Of a file of several pages, those of the size of the first are read, and their channels counted through; smaller pages are previews.

    Returns:
        Values (C, H, W) as stored, the EXIF orientation, whether the last channel is transparency. None for a file that is left to Pillow:
        with a palette, white as 0, 1 bit or another colour space, or compressed in a way that tifffile alone does not read.

    Raises:
        ValueError: tifffile cannot read it, or it is cut off.
    """
    if importlib.util.find_spec('tifffile') is None:
        raise ValueError('TIFF files with a stated number of channels or range need tifffile: pip install tifffile')
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            series = file.series[0]
            page = series.keyframe
            if page.photometric not in (MIN_IS_BLACK, RGB) or page.bitspersample < 8:
                return None
            _check_whole(series, len(data))
            try:
                values = _channels_first(series)
            except ValueError as error:
                if 'imagecodecs' not in str(error):
                    raise
                if _fits_pillow(series):
                    return None
                if has_rasterio():
                    return read_raster(data), 1, False
                raise ValueError(f'{error}: pip install imagecodecs') from None
            orientation = page.tags.get(int(TAG))
            held = 1 if orientation is None else orientation.value
            transparent = page.samplesperpixel in (2, 4) and page.extrasamples[-1:] in ((ASSOCIATED,), (UNASSOCIATED,))
            return values, held if held in METHODS else 1, transparent
    except (OSError, ValueError, MemoryError):
        raise
    except Exception as error:  # of any kind, for mangled files
        raise ValueError(f'tifffile cannot read it: {error}') from None


def _fits_pillow(series: Any) -> bool:
    """True for one page that Pillow hands out as it is stored."""
    page = series.keyframe
    grey = page.samplesperpixel == 1 and page.dtype in (np.uint8, np.uint16, np.float32)
    return len(series.pages) == 1 and (grey or (page.samplesperpixel in (3, 4) and page.dtype == np.uint8))


def _check_whole(series: Any, size: int) -> None:
    """Raise a ValueError where pixels lie behind the end of the file, as tifffile would read zeros, and for a size that no image has."""
    page = series.keyframe
    if Image.MAX_IMAGE_PIXELS is not None and page.imagelength * page.imagewidth > 2 * Image.MAX_IMAGE_PIXELS:
        raise ValueError(
            f'it has {page.imagelength} x {page.imagewidth} pixels, more than PIL.Image.MAX_IMAGE_PIXELS allows'
        )
    if page.compression == UNCOMPRESSED and series.nbytes > size:
        raise ValueError('the file is cut off: it is smaller than its pixels')
    for page in series.pages:
        segments = zip(page.dataoffsets, page.databytecounts, strict=True) if page is not None else ()
        if any(offset + count > size for offset, count in segments):
            raise ValueError('the file is cut off: some of its pixels lie behind its end')


def _channels_first(series: Any) -> np.ndarray:
    """(C, H, W) of the pages of one size."""
    values = series.asarray().reshape(series.get_shape(False))
    axes = series.get_axes(False)
    if 'Y' not in axes or 'X' not in axes:
        raise ValueError(f'its axes are {axes}, without height and width')
    values = np.moveaxis(values, (axes.index('Y'), axes.index('X')), (-2, -1))
    return np.ascontiguousarray(values.reshape(-1, *values.shape[-2:]))
