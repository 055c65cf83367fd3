"""What lies in one tar: read from its headers, up to the end or to where it is damaged."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

# Of a member that may be a label at most so many bytes are read.
LABEL_BYTES = 1 << 16
# Cut off between two members; or written by a program that leaves the end out.
NO_END = 'it has no end'


class Member(NamedTuple):
    """A file in a tar."""

    name: str
    offset: int  # of its content
    size: int


@dataclass
class Scan:
    """Members of a tar, in order.

    Attributes:
        members: files that are there as a whole or, the last one only, in part.
        damage: where and how it is damaged; '' where it is whole.
    """

    members: list[Member] = field(default_factory=list)
    damage: str = ''


def scan(file: BinaryIO) -> Scan:
    """Members of an open tar.

    `tarfile` takes a damaged header in the middle for the end, without a word. Here what follows is searched for the next good header, and
    the damage is told.

    Args:
        file: at its start; can seek.
    """
    found = Scan()
    length = file.seek(0, os.SEEK_END)
    reader = _Headers(file)
    while True:
        start = reader.offset
        try:
            info = tarfile.TarInfo.fromtarfile(reader)  # type: ignore[arg-type]  # it has what is asked of it
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # two blocks of zeros: the end that was meant
            return found
        except tarfile.HeaderError as error:
            if start >= length:
                found.damage = found.damage or (NO_END + _after(found) if length else 'it is empty')
                return found
            found.damage = found.damage or f'{error} at byte {start:,}{_after(found)}'
            if not reader.find_next(start + tarfile.BLOCKSIZE, length):
                return found
            continue
        if info.isreg():
            found.members.append(Member(info.name, info.offset_data, info.size))
        if info.offset_data + info.size > length:
            found.damage = found.damage or f'it ends at byte {length:,}, inside of {info.name}'
            return found


def _after(found: Scan) -> str:
    return f', after {found.members[-1].name}' if found.members else ''


class _Headers:
    """An open tar with what `TarInfo.fromtarfile` asks of one. The next header is read at `offset`."""

    def __init__(self, file: BinaryIO) -> None:
        self.fileobj = file
        self.encoding, self.errors = 'utf-8', 'surrogateescape'
        self.pax_headers: dict[str, str] = {}
        self.offset = 0

    @property
    def offset(self) -> int:
        return self._offset

    @offset.setter
    def offset(self, value: int) -> None:
        self._offset = value
        self.fileobj.seek(value)

    def find_next(self, start: int, length: int) -> bool:
        """Go to the next good header from `start` on; False for none."""
        for place in range(start, length - tarfile.BLOCKSIZE + 1, tarfile.BLOCKSIZE):
            self.fileobj.seek(place)
            block = self.fileobj.read(tarfile.BLOCKSIZE)
            if block[257:262] != b'ustar':
                continue
            try:
                tarfile.TarInfo.frombuf(block, self.encoding, self.errors)
            except tarfile.HeaderError:
                continue
            self.offset = place
            return True
        return False


def contents(file: BinaryIO, members: list[Member]) -> Iterator[bytes]:
    """The first `LABEL_BYTES` of each of some members."""
    for member in members:
        file.seek(member.offset)
        yield file.read(min(member.size, LABEL_BYTES))
