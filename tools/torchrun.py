"""torchrun without its traceback: python tools/torchrun.py [arguments of torchrun]. Used by the dist_ scripts.

A process that fails says why in one line of its own; torchrun would put forty lines about itself below it. Signals that ask to stop go on
to the processes where all of them handle it, as a training does: they save and end, the launcher waits and ends with their exit status.
Else it stops all. Where this launcher is killed, its processes notice and end: `engine.processes.launch.leave_with_launcher`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from selfsup.cluster import agent

SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
TRY_AGAIN = 75  # see `errors.Interrupted`


def children() -> list[int]:
    """Process ids of the ranks: the direct children."""
    tasks = Path('/proc/self/task').glob('*/children')
    return [int(pid) for task in tasks for pid in task.read_text().split()]


def handles(pid: int, number: int) -> bool:
    """True where a process has a handler of its own for a signal (`SigCgt`, a bit mask, in /proc), or ignores it (`SigIgn`)."""
    try:
        lines = Path(f'/proc/{pid}/status').read_text().splitlines()
    except OSError:
        return False
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(('SigCgt:', 'SigIgn:'))]
    return any(mask >> (number - 1) & 1 for mask in masks)


def runs(pid: int) -> bool:
    """False for a process that has ended, whether or not somebody has asked for its status."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


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

        ranks = [pid for pid in children() if runs(pid)]
        # Python itself handles SIGINT, by an error: only who handles SIGTERM too saves before it ends.
        asked = signal.SIGTERM if number == signal.SIGINT else number
        if self.passed_on is None and not (ranks and all(handles(pid, asked) for pid in ranks)):
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


def launch(args: Any) -> None:
    """torchrun, whose troubles are told in one line.

    Raises:
        SystemExit: with its exit status.
    """
    from torch.distributed import DistNetworkError, DistStoreError, run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    nodes, each = (int(text) if text.isdecimal() else 1 for text in (args.nnodes, args.nproc_per_node))
    restarts = agent.Restarts(args.max_restarts, args.node_rank * each)
    if nodes > 1 and args.rdzv_backend == 'static':
        agent.explain_waiting(args.master_addr, args.master_port, args.node_rank, nodes, lambda: bool(children()))
    try:
        run.run(args)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        agent.tell_failure(rank, failure.exitcode, restarts.done)
        sys.exit(agent.HANGS if agent.HANGS in [one.exitcode for one in error.failures.values()] else 1)
    except SignalException as error:
        print(f'stopped by {signal.Signals(error.sigval).name}', file=sys.stderr)
        sys.exit(128 + error.sigval)
    except (DistNetworkError, DistStoreError) as error:
        sys.exit(agent.words_for_store(f'{args.master_addr}:{args.master_port}', nodes, str(error)))


def main() -> None:
    from torch.distributed import run
    from torch.distributed.elastic import metrics

    logging.getLogger('torch.distributed.elastic').setLevel(logging.CRITICAL)
    args = run.parse_args(None)
    signals = Signals()
    signals.keep()
    metrics.configure(signals)
    if hasattr(args, 'signals_to_handle'):  # newer versions of torch ask which signals are theirs
        args.signals_to_handle = 'SIGQUIT'
    os.environ['SELFSUP_LAUNCHER'] = str(os.getpid())  # whom the ranks outlive by no more than a few seconds
    with tempfile.TemporaryDirectory(prefix='selfsup_') as folder:
        status_file = Path(folder) / 'status'
        os.environ['SELFSUP_STATUS_FILE'] = str(status_file)
        try:
            launch(args)
        except SystemExit:
            leave_in_order(status_file, signals)
            raise
        leave_in_order(status_file, signals)


if __name__ == '__main__':
    main()
