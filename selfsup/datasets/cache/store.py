"""Many small images in a few files or blocks of shared memory, read without a copy."""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .images import KINDS, kind_of

# Where an image lies and what it is; one row per image.
ROW = np.dtype(
    [
        ('index', '<i8'),
        ('offset', '<i8'),
        ('segment', '<i4'),
        ('height', '<i4'),
        ('width', '<i4'),
        ('channels', '<i2'),
        ('kind', '<u1'),
        ('check', '<u4'),  # CRC-32 of the bytes
    ]
)
_DTYPES = (None, np.dtype(np.uint8), np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))


class Places(NamedTuple):
    """Where a complete store lies, as any process of the machine can open it: the table of rows, and the segments by number."""

    rows: str
    segments: dict[int, str]


def row_of(index: int, segment: int, offset: int, image: np.ndarray | None) -> tuple[tuple, bytes]:
    """Row and bytes of an image as it is stored; None: of one that cannot be read."""
    if image is None:
        return (index, offset, segment, 0, 0, 0, 0, 0), b''
    kind = kind_of(image)
    height, width, channels = image.shape if kind == 'rgb' else (*image.shape[1:], image.shape[0])
    content = image.tobytes()
    return (index, offset, segment, height, width, channels, KINDS.index(kind), zlib.crc32(content)), content


def lengths(rows: np.ndarray) -> np.ndarray:
    """int64 (N,) bytes of each image of some rows."""
    sizes = np.array([0, 1, 1, 2, 4], dtype=np.int64)[rows['kind']]
    return sizes * rows['height'] * rows['width'] * rows['channels']


class Store:
    """The images of a source as they are stored, by number.

    Args:
        rows: `ROW` (N,), one per image and in their order.
        segments: number -> path.

    Attributes:
        image_size: height and width that all readable images share, or None.
        broken: int64 numbers of the images that cannot be read.

    Raises:
        OSError: a segment cannot be opened.
        ValueError: a segment is shorter than its rows say.
    """

    def __init__(self, rows: np.ndarray, segments: dict[int, str]) -> None:
        self.rows, self.segments = rows, segments
        self.broken = np.flatnonzero(rows['kind'] == 0)
        good = rows[rows['kind'] > 0]
        same = len(good) and (good['height'] == good['height'][0]).all() and (good['width'] == good['width'][0]).all()
        self.image_size = (int(good['height'][0]), int(good['width'][0])) if same else None
        self._maps = {number: _mapped(path) for number, path in segments.items()}
        self.bytes = int(lengths(rows).sum())
        for number in np.unique(good['segment']).tolist():
            part = good[good['segment'] == number]
            if number not in self._maps or int((part['offset'] + lengths(part)).max()) > len(self._maps[number]):
                raise ValueError(f'segment {number} is shorter than what it should hold')

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> np.ndarray | None:
        """The image as `images.shrink` made it, read-only and not copied; None for one that cannot be read."""
        _, offset, segment, height, width, channels, kind, _ = self.rows[index].item()
        if not kind:
            return None
        shape = (height, width, channels) if kind == 1 else (channels, height, width)
        count = height * width * channels
        return np.frombuffer(self._maps[segment], _DTYPES[kind], count, offset).reshape(shape)

    def intact(self, indices: Sequence[int]) -> bool:
        """Whether the bytes of these images are those that were written."""
        images = ((image, self.rows[i]) for i in indices if (image := self[int(i)]) is not None)
        return all(zlib.crc32(image.tobytes()) == row['check'] for image, row in images)

    def __reduce__(
        self,
    ) -> Any:  # a map cannot travel to a process that is not forked; what it maps can be opened there
        return Store, (self.rows, self.segments)


def open_store(places: Places) -> Store:
    """The store that another process has made.

    Raises:
        OSError, ValueError: it is not there, or not complete.
    """
    with open(places.rows, 'rb') as file:
        rows = np.frombuffer(file.read(), ROW)
    return Store(rows, places.segments)


def whole_rows(content: bytes, segment: int, path: str, total: int) -> np.ndarray:
    """Of the rows that a builder wrote before it was stopped, those whose images are all there.

    Args:
        content: what its file of rows holds; the last row may be cut off.
        segment: its number.
        path: of its images.
        total: images of the source.
    """
    rows = np.frombuffer(content[: len(content) // ROW.itemsize * ROW.itemsize], ROW)
    sane = (rows['segment'] == segment) & (rows['index'] >= 0) & (rows['index'] < total) & (rows['kind'] < len(KINDS))
    sane &= (rows['offset'] >= 0) & (rows['height'] >= 0) & (rows['width'] >= 0) & (rows['channels'] >= 0)
    rows = rows[sane]
    rows = rows[rows['offset'] + lengths(rows) <= os.path.getsize(path)]
    # without the broken ones: what could not be read then may be readable now
    rows = rows[rows['kind'] > 0]
    rows = rows[np.unique(rows['index'], return_index=True)[1]]
    pixels = _mapped(path)
    ends = rows['offset'] + lengths(rows)
    spans = zip(rows['offset'].tolist(), ends.tolist(), rows['check'].tolist(), strict=True)
    return rows[np.array([zlib.crc32(memoryview(pixels)[a:b]) == check for a, b, check in spans], dtype=bool)]


def _mapped(path: str) -> mmap.mmap | bytes:
    """What a file holds, shared by all processes that map it; read-only."""
    with open(path, 'rb') as file:
        if not os.fstat(file.fileno()).st_size:
            return b''
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
