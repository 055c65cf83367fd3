"""Answers of a teacher on disk, one row per image, for views that never change.

A row is a CRC-32 and the answer in float16. Any number of processes write rows of one file, each where its image stands; a row that was cut
off, or is just being written, does not fit its check sum and counts as missing. So nothing is locked, and nobody reads half an answer.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError
from ...files import write_atomic
from .teacher import Answer

_SUM = 4  # bytes of the check sum before each row
_KEPT = np.dtype('<f2')


class StoredAnswers:
    """Answers of one teacher to the fixed views of one set of images.

    Args:
        folder: of all answers; each key has a folder of its own in it.
        key: what the answers depend on: teacher, images, pipeline, precision. Plain values.
        images: N.

    Raises:
        DataError: the folder cannot be used.
    """

    def __init__(self, folder: str, key: dict[str, Any], images: int) -> None:
        text = json.dumps(key, sort_keys=True)
        self.key, self.images = key, images
        self.folder = Path(folder).expanduser() / hashlib.sha256(text.encode()).hexdigest()[:32]
        self._shapes: tuple[tuple[int, ...], ...] = ()
        self._file, self._bytes = -1, 0
        shapes = self._described()
        if shapes:
            self._open(shapes)

    def load(self, idx: Tensor, like: Tensor) -> Answer | None:
        """The answers for images `idx` (B,), with type and device of `like`; None where one of them is missing."""
        if self._file < 0:
            return None
        rows = np.empty((len(idx), self._numbers), _KEPT)
        for row, image in zip(rows, self._checked(idx), strict=True):
            data = self._tried(os.pread, self._file, self._bytes, image * self._bytes)
            if len(data) < self._bytes or zlib.crc32(data[_SUM:]) != int.from_bytes(data[:_SUM], 'little'):
                return None
            row[:] = np.frombuffer(data, _KEPT, offset=_SUM)
        parts = torch.from_numpy(rows).to(like.device).split([math.prod(shape) for shape in self._shapes], dim=1)
        wanted = torch.promote_types(like.dtype, torch.float32)
        read = [part.to(wanted).unflatten(1, shape) for part, shape in zip(parts, self._shapes, strict=True)]
        return Answer(read[0], read[1] if len(read) > 1 else None)

    def save(self, idx: Tensor, answer: Answer) -> Answer:
        """Keep the answers for images `idx` (B,), and return them as `load` will.

        Raises:
            DataError: they do not fit on the disk or into float16.
        """
        parts = [part for part in answer if part is not None]
        shapes = tuple(tuple(part.shape[1:]) for part in parts)
        if shapes != self._shapes:
            self._create(shapes)
        rows = torch.cat([part.flatten(1) for part in parts], dim=1).half()
        if not bool(rows.isfinite().all()):
            raise DataError(
                f'An answer of the teacher {self.key["teacher"]} is too large for float16: leave model.cache out.'
            )
        for row, image in zip(rows.cpu().numpy().astype(_KEPT), self._checked(idx), strict=True):
            data = row.tobytes()
            self._tried(os.pwrite, self._file, zlib.crc32(data).to_bytes(_SUM, 'little') + data, image * self._bytes)
        summary, maps = answer
        return Answer(summary.half().to(summary.dtype), None if maps is None else maps.half().to(maps.dtype))

    def _checked(self, idx: Tensor) -> list[int]:
        numbers = idx.tolist()
        if numbers and not 0 <= min(numbers) <= max(numbers) < self.images:
            raise DataError(f'idx goes from {min(numbers)} to {max(numbers)}, but {self.images} images were counted.')
        return numbers

    def _described(self) -> tuple[tuple[int, ...], ...]:
        """The shapes that the folder says its answers have; () where it does not say, or what it says is damaged."""
        try:
            shapes = json.loads((self.folder / 'about.json').read_bytes())['shapes']
            found = tuple(tuple(shape) for shape in shapes)
        except OSError as error:
            if isinstance(error, FileNotFoundError | NotADirectoryError):
                return ()
            raise self._unusable(error) from None
        except (ValueError, KeyError, TypeError):
            return ()  # the next answer writes it anew; rows that lie elsewhere then do not fit their check sums
        whole = all(type(side) is int and side > 0 for shape in found for side in shape)
        return found if whole and 1 <= len(found) <= 2 else ()

    def _create(self, shapes: tuple[tuple[int, ...], ...]) -> None:
        about = {**self.key, 'images': self.images, 'shapes': shapes}
        write_atomic(
            self.folder / 'about.json', lambda file: file.write(json.dumps(about, indent=1).encode()), DataError
        )
        self._open(shapes)

    def _open(self, shapes: tuple[tuple[int, ...], ...]) -> None:
        """Open the rows; a new file is a hole of its full size, so that all processes may write at once."""
        self._shapes = shapes
        self._numbers = sum(math.prod(shape) for shape in shapes)
        self._bytes = _SUM + _KEPT.itemsize * self._numbers
        file = self._tried(os.open, self.folder / 'answers.bin', os.O_RDWR | os.O_CREAT, 0o644)
        if os.fstat(file).st_size < self.images * self._bytes:
            self._tried(os.ftruncate, file, self.images * self._bytes)
        if self._file >= 0:
            os.close(self._file)
        self._file = file

    def _tried(self, call: Any, *args: Any) -> Any:
        try:
            return call(*args)
        except OSError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: OSError) -> DataError:
        size = (
            f'They take up to {self.images * self._bytes:,} bytes; free some space, choose' if self._bytes else 'Choose'
        )
        return DataError(
            f'The answers of the teacher in {self.folder} cannot be used: {error.strerror}. {size} another folder, or leave '
            'model.cache out.'
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> StoredAnswers:
        """Itself: copies of a model read the same files."""
        return self

    def __del__(self) -> None:
        if getattr(self, '_file', -1) >= 0:
            os.close(self._file)
