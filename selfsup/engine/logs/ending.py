"""Why a run ended, as the last line of its log: the console may be gone."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ...errors import Interrupted, SelfSupError
from .log import LogHandler

# signals that end a process by default and that schedulers, launchers and terminals send; SIGINT becomes KeyboardInterrupt
SIGNALS = ('SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGXCPU')


@contextlib.contextmanager
def ending_logged(runner: Any) -> Iterator[None]:
    """Write into the log file of `runner` what ends the block before its end: an error, an interrupt or a signal.

    The console is left to who called: it shows the error. An error that is not the user's to mend comes with its traceback. After a
    signal the process ends as it would have ended.
    """
    with _signals_told(lambda name: _tell(runner, f'signal {name}')):
        try:
            yield
        except Interrupted as stop:
            _write(runner, logging.WARNING, str(stop))
            raise
        except SelfSupError as error:
            _tell(runner, str(error))
            raise
        except KeyboardInterrupt:
            _tell(runner, 'interrupted (SIGINT)')
            raise
        except Exception as error:
            _tell(runner, f'{type(error).__name__}: {error}', error)
            raise


def _tell(runner: Any, reason: str, error: BaseException | None = None) -> None:
    if getattr(runner, 'logger', None) is None:
        return
    reason = ' '.join(reason.split())
    last = getattr(runner, 'last_checkpoint', None)  # like the logger, it is not there before it is built
    saved = f' The last checkpoint is {last}.' if last else ''
    message = f'The run ended at iteration {runner.iter}: {reason}{"" if reason.endswith(".") else "."}{saved}'
    _write(runner, logging.ERROR, message, (type(error), error, error.__traceback__) if error else None)


def _write(runner: Any, level: int, message: str, trace: Any = None) -> None:
    """Into the log file alone."""
    log = getattr(runner, 'logger', None)
    if log is None:
        return
    record = log.makeRecord(log.name, level, __file__, 0, message, (), trace)
    for handler in log.handlers:
        if isinstance(handler, LogHandler):
            handler.handle(record)


@contextlib.contextmanager
def _signals_told(tell: Callable[[str], None]) -> Iterator[None]:
    """Call `tell` with the name of a signal that ends the process. Signals that somebody else handles or ignores stay his."""
    owner, previous = os.getpid(), {}

    def end(number: int, frame: Any) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() == owner:  # and no worker that was forked from it
            tell(signal.Signals(number).name)
        os.kill(os.getpid(), number)

    if threading.current_thread() is threading.main_thread():  # no other may set them
        for number in (getattr(signal, name) for name in SIGNALS if hasattr(signal, name)):
            if signal.getsignal(number) is signal.SIG_DFL:
                previous[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
