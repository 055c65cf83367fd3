"""JPEG files by the fastest decoder that is installed, with the very pixels of Pillow."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from ... import distributed as dist

Decode = Callable[[bytes], np.ndarray | None]


def decode_jpeg(data: bytes) -> np.ndarray | None:
    """uint8 (H, W, 3) of a plain JPEG file; None: let Pillow decide, by reading it or by saying why not."""
    _, decode = fast_decoder()
    return None if decode is None else decode(data)


@cache
def fast_decoder() -> tuple[str, Decode | None]:
    """Name of the decoder that is used, and the decoder; None for Pillow."""
    for name, make in MAKERS.items():
        if importlib.util.find_spec(name) is not None:
            try:
                return name, make()
            except (ImportError, OSError, AttributeError):
                continue  # a broken installation counts as none
    return 'pillow', None


@cache
def say_what_is_used() -> None:
    """Write to the log which decoder takes the place of a faster one; once per process, and so before there are workers."""
    name, _ = fast_decoder()
    if name != 'simplejpeg' and dist.is_main():
        logging.getLogger('selfsup').info(
            f'simplejpeg is not installed: JPEG files are decoded by {name}, with the same pixels (pip install simplejpeg).'
        )


def _simplejpeg() -> Decode:
    import simplejpeg

    decode_rgb = simplejpeg.decode_jpeg

    def decode(data: bytes) -> np.ndarray | None:
        try:
            return decode_rgb(data)
        except ValueError:  # damage, even where libjpeg goes on with a warning
            return None

    return decode


def _torchvision() -> Decode:
    import torch
    from torchvision.io import ImageReadMode
    from torchvision.io import decode_jpeg as decode_rgb

    def decode(data: bytes) -> np.ndarray | None:
        encoded = torch.from_numpy(np.frombuffer(data, dtype=np.uint8).copy())
        try:
            return np.ascontiguousarray(decode_rgb(encoded, mode=ImageReadMode.RGB).permute(1, 2, 0).numpy())
        except RuntimeError:
            return None

    return decode


# Module -> what makes its decoder, the fastest first. Not OpenCV: where libjpeg meets an error, it hands out what it has, half of it grey.
MAKERS: dict[str, Callable[[], Decode]] = {'simplejpeg': _simplejpeg, 'torchvision': _torchvision}


def image_libraries(backend: str = 'fast') -> dict[str, str]:
    """Names and versions of what decides the pixels of decoded and resized images.

    Args:
        backend: 'fast' or 'reference', as in `pipeline_backend`.

    Returns:
        Library -> version: always 'pillow' (or 'pillow-simd'), the 'libjpeg-turbo' inside it, and 'torchvision'; for the fast backend also
        'opencv', and 'simplejpeg' where that decodes.
    """
    from PIL import Image, features

    libraries = {
        'pillow-simd' if '.post' in Image.__version__ else 'pillow': Image.__version__,
        'libjpeg-turbo': str(features.version('libjpeg_turbo')),
        'torchvision': _version('torchvision'),
    }
    if backend == 'fast':
        name, _ = fast_decoder()
        libraries['opencv'] = _version('cv2')
        if name == 'simplejpeg':
            libraries['simplejpeg'] = _version('simplejpeg')
    return libraries


def _version(module: str) -> str:
    """Version of an installed module; 'none' without it."""
    if importlib.util.find_spec(module) is None:
        return 'none'
    if module == 'cv2':  # its package has several names
        import cv2

        return cv2.__version__
    try:
        return version(module)
    except PackageNotFoundError:
        return 'unknown'
