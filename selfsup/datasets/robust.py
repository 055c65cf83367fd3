"""Read on when a file is broken: take a neighbour, remember the file, stop when there are too many."""

from __future__ import annotations

import errno
import logging
import struct
import zlib
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..errors import DataError

# What PIL and the file system raise for a missing, truncated or mangled image.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
# The machine's fault, not the file's.
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
MAX_BAD_SHARE = 0.01
PATHS_SHOWN = 20


def printable(text: str) -> str:
    """`text` on one line and in valid UTF-8: a file name may hold line breaks and any byte."""
    return text.encode('utf-8', 'backslashreplace').decode().replace('\n', '\\n')


class RobustReader:
    """Samples of a data source; one that cannot be read is replaced by the next that can, wrapping at the end.

    Which samples are bad is kept in shared memory, so the loader workers of a process count together, and a bad file is
    logged once. Several ranks count separately, each what it met.

    Args:
        source: data source: `len(source)`, `source.get_sample(i)`, perhaps `source.describe(i)`.
    """

    def __init__(self, source: Any) -> None:
        self.source = source
        self._bad = torch.zeros(len(source), dtype=torch.uint8).share_memory_()  # (N,), 1: cannot be read

    def read(self, index: int) -> tuple[Any, int]:
        """Sample `index` or its first readable successor, and the number of the one taken.

        Raises:
            DataError: more than 1 % of the samples cannot be read.
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
                self._record(taken, error)
        raise DataError(f'The data source is empty: {self.source}.')  # with samples, _record raised before

    def bad_indices(self) -> np.ndarray:
        """int64 numbers of the samples found unreadable so far, ascending."""
        return np.flatnonzero(self._bad.numpy())

    def describe(self, index: int) -> str:
        """Path or other name of a sample, for messages."""
        describe = getattr(self.source, 'describe', None)
        return printable(describe(index)) if describe else f'sample {index}'

    def _record(self, index: int, error: Exception) -> None:
        reason = printable(' '.join(f'{type(error).__name__}: {error}'.split()))
        logging.getLogger('selfsup').warning('skipped unreadable image %s (%s); the next one takes its place', self.describe(index), reason)
        self._bad[index] = 1
        bad, total = self.bad_indices(), len(self._bad)
        if len(bad) > MAX_BAD_SHARE * total:
            paths = ', '.join(self.describe(int(i)) for i in bad[:PATHS_SHOWN])
            more = f', ... ({len(bad) - PATHS_SHOWN} more)' if len(bad) > PATHS_SHOWN else ''
            raise DataError(f'{len(bad)} of {total} images cannot be read, more than {MAX_BAD_SHARE:.0%}; the last failed with {reason}. '
                            f'Repair, fetch again or take out of the list: {paths}{more}')
