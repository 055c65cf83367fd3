"""torchrun without its traceback: python tools/torchrun.py [arguments of torchrun]. Used by the dist_ scripts.

A process that fails says why in one line of its own; torchrun would put forty lines about itself below it. Signals that ask to stop go on
to the processes where all of them handle it, as a training does: they save and end, the launcher waits and ends with their exit status.
Else it stops all. Where this launcher is killed, its processes notice and end: `cluster.leaving`.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from selfsup.cluster import agent
from selfsup.cluster.signals import Signals, leave_in_order
from selfsup.cluster.tree import children


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
        agent.explain_waiting(
            args.master_addr, args.master_port, args.node_rank, nodes, lambda: bool(children(os.getpid()))
        )
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
