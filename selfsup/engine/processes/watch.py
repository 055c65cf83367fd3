"""Ends a run that hangs: every process tells of itself through the store of the group, and all of them look for who has stopped.

A collective waits for its slowest process as long as it takes: nothing in it can tell a rank that clusters for an hour from one that was
stopped or reads from a dead mount. So the waiting is without an end, and who judges is this watch. Two threads: one talks to the store
and may be blocked there, the other looks at the clock.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from ...cluster.agent import HANGS
from ...cluster.tree import descendants, is_here, kill, kill_below, processor_seconds
from ...errors import SelfSupError
from ...heartbeat import Heart
from ..logs.log import LogHandler
from .signs import Judge, Sign, Verdict

PERIODS = 20  # signs within `timeout_s`
LONGEST_PERIOD_S = 15.0
AT_WORK = 0.05  # of one core: a process that uses as much works
PATIENCE_S = 5.0  # for a store or a log file that may hang
VERDICT = 'verdict'


def sign_key(rank: int) -> str:
    """Where a process publishes its signs."""
    return f'sign/{rank}'


class Watch(threading.Thread):
    """The watch of one process. `start` begins it, `leave` ends it in order; what hangs is ended hard, with exit status `HANGS`.

    Args:
        connect: opens a connection to the store of the group, one of its own: another thread may wait on any other.
        heart: of this process.
        sign: the first sign of this process; those of all ranks lie in the store already.
        world_size: number of processes.
        timeout_s: seconds without a sign of life after which the run is given up.
        holder: who keeps the store, for a message.

    Attributes:
        heart: where the beats of this process go.
    """

    def __init__(
        self, connect: Callable[[], Any], heart: Heart, sign: Sign, world_size: int, timeout_s: float, holder: str
    ) -> None:
        super().__init__(name='watch the processes', daemon=True)
        self.timeout_s, self.period_s = timeout_s, min(timeout_s / PERIODS, LONGEST_PERIOD_S)
        self._connect, self.heart, self._sign, self._holder = connect, heart, sign, holder
        self._watched = range(world_size) if sign.rank == 0 else range(1)
        self._judge = Judge(timeout_s, self.period_s, time.monotonic(), of_all=sign.rank == 0)
        self._lock = threading.Lock()  # around `_judge` and `_told`
        self._told: Verdict | None = None  # by rank 0
        self._over, self._gives_up = threading.Event(), False
        self._courier = threading.Thread(target=self._talk, name='tell of this process', daemon=True)
        self._strides, self._processor_s, self._measured = 0, 0.0, time.monotonic()
        self._store: Any = None

    def run(self) -> None:
        """Look at the clock until the end."""
        self._courier.start()
        while not self._over.wait(self.period_s / 2):
            with self._lock:
                self._judge.tick(time.monotonic())
                verdict = self._told or self._judge.verdict() or self._judge.of_store(self._holder)
            if verdict is not None and not self._over.is_set():
                self._give_up(verdict)

    def leave(self) -> None:
        """Tell the others that this process ends in order, and end."""
        if self._gives_up:  # what brought the main thread here is that others have ended for the same reason
            self.join()
        self._over.set()
        if self._courier.is_alive():
            self._courier.join(PATIENCE_S)

    # ---- the other thread ----

    def _talk(self) -> None:
        while True:
            left = self._over.is_set()
            try:
                self._store = self._store or self._connect()
                self._publish(left)
                if not left:
                    self._read()
            # The store is gone or does not answer (torch's errors are RuntimeErrors), or cannot be reached.
            except (RuntimeError, OSError, SelfSupError):
                self._store = None
            if left:
                return
            self._over.wait(self.period_s)

    def _publish(self, left: bool) -> None:
        heart = self.heart
        self._strides += self._has_worked()
        self._sign = dataclasses.replace(
            self._sign,
            number=self._sign.number + 1,
            progress=heart.beats + self._strides,
            doing=heart.doing,
            waiting=heart.waiting,
            left=left,
        )
        self._store.set(sign_key(self._sign.rank), self._sign.pack())

    def _has_worked(self) -> bool:
        """Whether processor time since the last sign says that this process works: where it waits for others, it says nothing."""
        now, used = time.monotonic(), processor_seconds([os.getpid(), *descendants(os.getpid())])
        share = (used - self._processor_s) / max(now - self._measured, 1e-3)
        self._measured, self._processor_s = now, used
        return share > AT_WORK and (self.heart.at_work or not self.heart.waiting)

    def _read(self) -> None:
        data = self._store.multi_get([VERDICT, *map(sign_key, self._watched)])
        with self._lock:
            self._told = Verdict.unpack(data[0]) if data[0] else None
            self._judge.note([Sign.unpack(one) for one in data[1:]], time.monotonic())

    # ---- the end ----

    def _give_up(self, verdict: Verdict) -> None:
        self._gives_up = True
        text = (
            f'error: {verdict.reason}. So this process ends, with exit status {HANGS}; '
            f'dist_params.timeout_s={self.timeout_s:g} says how long is waited.'
        )
        print(f'[rank {self._sign.rank}] {text}', file=sys.stderr, flush=True)
        _within(PATIENCE_S, lambda: _log(text))
        if self._sign.rank == 0 and _within(PATIENCE_S, lambda: self._store.set(VERDICT, verdict.pack())):
            time.sleep(3 * self.period_s)  # until all have read it: the store may end with this process
        # first what cannot end by itself: the workers of a stopped process, and that process, which no SIGTERM reaches
        kill_below(os.getpid())
        for one in verdict.culprits:
            if one != self._sign.identity and is_here(one):
                kill_below(one.pid)
                kill([one.pid])
        os._exit(HANGS)


def current() -> Watch | None:
    """The watch of this process."""
    return next((thread for thread in threading.enumerate() if isinstance(thread, Watch)), None)


def _log(text: str) -> None:
    """Into the log files of the run; the console has it already."""
    logger = logging.getLogger('selfsup')
    record = logger.makeRecord(logger.name, logging.ERROR, __file__, 0, text, (), None)
    for handler in logger.handlers:
        if isinstance(handler, LogHandler):
            handler.handle(record)


def _within(seconds: float, act: Callable[[], Any]) -> bool:
    """Do what may hang in a thread of its own; True where it was done in time."""
    done = threading.Event()

    def run() -> None:
        with contextlib.suppress(RuntimeError, OSError, AttributeError):  # the store or the disk is gone
            act()
            done.set()

    threading.Thread(target=run, daemon=True).start()
    return done.wait(seconds)
