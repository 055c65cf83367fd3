"""Read on when a file is broken: take a neighbour, remember the file, stop when there are too many.

Training goes on with the neighbour. An evaluation leaves the row out: `share_unreadable` tells every process which rows these are.
"""

from __future__ import annotations

import errno
import logging
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from .. import distributed as dist
from ..errors import DataError

# What PIL and the file system raise for a missing, truncated or mangled image.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
# The machine's fault, not the file's.
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
MAX_BAD_SHARE = 0.01  # where no setting says another
PATHS_SHOWN = 100  # in the error; where 1 % is less than one image, that is all of them
# Of a source of at most so many samples all are tried before a run stops: one list, not one file per start.
LOOKED_THROUGH = 1000


def printable(text: str) -> str:
    """`text` on one line and in valid UTF-8: a file name may hold line breaks and any byte."""
    return text.encode('utf-8', 'backslashreplace').decode().replace('\n', '\\n')


def error_line(error: Exception) -> str:
    """An error in one line."""
    return printable(' '.join(f'{type(error).__name__}: {error}'.split()))


def name_of(source: Any, index: int) -> str:
    """Path or other name of a sample of a data source, for messages."""
    return printable(source.describe(index)) if hasattr(source, 'describe') else f'sample {index}'


class RobustReader:
    """Samples of a data source; one that cannot be read is replaced by the next that can, wrapping at the end.

    Which samples are bad is kept in shared memory, so the loader workers of a process count together, and a bad file is
    logged once. Several ranks count separately, each what it met, until `share_unreadable` joins them.

    Args:
        source: data source: `len(source)`, `source.get_sample(i)`, perhaps `source.describe(i)`, and `source.lost`, the number of images
            that are missing beside those.

    Attributes:
        limit: share of the samples that may be unreadable, in [0, 1); `allow_unreadable` sets it.
    """

    def __init__(self, source: Any) -> None:
        self.source = source
        self.limit = MAX_BAD_SHARE
        self.lost = int(getattr(source, 'lost', 0))
        self._bad = torch.zeros(len(source), dtype=torch.uint8).share_memory_()  # (N,), 1: cannot be read

    def read(self, index: int) -> tuple[Any, int]:
        """Sample `index` or its first readable successor, and the number of the one taken.

        Raises:
            DataError: more than `limit` of the samples cannot be read.
        """
        total = len(self._bad)
        for step in range(total):
            taken = (index + step) % total
            if self._bad[taken]:
                continue
            try:
                return self.source.get_sample(taken), taken
            except UNREADABLE as error:
                if isinstance(error, OSError) and error.errno in EXHAUSTED:
                    raise
                reason = error_line(error)
                self._record(taken, reason)
                if self._too_many():
                    self._look_through()
                    raise self._refusal(f'; the last failed with {reason}') from None
        raise DataError(f'The data source is empty: {self.source}.')  # with samples, it raised before

    def bad_indices(self) -> np.ndarray:
        """int64 numbers of the samples found unreadable so far, ascending."""
        return np.flatnonzero(self._bad.numpy())

    def add(self, indices: Sequence[int]) -> None:
        """Samples that were found unreadable elsewhere.

        Raises:
            DataError: with them, more than `limit` of the samples cannot be read.
        """
        for index in sorted(set(map(int, indices)) - set(self.bad_indices().tolist())):
            self._record(index, 'found before')
        if self._too_many():
            raise self._refusal()

    def allow(self, share: float) -> None:
        """Set the limit.

        Raises:
            DataError: more is known to be missing.
        """
        self.limit = share
        if self.lost and self._too_many():
            raise self._refusal()

    def describe(self, index: int) -> str:
        """Path or other name of a sample, for messages."""
        return name_of(self.source, index)

    def _record(self, index: int, reason: str) -> None:
        """Mark a sample, and name it: in the log of the main process, which learns of the others' by `add`."""
        if dist.is_main():
            # one text, no template with arguments: filters of repeated warnings compare templates, and would keep the first file alone
            text = f'skipped unreadable image {self.describe(index)} ({reason})'
            logging.getLogger('selfsup').warning(text)
        self._bad[index] = 1

    def _too_many(self) -> bool:
        return int(self._bad.sum(dtype=torch.int64)) + self.lost > self.limit * (len(self._bad) + self.lost)

    def _look_through(self) -> None:
        """Try all other samples of a small source, so that the error lists what is to be repaired, not what was met first."""
        for index in range(len(self._bad)) if len(self._bad) <= LOOKED_THROUGH else ():
            if self._bad[index]:
                continue
            try:
                self.source.get_sample(index)
            except UNREADABLE as error:
                if not isinstance(error, OSError) or error.errno not in EXHAUSTED:
                    self._bad[index] = 1  # the error that follows names it

    def _refusal(self, cause: str = '') -> DataError:
        bad, total = self.bad_indices(), len(self._bad) + self.lost
        paths = ', '.join(self.describe(int(i)) for i in bad[:PATHS_SHOWN])
        more = f', ... ({len(bad) - PATHS_SHOWN} more)' if len(bad) > PATHS_SHOWN else ''
        listed = f' Repair, fetch again or take out of the list: {paths}{more}' if paths else ''
        return DataError(
            f'{len(bad) + self.lost} of {total} images cannot be read, more than {100 * self.limit:g}%{cause}. '
            + (f'About {self.lost} of them were in damaged shards, which the warnings name. ' if self.lost else '')
            + f'The limit is data.max_unreadable={self.limit:g}.{listed}'
        )


