"""Processes of this machine as /proc shows them: who they are, whose children, how much processor time they used. Linux alone has it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path('/proc')
_PARENT, _TIMES, _BEGUN = 1, slice(11, 13), 19  # fields of /proc/PID/stat after the name


@dataclass(frozen=True)
class Identity:
    """One process, for others to find again: numbers of processes are used anew.

    Attributes:
        machine: the start of the machine and the space of process numbers; '' where /proc does not say.
        pid: its number there.
        begun: when it was started, in ticks since the machine was.
    """

    machine: str
    pid: int
    begun: int


def own_identity() -> Identity:
    """The identity of this process."""
    try:
        machine = f'{(PROC / "sys/kernel/random/boot_id").read_text().strip()}/{os.readlink(PROC / "self/ns/pid")}'
    except OSError:
        machine = ''
    return Identity(machine, os.getpid(), begun(os.getpid()))


def is_here(one: Identity) -> bool:
    """True where that very process exists on this machine."""
    return bool(one.machine) and own_identity().machine == one.machine and 0 < one.begun == begun(one.pid)


def children(pid: int) -> list[int]:
    """Process ids of the children of a process."""
    try:
        tasks = list((PROC / str(pid) / 'task').iterdir())
    except OSError:
        return []
    found: list[int] = []
    for task in tasks:
        try:
            found += map(int, (task / 'children').read_text().split())
        except FileNotFoundError:  # the thread has ended, or the kernel was built without this list
            continue
        except OSError:
            continue
    return found or _children_by_parent(pid)


def descendants(pid: int) -> list[int]:
    """Process ids of the children of a process and of all below them; children come before theirs."""
    below: list[int] = []
    for child in children(pid):
        below += [child, *descendants(child)]
    return below


def processor_seconds(pids: Iterable[int]) -> float:
    """User and system time of processes, in seconds; those that are gone count as 0."""
    ticks = sum(int(number) for pid in pids for number in (_stat(pid)[_TIMES] or ()))
    return ticks / os.sysconf('SC_CLK_TCK')


def kill(pids: Iterable[int]) -> None:
    """SIGKILL; whoever is gone already stays so."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def kill_below(pid: int) -> None:
    """SIGKILL to all processes below one, such as the loader workers of a rank."""
    kill(reversed(descendants(pid)))


def has_ended(pid: int) -> bool:
    """True for a process that is gone or has ended, whether or not somebody has asked for its status."""
    return _stat(pid)[:1] in ([], ['Z'])


def begun(pid: int) -> int:
    """When a process was started, in ticks since the machine was; 0 where it is gone."""
    fields = _stat(pid)
    return int(fields[_BEGUN]) if fields else 0


def is_running(pid: int) -> bool:
    """True for a process that exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _children_by_parent(pid: int) -> list[int]:
    """The slow way, where no file lists them."""
    if (PROC / 'self' / 'task' / str(os.getpid()) / 'children').exists():
        return []
    return [
        int(entry) for entry in os.listdir(PROC) if entry.isdecimal() and _stat(int(entry))[_PARENT:2] == [str(pid)]
    ]


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; nothing for a process that is gone."""
    try:
        return (PROC / str(pid) / 'stat').read_text().rpartition(')')[2].split()
    except OSError:
        return []
