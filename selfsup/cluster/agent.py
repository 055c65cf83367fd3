"""What torchrun's agent does without a word, told: which machine it waits for, and that it starts the processes anew."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable

from ..errors import ConfigError
from .meeting import ANSWER_S, Patience, await_listener, await_members, claim, open_store

JOIN_S = 600.0  # torchrun's own limit for machines that do not come
HANGS = 76  # exit status of ranks that end because the run hangs: `engine.processes.watch`
AGENT_LOGGER = 'torch.distributed.elastic.agent.server.api'
RANK_LOGGER = 'torch.distributed.elastic.multiprocessing.api'


def how_it_ended(code: int) -> str:
    """Words for the exit code of a process, as `subprocess` has it."""
    return f'was killed by {signal.Signals(-code).name}' if code < 0 else f'ended with exit status {code}'


class Restarts(logging.Handler):
    """Tells of each process that failed and is started anew with all others. The agent's log entry says which one it was.

    Args:
        most: how often all processes are started anew, at most.
        first_rank: rank of the first process of this machine.
    """

    def __init__(self, most: int, first_rank: int) -> None:
        super().__init__(logging.ERROR)
        self.most, self.first_rank, self.done = most, first_rank, 0
        logger = logging.getLogger(RANK_LOGGER)
        logger.setLevel(logging.ERROR)
        logger.propagate = False
        logger.addHandler(self)
        # it has a level of its own, and would tell of every signal
        logging.getLogger(AGENT_LOGGER).setLevel(logging.CRITICAL)

    def emit(self, record: logging.LogRecord) -> None:
        """One entry of the agent; only that of a failed process has these arguments."""
        args = record.args if isinstance(record.args, tuple) else ()
        numbers = [one for one in args[:3] if isinstance(one, int)]
        if len(numbers) == 3 and len(args) == 4 and self.done < self.most:
            self.done += 1
            code, local_rank, pid = numbers
            print(
                f'rank {self.first_rank + local_rank} (process {pid}) {how_it_ended(code)}: all processes are started anew '
                f'(restart {self.done} of {self.most}).',
                file=sys.stderr,
                flush=True,
            )


def tell_failure(rank: int, code: int, restarts: int) -> None:
    """Say why a run ends: the process that failed first, and that it had been started anew before."""
    tried = f' after {restarts} restart{"s" if restarts > 1 else ""}' if restarts else ''
    print(
        f'error: rank {rank} {how_it_ended(code)}{tried}, so all processes were stopped. Its own message is above.',
        file=sys.stderr,
    )


def words_for_store(endpoint: str, nodes: int, error: str) -> str:
    """Why the launchers could not meet, from torch's error."""
    if 'EADDRINUSE' in error:
        twice = ', or another launch there has NODE_RANK=0 too' if nodes > 1 else ''
        return f'error: {endpoint} is in use by another process{twice}. Set PORT to a free port.'
    where = ', and MASTER_ADDR to the first machine, which must have been started' if nodes > 1 else ''
    return f'error: {endpoint} cannot be used ({error.splitlines()[0]}). Set PORT to a free port{where}.'


def explain_waiting(address: str, port: int, node: int, nodes: int, started: Callable[[], bool]) -> None:
    """Watch over the launchers of several machines until this one has `started` its processes: say who is missing.

    torchrun waits for them without a word, in a call that nothing interrupts: so this is a thread, and a mistake that no waiting mends
    (two machines of one number) ends the launcher here.

    Args:
        address, port: of the first machine, as this one was told.
        node: number of this machine, from 0.
        nodes: how many there are.
        started: asked again and again.
    """

    def explain() -> None:
        try:
            _explain(address, port, node, nodes, started)
        except ConfigError as error:
            if not started():
                print(f'error: {error}', file=sys.stderr, flush=True)
                os._exit(1)

    threading.Thread(target=explain, name='explain what is waited for', daemon=True).start()


def _explain(address: str, port: int, node: int, nodes: int, started: Callable[[], bool]) -> None:
    from torch.distributed import DistNetworkError, DistStoreError, PrefixStore

    patience, keeper = Patience(f'[NODE_RANK {node}]', JOIN_S, "torchrun's limit"), 'the launcher of the first machine'
    await_listener(patience, address, port, keeper)
    try:
        store = PrefixStore('selfsup/launchers', open_store(address, port, keeper, ANSWER_S))
        me = f'process {os.getpid()} on {socket.gethostname()}'
        holder = claim(store, 'NODE_RANK', node, me)
        if holder != me:
            raise ConfigError(
                f'Two launchers say that they are NODE_RANK={node}: {holder} and {me}. Every machine needs a number of its own, from 0 '
                f'to {nodes - 1}.'
            )
        await_members(patience, store, 'NODE_RANK', nodes, f'{address}:{port}', over=started)
    except (DistNetworkError, DistStoreError):
        raise ConfigError(f'{keeper} at {address}:{port} ended while this one waited for the others.') from None