def readers(dataset: Any) -> list[tuple[RobustReader, int]]:
    """The readers below a data set, perhaps one made of others, each with the number of its first sample; in order.

    A data set that comes several times (`RepeatDataset`) has its reader several times. One without a reader counts with its length.
    """
    if hasattr(dataset, 'datasets'):
        inside: list[tuple[RobustReader, int]] = []
        start = 0
        for part in dataset.datasets:
            inside += [(reader, start + first) for reader, first in readers(part)]
            start += len(part)
        return inside
    if hasattr(dataset, 'reader'):
        return [(dataset.reader, 0)]
    if hasattr(dataset, 'dataset') and len(dataset.dataset):
        inner, length = readers(dataset.dataset), len(dataset.dataset)
        return [(reader, copy * length + first) for copy in range(len(dataset) // length) for reader, first in inner]
    return []


def allow_unreadable(dataset: Any, share: float) -> None:
    """Set how many of its images a data set may find unreadable before it stops.

    Args:
        dataset: a data set, perhaps one made of others; each data source below it counts for itself.
        share: of the images of a source, in [0, 1).

    Raises:
        DataError: a source lacks more.
    """
    for reader, _ in readers(dataset):
        reader.allow(share)


def unreadable(dataset: Any) -> np.ndarray:
    """int64 numbers of the samples of a data set that this process knows to be unreadable, ascending."""
    parts = [reader.bad_indices() + first for reader, first in readers(dataset)]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def mark_unreadable(dataset: Any, indices: Sequence[int]) -> None:
    """Tell a data set which of its samples were found unreadable when another copy of it was read.

    Raises:
        DataError: more than its limit of a source.
    """
    for reader, first in readers(dataset):
        reader.add([int(index) - first for index in indices if first <= index < first + len(reader.source)])


def share_unreadable(dataset: Any) -> np.ndarray:
    """Like `unreadable`, of what all ranks found; every rank must call.

    Afterwards every rank knows the samples of all, as one that read everything would, and the main process has named each once.

    Raises:
        DataError: together they found more than its limit of a source to be unreadable; on every rank.
    """
    # each once, however often its samples come
    once = list({id(reader): reader for reader, _ in readers(dataset)}.values())
    if dist.world_size() > 1:
        for others in dist.gather_objects([reader.bad_indices().tolist() for reader in once]):
            for reader, indices in zip(once, others, strict=True):
                reader.add(indices)
    return unreadable(dataset)
