"""What sources share whose images have no file of their own."""

from __future__ import annotations

import hashlib
import importlib
import os
from abc import abstractmethod
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from ....errors import DataError
from ..base import EncodedSource

SAMPLES_READ = 8  # for a hint of the content


def needed(package: str, who: str) -> ModuleType:
    """An optional package.

    Args:
        package: name of the module.
        who: needs it; for the message.

    Raises:
        DataError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        if (error.name or '').partition('.')[0] != package.partition('.')[0]:
            raise DataError(f'{who} needs {package}, which cannot be imported here: {error}.') from None
        raise DataError(f"{who} needs {package}, which is not installed: pip install 'selfsup[data]'.") from None


def content_hint(size: int, read: Callable[[int], bytes]) -> str:
    """Digest of a few images as they are stored, evenly spaced: tells most changes of a store apart, at the cost of reading those.

    Args:
        size: number of images.
        read: number -> bytes. One that cannot be read counts as empty.
    """
    digest = hashlib.blake2b(digest_size=16)
    for index in np.unique(np.linspace(0, size - 1, SAMPLES_READ).astype(int)).tolist():
        try:
            content = read(index)
        except Exception:  # whatever a broken entry raises: reading it will say it better
            content = b''
        digest.update(len(content).to_bytes(8, 'little') + content)
    return digest.hexdigest()


def bytes_of(cell: Any, root: str) -> bytes:
    """The encoded image in a cell of a table: bytes, the path of a file, or a dict of `bytes` and `path`, as the `datasets` library has it.

    Args:
        cell: of the table.
        root: folder that paths start from.

    Raises:
        OSError: there is no such file.
        ValueError: the cell is empty, or holds something else.
    """
    if isinstance(cell, dict):
        cell = cell.get('path') if cell.get('bytes') is None else cell['bytes']
    if isinstance(cell, str) and cell:
        with open(os.path.join(root, cell), 'rb') as file:
            return file.read()
    if not cell:
        raise ValueError('its cell is empty')
    if not isinstance(cell, bytes | bytearray | memoryview):
        raise ValueError(f'its cell holds {type(cell).__name__}, neither bytes nor a path')
    return bytes(cell)


class StoredSource(EncodedSource):
    """Encoded images in something larger than a file each. A subclass defines `__len__`, `read_bytes`, `describe` and `name`."""

    @abstractmethod
    def name(self, index: int) -> str:
        """What image `index` is called wherever its store lies: a store that was moved holds the same images."""

    def content_hint(self) -> str | None:
        """What tells these images from others under the same names, see `digest.py`; None where that is not known."""
        return content_hint(len(self), self.read_bytes)
