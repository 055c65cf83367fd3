"""From the bytes of an image file to pixels.

`decoder.py` is what a data source asks: it knows how many channels are wanted, in which range they lie, and which backend decodes.
8-bit RGB: plain JPEG files (`jpeg_header.py` says which those are) go to the fastest decoder that gives the pixels of Pillow (`fast.py`),
all else to Pillow. Any number of channels and any depth: `layers.py`, with `tiff.py`; `value_range.py` says what becomes of their values.
For all: `orientation.py` (EXIF), `notices.py` (what is said once), `endings.py` (which files of a folder are images).
"""

from .decoder import Backend, Decoder, Pixels, load_rgb
from .endings import readable_endings
from .fast import image_libraries
from .orientation import Exif
from .value_range import ValueRange, as_kept_type, in_unit_range

__all__ = [
    'Backend',
    'Decoder',
    'Exif',
    'Pixels',
    'ValueRange',
    'as_kept_type',
    'image_libraries',
    'in_unit_range',
    'load_rgb',
    'readable_endings',
]
