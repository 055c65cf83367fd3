"""Which files of a folder are images: by their endings, those that the installed decoders read."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Iterable
from functools import cache

from PIL import Image, features

# Formats that Pillow registers but that hold films, pages, drawings or measurements.
NO_PICTURES = frozenset(('PDF', 'EPS', 'WMF', 'MPEG', 'FLI', 'BUFR', 'GRIB', 'HDF5', 'FITS', 'IPTC'))
# Formats that Pillow reads where it was built with a library, and the name of that in `PIL.features`.
BUILT_IN = {'WEBP': 'webp', 'AVIF': 'avif', 'JPEG2000': 'jpg_2000'}
FLOATS = ('.pfm',)
ARRAYS = ('.npy', *FLOATS)  # read where channels or a value range are stated
# Images that need another decoder than the installed ones, or that are converted first.
OTHER_IMAGES = frozenset(
    (
        '.heic',
        '.heif',
        '.hif',
        '.jxl',
        '.exr',
        '.hdr',
        '.svg',
        '.raw',
        '.dng',
        '.cr2',
        '.cr3',
        '.nef',
        '.arw',
        '.orf',
        '.raf',
        '.rw2',
        '.pef',
        '.dcm',
        '.nii',
        '.mrxs',
        '.svs',
        '.ndpi',
    )
)


@cache
def register_heif() -> None:
    """Let Pillow read HEIC and HEIF where the package pillow-heif is installed."""
    if importlib.util.find_spec('pillow_heif') is not None:
        import pillow_heif

        pillow_heif.register_heif_opener()


@cache
def readable_endings(arrays: bool = False) -> tuple[str, ...]:
    """Endings in lower case, with their dot, of the files that the installed decoders read as images; sorted.

    Args:
        arrays: count files of numbers without a range of their own too: `.npy` and `.pfm`.
    """
    Image.init()  # imports Pillow's plugins, which tell what they read
    register_heif()
    kinds = {
        kind
        for kind in Image.OPEN
        if kind not in NO_PICTURES and (kind not in BUILT_IN or features.check(BUILT_IN[kind]))
    }
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in kinds}
    return tuple(sorted(endings | set(ARRAYS) if arrays else endings - set(ARRAYS)))


def left_out(others: Counter[str]) -> str:
    """'28 files ending in .jfif, ...': those among the files passed over that are images, readable here or not; '' for none."""
    return _counted((ending for ending in others if ending in OTHER_IMAGES or ending in readable_endings(True)), others)


def no_images(others: Counter[str]) -> str:
    """The same of the files that are no images."""
    images = OTHER_IMAGES.union(readable_endings(True))
    return _counted((ending for ending in others if ending not in images), others)


def _counted(endings: Iterable[str], counts: Counter[str]) -> str:
    most_first = sorted(endings, key=lambda ending: (-counts[ending], ending))
    return ', '.join(
        f'{counts[ending]} file{"s" if counts[ending] > 1 else ""} {f"ending in {ending}" if ending else "without an ending"}'
        for ending in most_first
    )
