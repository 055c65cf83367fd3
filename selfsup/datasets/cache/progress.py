"""How far a long piece of work is: a bar where somebody watches, lines in the log where nobody does."""

from __future__ import annotations

import logging
import sys
import time

from ...heartbeat import beat

SAY_EVERY = 15.0  # seconds between two lines of a log
WIDTH = 30  # characters of the bar


class Progress:
    """Shown on the standard error stream of a terminal, else logged now and then.

    Args:
        title: what is done.
        total: how many pieces there are.
    """

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total = title, total
        self.begin = self._said = time.monotonic()
        self._bar = sys.stderr.isatty()

    def show(self, done: int) -> None:
        """Tell that `done` pieces are finished."""
        beat(self.title)
        now = time.monotonic()
        elapsed = now - self.begin
        remaining = f', {elapsed / done * (self.total - done):,.0f} s to go' if done else ''
        text = f'{self.title}: {done:,} of {self.total:,} images{remaining}'
        if self._bar:
            filled = WIDTH * done // max(1, self.total)
            sys.stderr.write(f'\r[{"=" * filled}{" " * (WIDTH - filled)}] {text}\x1b[K')
            sys.stderr.flush()
        elif now - self._said >= SAY_EVERY:
            self._said = now
            logging.getLogger('selfsup').info(text)

    def end(self) -> float:
        """Clear the bar; the seconds that it took."""
        if self._bar:
            sys.stderr.write('\r\x1b[K')
            sys.stderr.flush()
        return time.monotonic() - self.begin
