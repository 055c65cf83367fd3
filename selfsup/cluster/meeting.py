"""Who waits for other machines or processes says for whom, and what to set. Nothing heavy is imported, as launchers wait too."""

from __future__ import annotations

import datetime
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ConfigError, listed

EXPLAIN_S = 20.0  # of waiting, before it says for whom
ANSWER_S = 5.0  # for a machine to answer at all
STRANGER_S = 20.0  # for what listens at a port to show that it is a store
HOW_TO = 'Start what is missing with the same MASTER_ADDR and PORT, and with a number of its own'


class Patience:
    """Waits for what others do. After `EXPLAIN_S` seconds it tells once, on stderr, what is still missing.

    Args:
        name: who waits, for the message.
        timeout_s: how long in all, in seconds; for several questions together.
        setting: what sets that time, for the message.
        quiet: another one tells it.
    """

    def __init__(self, name: str, timeout_s: float, setting: str, quiet: bool = False) -> None:
        self.name, self.timeout_s, self.setting, self._told = name, timeout_s, setting, quiet
        self.begun = time.monotonic()

    def wait(self, missing: Callable[[], str | None], words: Callable[[str], str]) -> None:
        """Ask until nothing is `missing`; `words` make a message of it, a sentence without its full stop.

        Raises:
            ConfigError: something is when the time is over.
        """
        pause = 0.05
        while (what := missing()) is not None:
            waited = time.monotonic() - self.begun
            if waited >= self.timeout_s:
                raise ConfigError(f'After {self.timeout_s:g} s {words(what)}.')
            if not self._told and waited >= EXPLAIN_S:
                self._told = True
                print(
                    f'{self.name} after {waited:.0f} s {words(what)}. It goes on waiting for {self.timeout_s - waited:.0f} s '
                    f'({self.setting}).',
                    file=sys.stderr,
                    flush=True,
                )
            time.sleep(min(pause, max(self.timeout_s - waited, 0.01)))
            pause = min(2 * pause, 1.0)


def unreachable(address: str, port: int) -> str | None:
    """Why nobody can be reached there; None: somebody can."""
    try:
        socket.create_connection((address, port), ANSWER_S).close()
    except socket.gaierror as error:
        return f'the name {address!r} does not resolve here ({error.strerror})'
    except ConnectionRefusedError:
        return 'the connection is refused, so nobody listens at this port'
    except TimeoutError:
        return 'the machine does not answer (a wrong address, a firewall, or another network)'
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None


def await_listener(patience: Patience, address: str, port: int, keeper: str) -> None:
    """Wait until `keeper` listens at the address.

    Raises:
        ConfigError: see `Patience.wait`.
    """
    patience.wait(
        lambda: unreachable(address, port),
        lambda why: (
            f'{keeper} cannot be reached at {address}:{port}: {why}. MASTER_ADDR must be the first machine (NODE_RANK=0), PORT '
            'the same on all, and the first machine must have been started'
        ),
    )


def open_store(address: str, port: int, keeper: str, timeout_s: float) -> Any:
    """A connection to the store that `keeper` keeps there.

    Args:
        address, port: where somebody listens.
        keeper: for a message.
        timeout_s: of what is asked of the store later, in seconds.

    Raises:
        ConfigError: what listens there is something else.
    """
    from torch.distributed import TCPStore  # here: `unreachable` and `Patience` do without torch

    opened: list[Any] = []
    errors: list[str] = []

    def run() -> None:
        try:
            limit = datetime.timedelta(seconds=timeout_s)
            opened.append(TCPStore(address, port, None, False, limit, wait_for_workers=False))
        except RuntimeError as error:  # torch's own errors are of this class
            errors.append(str(error).splitlines()[0])

    # torch waits for the first word of a stranger as long as he is silent
    thread = threading.Thread(target=run, name='open the store', daemon=True)
    thread.start()
    thread.join(STRANGER_S)
    if not opened:
        raise ConfigError(
            f'What listens at {address}:{port} is not {keeper} ({errors[0] if errors else "it does not answer"}). Set PORT to a port '
            'that is free there, the same for all.'
        )
    return opened[0]


def claim(store: Any, group: str, number: int, holder: str) -> str:
    """Be the one member with this number; gives back who is, `holder` itself where nobody was before.

    Args:
        store: of torch, which all members share.
        group: what the members are: 'rank', 'NODE_RANK'.
        number: of this member, from 0.
        holder: who it is, for others.
    """
    return store.compare_set(f'claim/{group}/{number}', '', holder).decode()


def await_members(
    patience: Patience,
    store: Any,
    group: str,
    count: int,
    where: str,
    over: Callable[[], bool] = lambda: False,
) -> None:
    """Wait until all `count` members have claimed their numbers, or it is `over` anyhow.

    Raises:
        ConfigError: see `Patience.wait`.
    """

    def absent() -> str | None:
        numbers = [] if over() else [n for n in range(count) if not store.check([f'claim/{group}/{n}'])]
        return _members(group, numbers) if numbers else None

    patience.wait(
        absent, lambda who: f'{who} of {count} did not come to {where}. {HOW_TO}: {group} is 0 to {count - 1}'
    )


def _members(group: str, numbers: Sequence[int]) -> str:
    return f'{group} {listed(numbers)}'
