"""A bounded folder of shards that were fetched or unpacked, shared by all processes of a machine."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import logging
import os
import shutil
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ....errors import DataError
from .places import Shard
from .urls import file_system, is_url

CHUNK = 1 << 20
TRIES = 3  # at fetching
PAUSE = 1.0  # seconds before the second try; twice as long before each further one
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)


class ShardStore:
    """Plain tars on the disk, made of shards that are compressed or elsewhere.

    A shard is there as a whole or not at all: it is written under another name and renamed. Those used least lately go first when there is
    no room. A process that reads one keeps its file open, so it may go at any time. One process fetches a shard, others wait for it.

    Args:
        folder: made where it is missing.
        limit: bytes that the shards may take; a single one may be larger. Shards that are being fetched come on top.
        options: of the file systems of URLs.
    """

    def __init__(self, folder: str | os.PathLike, limit: int, options: Mapping[str, Any]) -> None:
        self.folder, self.limit, self.options = Path(folder).expanduser(), limit, dict(options)

    def open(self, shard: Shard) -> BinaryIO:
        """The plain tar of a shard, fetched and unpacked if need be; cut off where its compressed form is damaged.

        Raises:
            DataError: it cannot be fetched, or not be written.
        """
        path = self._path(shard)
        while True:
            try:
                file = open(path, 'rb')
            except FileNotFoundError:
                self._make(shard, path)
                continue  # it may be gone again where others need the room
            except OSError as error:
                raise DataError(f'{path} cannot be read: {error.strerror}.') from None
            with contextlib.suppress(OSError):
                os.utime(path, ns=(time.time_ns(),) * 2)  # the clock of file systems is coarse
            return file

    def _path(self, shard: Shard) -> Path:
        key = hashlib.blake2b(
            f'{shard.path}\0{shard.size}\0{shard.version}'.encode(errors='surrogateescape'), digest_size=12
        )
        return self.folder / f'{key.hexdigest()}.tar'

    def _make(self, shard: Shard, path: Path) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked(path.stem):
                if path.exists():  # another process was quicker
                    return
                temporary = path.with_suffix('.tmp')
                try:
                    self._fetch(shard, temporary)
                    with self._locked('room'):
                        self._make_room(temporary.stat().st_size)
                        temporary.rename(path)
                finally:
                    temporary.unlink(missing_ok=True)
        except OSError as error:
            free = shutil.disk_usage(self.folder).free if self.folder.is_dir() else 0
            raise DataError(
                f'{shard.path} could not be written to {self.folder}: {error.strerror or error}; {free:,} bytes are free there. '
                'Give another cache_dir, or lower cache_bytes.'
            ) from None

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        with open(self.folder / f'{name}.lock', 'a') as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _make_room(self, needed: int) -> None:
        """Remove the shards used least lately until there is room; the caller holds the lock."""
        shards = []
        for path in self.folder.glob('*.tar'):
            with contextlib.suppress(FileNotFoundError):
                found = path.stat()
                shards.append((found.st_mtime_ns, found.st_size, path))
        taken = sum(size for _, size, _ in shards)
        for _, size, path in sorted(shards):
            if taken + needed <= self.limit:
                return
            path.unlink(missing_ok=True)
            taken -= size

    def _fetch(self, shard: Shard, target: Path) -> None:
        """Copy a shard, tried again where its file system fails; raises OSError where the disk does."""
        for attempt in range(TRIES):
            try:
                with open(target, 'wb') as into:
                    self._copy(shard, into)
                return
            except _Failed as failure:
                cause = failure.__cause__
                if attempt + 1 == TRIES:
                    raise DataError(
                        f'{shard.path} could not be fetched, at the {TRIES}rd try: {type(cause).__name__}: {cause}. The run can '
                        'be resumed when its place answers again.'
                    ) from cause
                logging.getLogger('selfsup').warning(f'{shard.path}: {type(cause).__name__}: {cause}; trying again')
                time.sleep(PAUSE * 2**attempt)

    def _copy(self, shard: Shard, into: BinaryIO) -> None:
        with contextlib.ExitStack() as stack:
            try:
                source = stack.enter_context(self._original(shard))
                stream: Any = gzip.GzipFile(fileobj=source) if shard.packed else source
            except Exception as error:
                raise _Failed from error
            size = 0
            while True:
                try:
                    # read1 gives what there is before it fails on damage, so that nothing good is lost
                    chunk = stream.read1(CHUNK) if shard.packed else stream.read(CHUNK)
                except _DAMAGED:
                    return
                except Exception as error:
                    raise _Failed from error
                if not chunk:
                    break
                size += len(chunk)
                into.write(chunk)
            if not shard.packed and shard.size >= 0 and size != shard.size:
                raise _Failed from OSError(f'{size:,} of {shard.size:,} bytes came')

    def _original(self, shard: Shard) -> BinaryIO:
        if not is_url(shard.path):
            return open(shard.path, 'rb')
        files, path = file_system(shard.path, self.options)
        return files.open(path, 'rb')


class _Failed(Exception):
    """The place of a shard did not give it; the cause says why."""
