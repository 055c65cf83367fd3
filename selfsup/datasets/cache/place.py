"""Where a cache lies: a folder that outlasts the run, or memory that ends with it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ...errors import DataError
from ...files import write_atomic
from ...machine import free_memory
from .store import Places, open_store, whole_rows

CHECKED = 32  # images of a finished cache whose bytes are compared with their check sums when it is opened
ROOMY = 0.95  # share of what is free that a cache may take


class Segment:
    """One file that images are appended to, with the file of their rows.

    Args:
        number: of the segment.
        pixels: path of the images, and `rows` of the rows.
        files: both, open for writing, in this order.
    """

    def __init__(self, number: int, pixels: str, rows: str, files: tuple[BinaryIO, BinaryIO]) -> None:
        self.number, self.pixels, self.rows, self.files = number, pixels, rows, files


class Folder:
    """A cache in a folder of its own below the one that the user named, which may hold those of several data sets.

    Finished, it has a `cache.json`, written last. Until then it holds what builders have done so far, and another start goes on from there.

    Args:
        above: the folder that the user named.
        key: what the content depends on; another key is another cache.
    """

    def __init__(self, above: Path, key: dict) -> None:
        self.key = key
        text = json.dumps(key, sort_keys=True)
        self.path = above / f'{key["images"]}_images_{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}'
        self._lock: BinaryIO | None = None
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"cache: the folder '{above}' cannot be made: {error.strerror}. Choose another.") from None

    def __str__(self) -> str:
        return str(self.path)

    def free(self) -> int | None:
        return shutil.disk_usage(self.path).free

    def try_hold(self) -> bool:
        """Become the one that builds here; False while another process does. On a file system without locks, everyone may."""
        if self._lock is None:
            self._lock = open(self.path / '.lock', 'ab')
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        except OSError:
            pass
        return True

    def release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def finished(self) -> Places | None:
        """The complete cache that lies here; None where there is none, or where it is damaged."""
        try:
            record = json.loads((self.path / 'cache.json').read_text())
            if record['key'] != self.key:
                return None
            places = Places(str(self.path / 'rows.bin'), {int(n): self._name(int(n))[0] for n in record['segments']})
            if hashlib.blake2b(Path(places.rows).read_bytes()).hexdigest() != record['rows']:
                return None
            store = open_store(places)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        some = np.unique(np.linspace(0, len(store) - 1, CHECKED).astype(int)).tolist()
        return places if len(store) == self.key['images'] and store.intact(some) else None

    def begun(self) -> list[np.ndarray]:
        """Rows of the images that earlier builders stored; what cannot be used is removed."""
        (self.path / 'cache.json').unlink(missing_ok=True)
        kept = []
        for path in sorted(self.path.glob('rows_*.bin')):
            number = int(path.stem.partition('_')[2])
            pixels = self._name(number)[0]
            rows = whole_rows(path.read_bytes(), number, pixels, self.key['images']) if os.path.exists(pixels) else ()
            if len(rows):
                kept.append(np.asarray(rows))
            else:
                path.unlink()
                Path(pixels).unlink(missing_ok=True)
        return kept

    def new_segment(self) -> Segment:
        for number in range(1 << 31):
            pixels, rows = self._name(number)
            try:  # not one that a builder of an earlier start may still be writing
                files = open(pixels, 'xb'), open(rows, 'xb')
            except FileExistsError:
                continue
            return Segment(number, pixels, rows, files)
        raise AssertionError

    def finish(self, rows: np.ndarray) -> Places:
        """Write down that the cache is complete; everything else is on the disk before that."""
        used = np.unique(rows['segment'][rows['kind'] > 0]).tolist()
        for number in used:
            with open(self._name(number)[0], 'rb') as file:
                os.fsync(file.fileno())
        content = rows.tobytes()
        write_atomic(self.path / 'rows.bin', lambda file: file.write(content), DataError)
        record = {'key': self.key, 'segments': used, 'rows': hashlib.blake2b(content).hexdigest()}
        write_atomic(self.path / 'cache.json', lambda file: file.write(json.dumps(record).encode()), DataError)
        return Places(str(self.path / 'rows.bin'), {number: self._name(number)[0] for number in used})

    def _name(self, number: int) -> tuple[str, str]:
        return str(self.path / f'images_{number}.bin'), str(self.path / f'rows_{number}.bin')


class Memory:
    """A cache in anonymous memory of this process: other processes of the machine open it through /proc, and it ends with the last of them.

    It is not part of /dev/shm, so a small one there does not limit it, and nothing is left behind however the run ends.

    Args:
        key: see `Folder`.
    """

    def __init__(self, key: dict) -> None:
        if not hasattr(os, 'memfd_create'):
            raise DataError("cache=dict(where='memory') needs Linux: give where= a folder.")
        self.key = key
        self._files: list[BinaryIO] = []

    def __str__(self) -> str:
        return 'memory'

    def free(self) -> int | None:
        return free_memory()

    def try_hold(self) -> bool:
        return True

    def release(self) -> None:
        """Nobody waits for it."""

    def finished(self) -> Places | None:
        return None

    def begun(self) -> list[np.ndarray]:
        return []

    def new_segment(self) -> Segment:
        number = len(self._files) // 2
        (pixels, rows), files = zip(*(self._new(f'{what}_{number}') for what in ('images', 'rows')), strict=True)
        return Segment(number, pixels, rows, files)

    def finish(self, rows: np.ndarray) -> Places:
        path, file = self._new('rows')
        file.write(rows.tobytes())
        file.flush()
        return Places(path, dict(enumerate(self._paths())))

    def _paths(self) -> Iterable[str]:
        return (f'/proc/{os.getpid()}/fd/{file.fileno()}' for file in self._files[:-1:2])

    def _new(self, name: str) -> tuple[str, BinaryIO]:
        file = os.fdopen(os.memfd_create(f'selfsup_{name}'), 'w+b')
        self._files.append(file)
        return f'/proc/{os.getpid()}/fd/{file.fileno()}', file


Place = Folder | Memory


def amount(count: float) -> str:
    """Bytes in words."""
    return f'{count / 1e9:,.1f} GB' if count >= 1e9 else f'{count / 1e6:,.2f} MB'


def check_room(place: Place, needed: float, images: int, size: int) -> None:
    """Refuse a cache that does not fit where it shall lie.

    Raises:
        DataError: saying how much it takes and how much is free.
    """
    free = place.free()
    if free is not None and needed > ROOMY * free:
        smaller = (
            "a smaller size, another folder, or where='memory'"
            if isinstance(place, Folder)
            else 'a smaller size, or a folder'
        )
        raise DataError(
            f'cache: {images:,} images of size={size} take about {amount(needed)}, and {amount(free)} are free in {place}. '
            f'Choose {smaller}.'
        )
