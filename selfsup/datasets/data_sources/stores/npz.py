"""Arrays in NumPy's files: memory-mapped where they lie there as they are, read once where they are compressed."""

from __future__ import annotations

import logging
import os
import zipfile
from typing import Any

import numpy as np
from numpy.lib import format as npy

from ....errors import DataError, did_you_mean


def open_array(path: str, key: str | None) -> np.ndarray:
    """An array of a file; memory-mapped, unless it is compressed.

    Args:
        path: `.npy` or `.npz`.
        key: of the array in a `.npz`.

    Raises:
        DataError: it cannot be read, or is of Python objects.
    """
    try:
        if not is_npz(path):
            return np.load(path, mmap_mode='r', allow_pickle=False)
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(f'{key}.npy')
            if member.compress_type == zipfile.ZIP_STORED:
                return _mapped(path, archive, member)
            logging.getLogger('selfsup').info(
                f"'{path}' is compressed: its {key} is unpacked into memory, {member.file_size / 2**20:,.0f} MiB. A .npy file needs none."
            )
            with archive.open(member) as file:
                return npy.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"'{path}' cannot be read as an array: {' '.join(str(error).split())}") from None


def _mapped(path: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as inside:
        shape, fortran, dtype = _header(inside)
        length = inside.tell()
    if dtype.hasobject:
        raise ValueError('it holds Python objects')
    with open(path, 'rb') as file:  # the local header of a member: 30 bytes, its name, extra fields
        file.seek(member.header_offset)
        local = file.read(30)
    start = member.header_offset + 30 + int.from_bytes(local[26:28], 'little') + int.from_bytes(local[28:30], 'little')
    return np.memmap(path, dtype, 'r', start + length, shape, 'F' if fortran else 'C')


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(file)
    return npy.read_array_header_1_0(file) if version == (1, 0) else npy.read_array_header_2_0(file)


def shapes(path: str) -> dict[str, tuple[int, ...]]:
    """Shape of each array of a `.npz` by its key; nothing but headers is read.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = {}
            for name in archive.namelist():
                with archive.open(name) as file:
                    found[name.removesuffix('.npy')] = _header(file)[0]
            return found
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"'{path}' cannot be read as .npz: {' '.join(str(error).split())}") from None


def is_npz(path: str) -> bool:
    """True for an archive of arrays, whatever its name."""
    try:
        return zipfile.is_zipfile(path)
    except OSError:
        return False


def chosen_key(path: str, key: str | None, likely: tuple[str, ...], argument: str, wanted: str) -> str | None:
    """The key of an array in a `.npz`; None for a `.npy`.

    Args:
        path: of the file.
        key: what the user named, or None.
        likely: keys that are in use for it, likeliest first.
        argument: that names the key, for messages.
        wanted: what the array holds, for messages.

    Raises:
        DataError: no such file or key, or it cannot be told which is meant.
    """
    if not os.path.isfile(path):
        raise DataError(
            f"'{path}' {'is a folder' if os.path.isdir(path) else 'does not exist'}. Give a .npy or .npz file."
        )
    if not is_npz(path):
        if key is not None:
            raise DataError(f"{argument}='{key}', but '{path}' is one array, without keys. Leave out {argument}.")
        return None
    known = shapes(path)
    listed = ', '.join(f'{name} {shape}' for name, shape in known.items())
    if key is not None and key not in known:
        raise DataError(f"'{path}' has no {argument}='{key}'; it has {listed}.{did_you_mean(key, known)}")
    found = (
        key
        or next((name for name in likely if name in known), None)
        or (next(iter(known)) if len(known) == 1 else None)
    )
    if found is None:
        raise DataError(
            f"'{path}': which array holds the {wanted} cannot be told; name it as {argument}=. It has {listed}."
        )
    return found
