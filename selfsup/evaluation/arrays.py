"""Reading `.npy` files: one array of numbers, or one clear error."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from ..errors import DataError


def read_array(path: Path, advice: str, mmap_mode: Literal['r'] | None = None) -> np.ndarray:
    """The array in a file, in this machine's byte order.

    Args:
        path: the file.
        advice: what to do where it cannot be read, for the message.
        mmap_mode: 'r' maps it into memory instead of reading it.

    Raises:
        DataError: no such file, a damaged header, too few bytes, an archive, or objects, which could run code.
    """
    if not path.is_file():
        raise DataError(f'{path} does not exist. {advice}')
    try:
        array = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except Exception as error:  # the header is a Python literal: numpy raises SyntaxError, TypeError, KeyError, MemoryError, ... for damage
        reason = ' '.join(str(error).split())[:200]
        raise DataError(
            f'{path} ({path.stat().st_size:,} bytes) is no NumPy array file, or damaged: {reason}. {advice}'.rstrip()
        ) from None
    if not isinstance(array, np.ndarray):
        raise DataError(f'{path} is an archive of several arrays (.npz); expected one array.')
    if array.dtype.kind == 'f' and array.dtype.itemsize > 8:  # more than torch has
        return array.astype(np.float64)
    return array if array.dtype.isnative or mmap_mode else array.astype(array.dtype.newbyteorder('='))
