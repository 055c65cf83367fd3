"""What a launcher on torchrun does with the signals that it gets, and how it ends when its processes were stopped in order."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

from ..errors import TRY_AGAIN
from .tree import children, has_ended

SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def handles(pid: int, number: int) -> bool:
    """True where a process has a handler of its own for a signal (`SigCgt`, a bit mask, in /proc), or ignores it (`SigIgn`)."""
    try:
        lines = Path(f'/proc/{pid}/status').read_text().splitlines()
    except OSError:
        return False
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(('SigCgt:', 'SigIgn:'))]
    return any(mask >> (number - 1) & 1 for mask in masks)


class Signals:
    """What becomes of signals to this launcher. `emit` makes it a handler of torchrun's metrics, see `keep`."""

    def __init__(self) -> None:
        self.passed_on: signal.Signals | None = None  # the first that went on to the ranks
        # what nohup ignores stays ignored
        self.numbers = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        self.ignored = [number for number in SIGNALS if number not in self.numbers]

    def keep(self) -> None:
        """Install the handlers. torchrun puts its own in their place whenever it has started its processes."""
        for number in self.numbers:
            signal.signal(number, self.treat)
        for number in self.ignored:
            signal.signal(number, signal.SIG_IGN)

    def treat(self, number: int, frame: object) -> None:
        """Handler: untreated, signals would end the launcher and leave the ranks behind."""
        from torch.distributed.elastic.multiprocessing.api import SignalException

        ranks = [pid for pid in children(os.getpid()) if not has_ended(pid)]
        # Python itself handles SIGINT, by an error: only who handles SIGTERM too saves before it ends.
        asked = signal.SIGTERM if number == signal.SIGINT else number
        if not all(handles(pid, asked) for pid in ranks) or (not ranks and self.passed_on is None):
            raise SignalException(f'Process {os.getpid()} got signal {number}', signal.Signals(number))
        self.passed_on = self.passed_on or signal.Signals(number)
        for pid in ranks:
            with contextlib.suppress(OSError):
                os.kill(pid, number)

    def emit(self, metric_data: Any) -> None:
        """Called by torchrun in its main thread: after it has started processes, and when it has looked at them, ten times a second."""
        from torch.distributed.elastic.multiprocessing.api import SignalException

        self.keep()
        if self.passed_on and metric_data.name.endswith(
            ('.failed', '.unhealthy')
        ):  # they were to end, not to start again
            raise SignalException('A process failed while it ended', self.passed_on)


def leave_in_order(path: Path, signals: Signals) -> None:
    """End with the exit status that processes left in a file which stopped in order; nothing where none did."""
    try:
        status = int(path.read_text())
    except (OSError, ValueError):
        return
    why = f'stopped by {signals.passed_on.name}' if signals.passed_on else 'stopped'
    again = ': the state is saved, the same run can go on' if status == TRY_AGAIN else ''
    print(f'{why}; all processes have ended (exit status {status}{again})', file=sys.stderr)
    sys.exit(status)
