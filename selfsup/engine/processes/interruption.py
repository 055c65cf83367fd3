"""Signals that ask a training to stop. A handler sets a flag and nothing else: the training looks at it where it can stop."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ... import heartbeat
from ...cli import final_status
from ...cluster.tree import kill_below
from ...errors import CTRL_C, TRY_AGAIN, Interrupted

# What schedulers, launchers, terminals and people send. Preemption sends several of them, one after the other.
SIGNALS = ('SIGUSR1', 'SIGUSR2', 'SIGTERM', 'SIGHUP', 'SIGINT')
DEFAULT = (signal.SIG_DFL, signal.default_int_handler)
BOUNCE_S = 0.3  # two SIGINT within this time are one Ctrl-C: a terminal sends it to a whole group of processes
LOOK_S = 0.2
MEET_S = 3.0  # how long a process that was asked to stop still waits for the others to join the group


class EvaluationGivenUp(BaseException):
    """Ends an evaluation between its batches. No Exception: no measure is to take it for a failure of its own."""


class Asked(NamedTuple):
    """What asked a training to stop: in words, with which exit status it shall end, and when (`time.monotonic()`)."""

    reason: str
    status: int
    at: float


class Interruption:
    """Around a training: while it is entered, signals set `asked`. Afterwards signals do what they did before.

    Handlers are installed in the main thread alone (no other may), and only in the place of default ones: a signal that somebody
    handles or ignores (nohup) stays his. A thread waits for signals too, as a handler of Python's does not run while the main thread is
    inside of a library: it ends the process at a second Ctrl-C, and where no safe point comes in time.

    Args:
        stop_within_s: seconds from the signal to the safe point, and from there until the checkpoint is written.
        launcher: of the process. With one, signals stay ignored after an `Interrupted`: all processes leave at once, and the launcher
            may send SIGTERM to those that are last, whose exit status would be lost.

    Attributes:
        asked: what asked the training to stop; None: nothing did.
        newest_checkpoint: gives the file to go on from, for a message.
        heart: knows what the training does, for a message.
    """

    def __init__(self, stop_within_s: float = 60.0, launcher: str = 'none') -> None:
        self.stop_within_s, self.launcher = stop_within_s, launcher
        self.asked: Asked | None = None
        self.newest_checkpoint: Callable[[], Path | None] = lambda: None
        self._saving = 0.0  # when a safe point was reached
        self._meets = False  # waits for the other processes
        self._owner = os.getpid()
        self.heart: heartbeat.Heart | None = None
        self._handlers: dict[int, Any] = {}
        self._interrupts: list[float] = []  # when each Ctrl-C came
        self._previous_fd: int | None = None  # of `signal.set_wakeup_fd`, where ours stands in its place

    def ask(self, reason: str, status: int = TRY_AGAIN) -> None:
        """Ask the training to stop; whoever asks first gives the reason. Any thread may call, and a signal handler."""
        if self.asked is None:
            self.asked = Asked(reason, status, time.monotonic())
            with contextlib.suppress(OSError, AttributeError):  # entered, or not
                self._bell.send(b'\0')

    def at_safe_point(self) -> None:
        """Say that the checkpoint is being written: the time for that begins anew."""
        self._saving = time.monotonic()

    @contextlib.contextmanager
    def meeting(self) -> Iterator[None]:
        """Around the wait for the other processes: one of them may be gone, and there is nothing to save yet."""
        self._meets = True
        try:
            yield
        finally:
            self._meets = False

    def __enter__(self) -> Interruption:
        self._over = False
        self._ear, self._bell = socket.socketpair()
        for end in (self._ear, self._bell):
            end.setblocking(False)
        if threading.current_thread() is threading.main_thread():
            self._install()
        self._thread = threading.Thread(target=self._listen, name='wait for signals', daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        leaves = isinstance(error, Interrupted) and self.launcher != 'none'
        if self._previous_fd is not None:
            signal.set_wakeup_fd(self._previous_fd)
            self._previous_fd = None
        for number, handler in self._handlers.items():
            signal.signal(number, signal.SIG_IGN if leaves else handler)
        self._handlers = {}
        # Told, as the end of the stream would not be: a loader worker that is still there holds a copy of the bell.
        self._over = True
        with contextlib.suppress(BlockingIOError):  # what is there already wakes the thread as well
            self._bell.send(b'\0')
        self._thread.join()
        self._bell.close()
        self._ear.close()

    def _install(self) -> None:
        for number in (getattr(signal, name) for name in SIGNALS if hasattr(signal, name)):
            if signal.getsignal(number) in DEFAULT:
                self._handlers[number] = signal.signal(number, self._handle)
        previous = signal.set_wakeup_fd(self._bell.fileno(), warn_on_full_buffer=False)
        if previous != -1:  # an event loop listens there
            signal.set_wakeup_fd(previous)
        elif self._handlers:
            self._previous_fd = previous
        else:
            signal.set_wakeup_fd(-1)

    def _handle(self, number: int, frame: Any) -> None:
        if os.getpid() != self._owner:  # a process that was forked from this one
            return
        self._note(number)
        if number == signal.SIGINT and self._previous_fd is None and self._count_interrupt() > 1:
            raise KeyboardInterrupt

    def _note(self, number: int) -> None:
        if number == signal.SIGINT:
            self.ask('Ctrl-C', CTRL_C)
        else:
            self.ask(signal.Signals(number).name)

    def _count_interrupt(self) -> int:
        """Which Ctrl-C this is, from 1; 0 where it belongs to the one before."""
        now = time.monotonic()
        if self._interrupts and now - self._interrupts[-1] < BOUNCE_S:
            return 0
        self._interrupts.append(now)
        return len(self._interrupts)

    # ---- the thread ----

    def _listen(self) -> None:
        while True:
            select.select([self._ear], [], [], LOOK_S if self.asked else None)
            try:
                numbers = self._ear.recv(4096)
            except BlockingIOError:
                numbers = b'\0'
            if self._over:
                return
            for number in numbers:
                if number in self._handlers:
                    self._note(number)
                count = self._count_interrupt() if number == signal.SIGINT and number in self._handlers else 0
                if count == 1:
                    _say('stopping at the next safe point; a second Ctrl-C ends the run at once')
                elif count:
                    self._end('interrupted a second time, so the run ends at once', CTRL_C)
            if self.asked is not None and time.monotonic() > max(self.asked.at, self._saving) + self.stop_within_s:
                self._give_up(self.asked)
            elif self.asked is not None and self._meets and time.monotonic() > self.asked.at + MEET_S:
                why = f'Stopped by {self.asked.reason} while waiting for other processes, before anything was trained'
                self._end(why, self.asked.status)

    def _give_up(self, asked: Asked) -> None:
        what = 'the checkpoint was not written' if self._saving else 'no safe point was reached'
        doing = f' (it was at: {self.heart.doing})' if self.heart is not None else ''
        within = f'within {self.stop_within_s:g} s (dist_params.stop_within_s)'
        self._end(f'Stopped by {asked.reason}, but {what} {within}{doing}: the run ends as it is', asked.status)

    def _end(self, why: str, status: int) -> None:
        """End this process and its children at once, whatever the main thread does."""
        newest = self.newest_checkpoint()
        line = f'{why}. {f"The newest checkpoint is {newest}" if newest else "No checkpoint was saved"}.'
        _say(line)
        # The main thread may hold the locks of the log, at a mount that is dead.
        log = threading.Thread(target=logging.getLogger('selfsup').error, args=(line,), daemon=True)
        log.start()
        log.join(1.0)
        kill_below(os.getpid())
        os._exit(final_status(status))


def _say(text: str) -> None:
    """To stderr, past the buffers and locks of Python; once per run where it has several processes."""
    if os.environ.get('RANK', '0') == '0':
        with contextlib.suppress(OSError):
            os.write(2, f'{text}\n'.encode())
