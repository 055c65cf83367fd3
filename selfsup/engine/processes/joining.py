"""How a process finds the others: the store of the group, and whether all ranks have come to it. Whoever waits says for whom."""

from __future__ import annotations

import datetime
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch.distributed as torch_dist

from ...datasets.loaders.workers import allow_open_files
from ...errors import ConfigError, listed
from ...heartbeat import Heart
from .signs import Sign
from .tree import own_identity
from .watch import VERDICT, Watch, sign_key

EXPLAIN_S = 20.0  # of waiting, before it says for whom
ANSWER_S = 5.0  # for a machine to answer at all
BUSY_S = 10.0  # for a port that the process before this one still holds
FOR_GOOD = datetime.timedelta(days=365)  # who waits for a slow process waits; who hangs is found by the watch
_HOW_TO = (
    'Start it with the same MASTER_ADDR, PORT and number of processes, and with a number of its own (NODE_RANK, RANK).'
)


@dataclass(frozen=True)
class Place:
    """Where the processes of a run meet, as the launcher's variables say.

    Attributes:
        rank: of this process.
        world_size: number of processes.
        address: of the machine that keeps the store.
        port: there.
        kept_by_launcher: torchrun's agent on the first machine keeps the store; else rank 0 does.
        attempt: how often the launcher has started these processes anew.
    """

    rank: int
    world_size: int
    address: str
    port: int
    kept_by_launcher: bool
    attempt: int

    @classmethod
    def of(cls, env: Mapping[str, str]) -> Place:
        """From variables that were checked."""
        return cls(
            int(env['RANK']),
            int(env['WORLD_SIZE']),
            env['MASTER_ADDR'],
            int(env['MASTER_PORT']),
            env.get('TORCHELASTIC_USE_AGENT_STORE') == 'True',
            int(env.get('TORCHELASTIC_RESTART_COUNT') or 0),
        )

    @property
    def endpoint(self) -> str:
        """For a message."""
        return f'{self.address}:{self.port}'


def meet(place: Place, timeout_s: float) -> tuple[Any, Watch | None]:
    """Open the store of the group and wait until all ranks have come.

    Args:
        place: where.
        timeout_s: how long in all, in seconds; what is waited for is said after `EXPLAIN_S`.

    Returns:
        the store, for the process group; the watch, which is not started yet, where there are several processes.

    Raises:
        ConfigError: the port is taken, nobody answers, ranks are missing, or a rank is there twice.
    """
    end = time.monotonic() + timeout_s
    server = None if place.kept_by_launcher or place.rank else _serve(place, timeout_s)
    if server is None:
        _await_listener(place, end, timeout_s)
    store = _under(place, server or _connect(place, timeout_s))
    sign = Sign(place.rank, socket.gethostname(), own_identity())
    _claim(place, store, sign)
    store.set(sign_key(place.rank), sign.pack())
    if place.rank == 0:
        store.set(VERDICT, '')
    _await_ranks(place, store, end, timeout_s)
    watch = None
    if place.world_size > 1:
        first = Sign.unpack(store.get(sign_key(0)))
        holder = f'the launcher at {place.endpoint}' if place.kept_by_launcher else first.name
        watch = Watch(
            lambda: _under(place, _connect(place, timeout_s)), Heart(), sign, place.world_size, timeout_s, holder
        )
    store.set_timeout(FOR_GOOD)
    return torch_dist.PrefixStore('group', store), watch


def _under(place: Place, store: Any) -> Any:
    return torch_dist.PrefixStore(f'selfsup/attempt_{place.attempt}', store)


def _serve(place: Place, timeout_s: float) -> Any:
    """The store, kept by this process. It listens at all addresses of the machine, so MASTER_ADDR need not be known to it."""
    allow_open_files()  # one for each process
    end = time.monotonic() + min(BUSY_S, timeout_s)
    while True:
        try:
            return torch_dist.TCPStore(
                '127.0.0.1', place.port, None, True, _seconds(timeout_s), wait_for_workers=False, multi_tenant=True
            )
        except (torch_dist.DistNetworkError, torch_dist.DistStoreError) as error:
            busy = 'EADDRINUSE' in str(error)
            if busy and time.monotonic() < end:
                time.sleep(1)
                continue
            why = 'another process uses this port' if busy else str(error).splitlines()[0]
            raise ConfigError(
                f'Rank 0 cannot listen at port {place.port}: {why}. Set PORT to a free port, the same for all machines.'
            ) from None


