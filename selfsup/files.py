"""Writing files so that nobody ever finds half of one, and one process at a time where two would spoil each other's work. A leaf."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import SelfSupError


def write_atomic(path: str | os.PathLike, write: Callable[[BinaryIO], object], error_type: type[SelfSupError]) -> Path:
    """Make a file so that, whatever happens, `path` holds the complete old or the complete new one.

    It is written under another name in the same folder, flushed to the disk, then renamed.

    Args:
        path: the file; its folder is created.
        write: writes the content into an open file.
        error_type: what to raise.

    Returns:
        `path`.

    Raises:
        SelfSupError: of `error_type`; it could not be written (disk full, no permission, ...). An older file of this name is
            unchanged and no temporary file is left.
    """
    path = Path(path)
    temporary = path.parent / f'.{path.name}.{os.getpid()}.tmp'
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, 'wb') as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        reason = _write_failure(error)
        if reason is None:
            raise
        raise error_type(_write_message(path, reason)) from error
    return path


def byte_count(size: int | str) -> int:
    """A number of bytes, given as one or as '256MB', '4 GiB', '1e9'.

    Raises:
        ValueError: it is neither, or less than 1.
    """
    written = re.fullmatch(r'\s*(\d+(?:\.\d*)?(?:[eE]\d+)?)\s*([kMGT]?)(i?)B?\s*', str(size))
    if not written:
        raise ValueError(f'{size!r} is no number of bytes: write 268435456, 256MB or 4GiB')
    number, prefix, binary = written.groups()
    count = int(float(number) * (1024 if binary else 1000) ** ' kMGT'.index(prefix or ' '))
    if count < 1:
        raise ValueError(f'{size!r} must be 1 byte or more')
    return count


def write_obstacle(folder: Path) -> Path | None:
    """What keeps files from being written into `folder`, made if need be: a file or a read-only folder there or above; None if nothing."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return None if there.is_dir() and os.access(there, os.W_OK | os.X_OK) else there


def remove_leftovers(folder: str | os.PathLike) -> int:
    """Remove the temporary files that killed processes left in `folder`; their number.

    To be called by one process, before it writes its first checkpoint: of a file being written there it knows nothing.
    """
    removed = 0
    for leftover in Path(folder).glob('.*.tmp'):
        if re.fullmatch(r'\..+\.\d+\.tmp', leftover.name):
            with contextlib.suppress(OSError):
                leftover.unlink()
                removed += 1
    return removed


@contextlib.contextmanager
def only_process(lock: str | os.PathLike, refusal: str, error_type: type[SelfSupError]) -> Iterator[None]:
    """Hold `lock`, a file, for one process: a second one is refused. The system lets go when the process ends, however it ends.

    Args:
        lock: made where it is not there, and left behind. In a folder that allows no locks nothing is held.
        refusal: the message of a refused process; `{owner}` becomes 'process 123 on host', the one that holds it.
        error_type: what to raise.

    Raises:
        SelfSupError: of `error_type`; another process holds it.
    """
    with contextlib.ExitStack() as held:
        try:
            file = held.enter_context(open(lock, 'a+'))
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock, loader workers do not inherit it
            file.truncate(0)
            file.write(f'{os.getpid()} on {socket.gethostname()}')
            file.flush()
        except BlockingIOError:
            file.seek(0)
            raise error_type(refusal.format(owner=f'process {file.read()}')) from None
        except OSError:
            pass
        yield


def _write_failure(error: BaseException) -> str | None:
    """Why writing failed, when the machine and not the program is the reason; None otherwise."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return cause.strerror or str(cause)
        cause = cause.__cause__ or cause.__context__
    # torch's zip writer reports a short write in these words and drops the system's own error.
    if isinstance(error, RuntimeError) and ('PytorchStreamWriter' in str(error) or 'unexpected pos' in str(error)):
        return 'the file system took only a part of it'
    return None


def _write_message(path: Path, reason: str) -> str:
    older = ' The older file of this name is unchanged.' if path.exists() else ''
    try:
        free = f'{shutil.disk_usage(path.parent).free:,} bytes are free there'
    except OSError:
        free = 'its folder cannot be used'
    return f'{path} could not be written: {reason}; {free}.{older} Free some space or choose another folder.'


def _sync_folder(folder: Path) -> None:
    """Put the new name itself on the disk; not every file system lets a folder be opened."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
