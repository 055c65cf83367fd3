"""Logs that outlast their disk: what cannot be written is kept for a while, said once on the console, and the run goes on."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from mmengine.logging import MMLogger
from mmengine.logging.logger import FilterDuplicateWarning, MMFormatter

from ... import distributed as dist
from ...errors import SelfSupError
from ...files import write_atomic

logger = logging.getLogger('selfsup')

KEPT = 1 << 20  # bytes of a log that wait for their disk; the oldest go first


class LogTrouble:
    """Says once that logs cannot be written, and once that they can again."""

    def __init__(self) -> None:
        self._failing: set[str] = set()

    def failed(self, path: str | os.PathLike, reason: str) -> None:
        first = not self._failing
        self._failing.add(str(path))
        if first:
            logger.warning(
                f'{path} cannot be written: {reason}. Training goes on, and so do the logs when they can be written again.'
            )

    def written(self, path: str | os.PathLike) -> None:
        if str(path) in self._failing:
            self._failing.discard(str(path))
            if not self._failing:
                logger.warning('The logs are written again.')

    @contextlib.contextmanager
    def guarding(self, path: str | os.PathLike) -> Iterator[None]:
        """Let no OSError out of what writes `path`, a file that the run does not depend on."""
        try:
            yield
        except OSError as error:
            self.failed(path, error.strerror or str(error))
        else:
            self.written(path)


class LastingFile:
    """A file that whole records are appended to, made where it is missing: at first, or because its folder was removed.

    Args:
        path: the file.
        trouble: told where records cannot be written.
        header: first bytes of the file.
    """

    def __init__(self, path: str | os.PathLike, trouble: LogTrouble, header: bytes = b'') -> None:
        self.path, self._trouble, self._header = Path(path), trouble, header
        self._file: int | None = None
        self._waiting: list[bytes] = []

    def append(self, record: bytes) -> None:
        """Write `record` and all that wait, or none of them. Raises nothing."""
        self._waiting.append(record)
        while len(self._waiting) > 1 and sum(map(len, self._waiting)) > KEPT:
            del self._waiting[0]
        try:
            self._write(b''.join(self._waiting))
        except OSError as error:
            self.close()
            self._trouble.failed(self.path, error.strerror or str(error))
        else:
            self._waiting = []
            self._trouble.written(self.path)

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
        self._file = None

    def _write(self, data: bytes) -> None:
        file = self._opened()
        size = os.fstat(file).st_size
        data = data if size else self._header + data
        try:
            while data:
                data = data[os.write(file, data) :]
        except OSError:
            os.ftruncate(file, size)  # a part of a line or an event would spoil what follows it
            raise

    def _opened(self) -> int:
        """The open file, opened again where another or none stands in its place."""
        if self._file is not None:
            try:
                if os.path.samestat(os.stat(self.path), os.fstat(self._file)):
                    return self._file
            except OSError:
                pass
            self.close()
        with contextlib.suppress(FileExistsError):  # a file stands there: opening says so in better words
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        return self._file


class LogHandler(logging.FileHandler):
    """The `.log` of a run.

    Args:
        path: the file.
        trouble: told where lines cannot be written.
    """

    def __init__(self, path: Path, trouble: LogTrouble) -> None:
        super().__init__(path, delay=True)
        self._lasting = LastingFile(path, trouble)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = f'{self.format(record)}\n'.encode(errors='backslashreplace')
        except Exception:  # arguments that do not fit their format: the way of logging itself
            self.handleError(record)
            return
        self._lasting.append(line)

    def close(self) -> None:
        self._lasting.close()
        super().close()


class ConsoleHandler(logging.StreamHandler):
    """The console, which may be a closed pipe or a file on a full disk: not worth a traceback for every line."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def lasting(log: MMLogger, path: Path, trouble: LogTrouble) -> MMLogger:
    """Give `log`, which writes to the console, its file; only rank 0 has one, as with mmengine's own."""
    (stream,) = log.handlers
    console = ConsoleHandler(stream.stream)
    console.setFormatter(stream.formatter)
    console.setLevel(stream.level)
    for known in stream.filters:
        console.addFilter(known)
    log.handlers[:] = [console]
    if dist.is_main():
        handler = LogHandler(path, trouble)
        formatter = MMFormatter(color=False, datefmt='%Y/%m/%d %H:%M:%S')
        # where in the code: the traceback says it
        formatter.err_format = formatter.warn_format.replace('WARNING', 'ERROR')
        handler.setFormatter(formatter)
        handler.setLevel(console.level)
        handler.addFilter(FilterDuplicateWarning(log.name))
        log.handlers.append(handler)
    return log


def write_beside(path: Path, text: str, trouble: LogTrouble) -> None:
    """Write a small file that the run does not depend on; an older one stays where that fails."""
    try:
        write_atomic(path, lambda file: file.write(text.encode()), _NotWritten)
    except _NotWritten as error:
        trouble.failed(path, getattr(error.__cause__, 'strerror', None) or str(error))


class _NotWritten(SelfSupError):
    """Turned into a line of the log at once."""
