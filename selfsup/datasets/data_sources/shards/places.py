"""Where a shard lies, and whether it is still the one that was looked at."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ....errors import DataError
from .urls import file_system, is_url

PACKED = ('.gz', '.tgz')
# What file systems call the mark of a version; the first that there is counts.
VERSIONS = ('ETag', 'etag', 'md5Hash', 'mtime', 'LastModified', 'last_modified', 'updated', 'created')


@dataclass(frozen=True)
class Shard:
    """One shard.

    Attributes:
        path: a file, or a URL.
        size: in bytes, as it lies there; -1 where the file system does not say.
        version: changes with its content: time of the last change, or a tag.
    """

    path: str
    size: int
    version: str

    @property
    def packed(self) -> bool:
        """Compressed by gzip."""
        return self.path.lower().endswith(PACKED)

    @property
    def direct(self) -> bool:
        """A plain tar on a disk, of which any member can be read at once."""
        return not self.packed and not is_url(self.path)


def look_at(path: str, options: Mapping[str, Any]) -> Shard:
    """Size and version of a shard.

    Args:
        path: file or URL.
        options: of the file system of a URL.

    Raises:
        DataError: it is not there, or its file system cannot be asked.
    """
    if not is_url(path):
        try:
            found = os.stat(path)
        except OSError as error:
            raise DataError(f'The shard {path} cannot be read: {error.strerror}. Correct the pattern.') from None
        return Shard(path, found.st_size, str(found.st_mtime_ns))
    files, inner = file_system(path, options)
    try:
        info = files.info(inner)
    except Exception as error:  # each file system has errors of its own
        raise DataError(f'The shard {path} cannot be read: {type(error).__name__}: {error}.') from error
    version = next((str(info[key]) for key in VERSIONS if info.get(key)), '')
    size = info.get('size')
    return Shard(path, -1 if size is None else int(size), version)
