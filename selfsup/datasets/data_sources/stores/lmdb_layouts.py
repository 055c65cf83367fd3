"""What the values of an LMDB hold, in the layouts that people write: encoded images alone, with labels beside them, or packed together."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

# Entries that describe others, by the names that are in use.
RESERVED = frozenset((b'__len__', b'__keys__', b'__meta__', b'num-samples', b'length', b'meta_info'))
# What encoded images begin with: JPEG, PNG, GIF, BMP, TIFF, JPEG 2000, PPM; WebP and HEIF/AVIF have their mark further on.
MARKS = (b'\xff\xd8', b'\x89PNG', b'GIF8', b'BM', b'II*\0', b'MM\0*', b'\0\0\0\x0cjP', b'\xffO\xffQ', b'P5', b'P6')


class Entry(NamedTuple):
    """One value taken apart."""

    image: bytes
    label: int | None


class _Plain(pickle.Unpickler):
    """Numbers, texts, bytes, lists: an unpickler that imports nothing, and so runs nothing."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f'it would import {module}.{name}, which is not done for data')


def is_image(value: bytes) -> bool:
    """True for what begins as encoded images do."""
    return value.startswith(MARKS) or (value[:4] == b'RIFF' and value[8:12] == b'WEBP') or value[4:8] == b'ftyp'


def plain_pickle(value: bytes) -> Any:
    """What was pickled, of built-in kinds.

    Raises:
        ValueError: it is no pickle, or holds objects of other kinds.
    """
    try:
        return _Plain(io.BytesIO(value)).load()
    except Exception as error:  # a pickle that is none raises nearly anything
        raise ValueError(f'its pickle cannot be read: {" ".join(str(error).split())}') from None


def taken_apart(value: bytes, packed: str) -> Entry:
    """Image and label of a value.

    Args:
        value: from the data base.
        packed: 'no': an encoded image; 'pickle': a pickled (image, label) or image; 'caffe': Caffe's Datum.

    Raises:
        ValueError: it holds something else.
    """
    if packed == 'no':
        return Entry(value, None)
    if packed == 'caffe':
        return _datum(value)
    content = plain_pickle(value)
    image, label = (
        (content[0], content[1]) if isinstance(content, tuple | list) and len(content) >= 2 else (content, None)
    )
    if not isinstance(image, bytes | bytearray):
        raise ValueError(f'its pickle holds {type(image).__name__} in place of an encoded image')
    return Entry(bytes(image), label if isinstance(label, int) else None)


def how_packed(value: bytes) -> str | None:
    """See `taken_apart`; None for what is none of these."""
    if is_image(value):
        return 'no'
    for packed in ('pickle', 'caffe'):
        try:
            taken_apart(value, packed)
        except ValueError:
            continue
        return packed
    return None


def _datum(value: bytes) -> Entry:
    """Caffe's Datum (caffe.proto): 1 channels, 2 height, 3 width, 4 data, 5 label, 7 encoded. Raw pixels are planes of blue, green, red."""
    fields = dict(_fields(value))
    image, label = fields.get(4, b''), fields.get(5)
    if not isinstance(image, bytes) or not image:
        raise ValueError('its Datum has no bytes of an image')
    label = label if isinstance(label, int) else None
    if fields.get(7) or is_image(image):
        return Entry(image, label)
    shape = tuple(int(fields.get(number, 0)) for number in (1, 2, 3))
    if shape[0] not in (1, 3) or np.prod(shape) != len(image):
        raise ValueError(f'its Datum has {len(image)} bytes for channels, height and width of {shape}')
    planes = np.frombuffer(image, dtype=np.uint8).reshape(shape)[::-1]
    file = io.BytesIO()
    Image.fromarray(planes[0] if shape[0] == 1 else np.ascontiguousarray(planes.transpose(1, 2, 0))).save(file, 'bmp')
    return Entry(file.getvalue(), label)


def _fields(value: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Fields of a message of protocol buffers: number, and a whole number or bytes."""
    place = 0
    while place < len(value):
        tag, place = _varint(value, place)
        if tag & 7 == 0:
            number, place = _varint(value, place)
            yield tag >> 3, number
        elif tag & 7 in (1, 5):
            place += 8 if tag & 7 == 1 else 4
        elif tag & 7 == 2:
            size, place = _varint(value, place)
            yield tag >> 3, value[place : place + size]
            place += size
        else:
            raise ValueError('it is no Datum')
    if place != len(value):
        raise ValueError('its Datum is cut off')


def _varint(value: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while place < len(value) and shift < 64:
        byte = value[place]
        number, place, shift = number | (byte & 127) << shift, place + 1, shift + 7
        if byte < 128:
            return number, place
    raise ValueError('it is no Datum')
