"""Signs of life of this process: who watches the processes of a run can tell one that works for long from one that hangs.

What takes its time calls `beat`, wherever it is, once per batch or round of work. A watcher in another thread reads the `Heart` that
the process lives by (`beating`). Without one, a beat is nothing, so a library function may beat whoever calls it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar

START = 'starting'


class Heart:
    """Counts the beats of one process, and knows what it is doing. Written by the main thread, read by others.

    Attributes:
        beats: how many there were.
        doing: in words, for a message: 'iteration 12', 'waiting for a batch'.
        at_work: True inside of `working`: the processor time that the process uses counts as a sign of life too.
        since: `time.monotonic()` of the last beat.
    """

    def __init__(self) -> None:
        self.beats, self.doing, self.at_work, self.since = 0, START, False, time.monotonic()

    def beat(self, doing: str | None = None) -> None:
        """Say that work goes on, and what it is where that changes."""
        if doing is not None:
            self.doing = doing
        self.since = time.monotonic()
        self.beats += 1


_HEART: ContextVar[Heart | None] = ContextVar('heart', default=None)


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


def beat(doing: str | None = None) -> None:
    """One sign of life, see `Heart.beat`; nothing where nobody watches."""
    heart = _HEART.get()
    if heart is not None:
        heart.beat(doing)


@contextlib.contextmanager
def working(doing: str) -> Iterator[None]:
    """Around one long call that cannot beat, such as a clustering by another library. What was done before is done again afterwards."""
    heart = _HEART.get()
    if heart is None:
        yield
        return
    before, was_at_work = heart.doing, heart.at_work
    heart.beat(doing)
    heart.at_work = True
    try:
        yield
    finally:
        heart.at_work = was_at_work
        heart.beat(before)
