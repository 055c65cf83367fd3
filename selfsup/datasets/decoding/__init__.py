"""From the bytes of an image file to pixels.

`decoder.py` is what a data source asks: it knows how many channels are wanted, in which range they lie, and which backend decodes.
"""

from .decoder import Backend, Decoder, Pixels, load_rgb

__all__ = ['Backend', 'Decoder', 'Pixels', 'load_rgb']
