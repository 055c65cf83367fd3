"""torchrun without its traceback: python tools/torchrun.py [arguments of torchrun]. Used by the dist_ scripts.

A process that fails says why in one line of its own; torchrun would put forty lines about itself below it. SIGUSR1 and SIGUSR2
(Slurm sends them before the time is over) go on to the processes where all of them handle it, else they stop all, as SIGTERM does.
Where this launcher is killed, its processes notice and end: `engine.processes.launch.leave_with_launcher`.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path

from selfsup.cluster import agent


def children() -> list[int]:
    """Process ids of the ranks: the direct children."""
    tasks = Path('/proc/self/task').glob('*/children')
    return [int(pid) for task in tasks for pid in task.read_text().split()]


def handles(pid: int, number: int) -> bool:
    """True where a process has a handler of its own for a signal (`SigCgt`, a bit mask, in /proc)."""
    try:
        lines = Path(f'/proc/{pid}/status').read_text().splitlines()
    except OSError:
        return False
    caught = next((int(line.split()[1], 16) for line in lines if line.startswith('SigCgt:')), 0)
    return bool(caught >> (number - 1) & 1)


def pass_on_or_stop(number: int, frame: object) -> None:
    """Handler of SIGUSR1 and SIGUSR2: untreated, they would end the launcher and leave the ranks behind."""
    from torch.distributed.elastic.multiprocessing.api import SignalException

    ranks = children()
    if ranks and all(handles(pid, number) for pid in ranks):
        for pid in ranks:
            os.kill(pid, number)
        return
    raise SignalException(f'Process {os.getpid()} got signal {number}', signal.Signals(number))


def main() -> None:
    from torch.distributed import DistNetworkError, DistStoreError, run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.getLogger('torch.distributed.elastic').setLevel(logging.CRITICAL)
    args = run.parse_args(None)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, pass_on_or_stop)
    os.environ['SELFSUP_LAUNCHER'] = str(os.getpid())  # whom the ranks outlive by no more than a few seconds
    nodes, each = (int(text) if text.isdecimal() else 1 for text in (args.nnodes, args.nproc_per_node))
    restarts = agent.Restarts(args.max_restarts, args.node_rank * each)
    if nodes > 1 and args.rdzv_backend == 'static':
        agent.explain_waiting(args.master_addr, args.master_port, args.node_rank, nodes, lambda: bool(children()))
    try:
        run.run(args)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        hangs = [one for one in error.failures.values() if one.exitcode == agent.HANGS]
        agent.tell_failure(rank, failure.exitcode, restarts.done)
        sys.exit(agent.HANGS if hangs else 1)
    except SignalException as error:
        print(f'stopped by {signal.Signals(error.sigval).name}', file=sys.stderr)
        sys.exit(128 + error.sigval)
    except (DistNetworkError, DistStoreError) as error:
        sys.exit(agent.words_for_store(f'{args.master_addr}:{args.master_port}', nodes, str(error)))


if __name__ == '__main__':
    main()
