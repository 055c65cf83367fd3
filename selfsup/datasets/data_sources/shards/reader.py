"""Bytes of members, from few open files."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, BinaryIO

from ....errors import DataError
from .places import Shard

OPEN = 8  # files of a process


class _Descriptor:
    """A file that is open as long as somebody holds this."""

    def __init__(self, file: BinaryIO) -> None:
        with file:
            self.number = os.dup(file.fileno())

    def __del__(self) -> None:
        os.close(self.number)


class TarReader:
    """Reads members of tars by their place. Safe to fork, to pickle and to be used by threads: reading moves no position in a file.

    Args:
        open_tar: opens the plain tar of a shard.
    """

    def __init__(self, open_tar: Callable[[Shard], BinaryIO]) -> None:
        self._open_tar = open_tar
        self._start()

    def _start(self) -> None:
        self._files: OrderedDict[str, _Descriptor] = OrderedDict()
        self._lock = Lock()
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {'_open_tar': self._open_tar}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def read(self, shard: Shard, offset: int, size: int) -> bytes:
        """`size` bytes of the tar of `shard`.

        Raises:
            OSError: there are fewer.
            DataError: the shard is another one than that which was looked up.
        """
        file = self._file(shard)  # kept until it was read
        data = os.pread(file.number, size, offset)
        if len(data) < size:
            raise OSError(f'{len(data):,} of {size:,} bytes: the shard is cut off')
        return data

    def _file(self, shard: Shard) -> _Descriptor:
        if self._process != os.getpid():  # a fork, perhaps while another thread held the lock
            self._start()
        with self._lock:
            file = self._files.get(shard.path)
            if file is None:
                file = _Descriptor(self._open_tar(shard))
                if shard.direct and os.fstat(file.number).st_size != shard.size:
                    raise DataError(
                        f'The shard {shard.path} has changed since its members were looked up. Start again.'
                    )
                self._files[shard.path] = file
            self._files.move_to_end(shard.path)
            if len(self._files) > OPEN:
                self._files.popitem(last=False)  # closed when no thread reads it any more
            return file
