"""Signs of life of this process: who watches the processes of a run can tell one that works for long from one that hangs.

What takes its time calls `beat`, wherever it is, once per batch or round of work. A watcher in another thread reads the `Heart` that
the process lives by (`beating`, `adopt`). Without one, a beat is nothing, so a library function may beat whoever calls it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar

START = 'starting'
BATCH = 'waiting for a batch'


class Heart:
    """Counts the beats of one process, and knows what it is doing. Written by the main thread, read by others.

    Attributes:
        beats: how many there were.
        doing: in words, for a message: 'iteration 12', 'waiting for a batch'.
        waiting: what is done is done by all processes together, so this one may be waiting for another. Elsewhere the processor time
            that the process uses is a sign of life too.
        at_work: True inside of `working`: processor time is a sign of life whatever `waiting` says.
        since: `time.monotonic()` of the last beat.
    """

    def __init__(self) -> None:
        self.beats, self.doing, self.waiting, self.at_work, self.since = 0, START, False, False, time.monotonic()

    def beat(self, doing: str | None = None, waiting: bool = False) -> None:
        """Say that work goes on, and, where that changes, what it is and whether it may wait for other processes."""
        if doing is not None:
            self.doing, self.waiting = doing, waiting
        self.since = time.monotonic()
        self.beats += 1


_HEART: ContextVar[Heart | None] = ContextVar('heart', default=None)


def adopt(heart: Heart | None) -> None:
    """Beats of this thread go to `heart` from now on."""
    _HEART.set(heart)


@contextlib.contextmanager
def beating(heart: Heart) -> Iterator[Heart]:
    """Beats of this thread go to `heart`."""
    token = _HEART.set(heart)
    try:
        yield heart
    finally:
        _HEART.reset(token)


def current() -> Heart | None:
    """The heart that beats of this thread go to."""
    return _HEART.get()


def beat(doing: str | None = None, waiting: bool = False) -> None:
    """One sign of life, see `Heart.beat`; nothing where nobody watches."""
    heart = _HEART.get()
    if heart is not None:
        heart.beat(doing, waiting)


@contextlib.contextmanager
def working(doing: str) -> Iterator[None]:
    """Around one long call that cannot beat, such as a clustering by another library. What was done before is done again afterwards."""
    heart = _HEART.get()
    if heart is None:
        yield
        return
    before, was_waiting, was_at_work = heart.doing, heart.waiting, heart.at_work
    heart.beat(doing)
    heart.at_work = True
    try:
        yield
    finally:
        heart.at_work = was_at_work
        heart.beat(before, was_waiting)


@contextlib.contextmanager
def awaiting() -> Iterator[None]:
    """Around what waits for others: the processor time of waiting is no sign of life, and it is not this process that hangs."""
    heart = _HEART.get()
    if heart is None:
        yield
        return
    before, was_waiting, was_at_work = heart.doing, heart.waiting, heart.at_work
    heart.at_work = False
    heart.beat(before, waiting=True)
    try:
        yield
    finally:
        heart.at_work = was_at_work
        heart.beat(before, was_waiting)
