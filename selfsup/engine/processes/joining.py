"""How a process finds the others: the store of the group, and whether all ranks have come to it. Whoever waits says for whom."""

from __future__ import annotations

import datetime
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch.distributed as torch_dist

from ...cluster.meeting import Patience, await_listener, await_members, claim, open_store, unreachable
from ...cluster.tree import own_identity
from ...datasets.loaders.workers import allow_open_files
from ...errors import ConfigError
from ...heartbeat import Heart
from .signs import Sign
from .watch import VERDICT, Watch, sign_key

BUSY_S = 10.0  # for a port that the process before this one still holds
FOR_GOOD = datetime.timedelta(days=365)  # who waits for a slow process waits; who hangs is found by the watch


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
    def keeper(self) -> str:
        """Who keeps the store, for a message."""
        return 'the launcher of the first machine' if self.kept_by_launcher else 'rank 0'

    @property
    def endpoint(self) -> str:
        """For a message."""
        return f'{self.address}:{self.port}'


def meet(place: Place, timeout_s: float) -> tuple[Any, Watch | None]:
    """Open the store of the group and wait until all ranks have come.

    Args:
        place: where.
        timeout_s: how long in all, in seconds; what is waited for is said earlier, see `Patience`.

    Returns:
        the store, for the process group; the watch, which is not started yet, where there are several processes.

    Raises:
        ConfigError: the port is taken, nobody answers, ranks are missing, or a rank is there twice.
    """
    # one process of each machine is enough to tell it
    quiet = os.environ.get('LOCAL_RANK', '0') != '0'
    patience = Patience(f'[rank {place.rank}]', timeout_s, f'dist_params.timeout_s={timeout_s:g}', quiet)
    server = None if place.kept_by_launcher or place.rank else _serve(place, timeout_s)
    if server is None:
        await_listener(patience, place.address, place.port, place.keeper)
    store = _under(place, server or _connect(place, timeout_s))
    sign = Sign(place.rank, socket.gethostname(), own_identity())
    try:
        _claim(place, store, sign)
        store.set(sign_key(place.rank), sign.pack())
        if place.rank == 0:
            store.set(VERDICT, '')
        await_members(patience, store, 'rank', place.world_size, place.endpoint)
    except (torch_dist.DistNetworkError, torch_dist.DistStoreError):
        raise ConfigError(
            f'{place.keeper} at {place.endpoint} ended while this process waited for the others.'
        ) from None
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
    """A connection of its own to the store."""
    address = place.address if place.rank or place.kept_by_launcher else '127.0.0.1'
    problem = unreachable(address, place.port)  # torch would say it in many lines
    if problem:
        raise ConfigError(f'{place.endpoint} cannot be reached: {problem}.')
    return open_store(address, place.port, place.keeper, timeout_s)


def _claim(place: Place, store: Any, sign: Sign) -> None:
    """Be the one process with this rank."""
    holder = Sign.unpack(claim(store, 'rank', place.rank, sign.pack().decode()).encode())
    if holder != sign:
        raise ConfigError(
            f'Two processes say that they are rank {place.rank}: {holder.name} and process {sign.identity.pid} on {sign.host}. '
            'Every machine needs a NODE_RANK of its own, from 0 to NNODES - 1.'
        )


def _seconds(number: float) -> datetime.timedelta:
    return datetime.timedelta(seconds=number)