def _connect(place: Place, timeout_s: float) -> Any:
    if place.rank == 0 and not place.kept_by_launcher:
        place = Place(0, place.world_size, '127.0.0.1', place.port, False, place.attempt)
    problem = _problem(place.address, place.port)  # torch would say it in many lines
    if problem:
        raise ConfigError(f'{place.endpoint} cannot be reached: {problem}.')
    try:
        return torch_dist.TCPStore(place.address, place.port, None, False, _seconds(timeout_s), wait_for_workers=False)
    except RuntimeError as error:  # torch's own errors, and what a foreign server causes
        raise ConfigError(
            f'What answers at {place.endpoint} is not the first process of this run ({str(error).splitlines()[0]}). Set PORT '
            'to a free port of that machine, the same for all machines.'
        ) from None


def _problem(address: str, port: int) -> str | None:
    """Why nobody can be reached there; None: somebody can."""
    try:
        socket.create_connection((address, port), ANSWER_S).close()
    except socket.gaierror as error:
        return f'the name {address!r} does not resolve here ({error.strerror})'
    except ConnectionRefusedError:
        return f'the machine answers, but nobody listens at port {port}'
    except TimeoutError:
        return 'the machine does not answer (a wrong address, a firewall, or another network)'
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None


def _await_listener(place: Place, end: float, timeout_s: float) -> None:
    keeper = 'the launcher of the first machine' if place.kept_by_launcher else 'rank 0'
    _poll(
        lambda: _problem(place.address, place.port),
        lambda problem: (
            f'{keeper} cannot be reached at {place.endpoint}: {problem}. MASTER_ADDR must be the first machine (NODE_RANK=0) and '
            'PORT the same on all; it must have been started'
        ),
        place,
        end,
        timeout_s,
    )


def _claim(place: Place, store: Any, sign: Sign) -> None:
    """Be the one process with this rank."""
    key = f'claim/{place.rank}'
    holder = Sign.unpack(store.compare_set(key, '', sign.pack()))
    if holder != sign:
        raise ConfigError(
            f'Two processes say that they are rank {place.rank}: {holder.name} and process {sign.identity.pid} on {sign.host}. '
            'Every machine needs a NODE_RANK of its own, from 0 to NNODES - 1.'
        )


def _await_ranks(place: Place, store: Any, end: float, timeout_s: float) -> None:
    def missing() -> str | None:
        absent = [rank for rank in range(place.world_size) if not store.check([f'claim/{rank}'])]
        return f'{"rank" if len(absent) == 1 else "ranks"} {listed(absent)}' if absent else None

    _poll(
        missing,
        lambda absent: f'{absent} of {place.world_size} processes did not come to {place.endpoint}. {_HOW_TO}',
        place,
        end,
        timeout_s,
    )


def _poll(
    problem: Callable[[], str | None], words: Callable[[str], str], place: Place, end: float, timeout_s: float
) -> None:
    """Ask until there is no `problem`. After `EXPLAIN_S` seconds one process of each machine tells it, once.

    Raises:
        ConfigError: it is still there at `end`.
    """
    begun, told, pause = time.monotonic(), os.environ.get('LOCAL_RANK', '0') != '0', 0.05
    while (found := problem()) is not None:
        now = time.monotonic()
        if now >= end:
            raise ConfigError(f'After {timeout_s:g} s {words(found)}')
        if not told and now - begun >= EXPLAIN_S:
            told = True
            rest = f'This process waits for {end - now:.0f} s more (dist_params.timeout_s={timeout_s:g}).'
            print(
                f'[rank {place.rank}] after {now - begun:.0f} s {words(found).rstrip(".")}. {rest}',
                file=sys.stderr,
                flush=True,
            )
        time.sleep(min(pause, max(end - now, 0.01)))
        pause = min(2 * pause, 1.0)


def _seconds(number: float) -> datetime.timedelta:
    return datetime.timedelta(seconds=number)
