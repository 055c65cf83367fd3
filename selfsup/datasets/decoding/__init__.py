"""From the bytes of an image file to pixels.

`decoder.py` is what a data source asks: it knows how many channels are wanted, in which range they lie, and which backend decodes.
Plain JPEG files (`jpeg_header.py` says which those are) go to the fastest decoder that gives the pixels of Pillow (`fast.py`), all else to
Pillow.
"""

from .decoder import Backend, Decoder, Pixels, load_rgb
from .fast import image_libraries

__all__ = ['Backend', 'Decoder', 'Pixels', 'image_libraries', 'load_rgb']
