"""What this machine gives a process: processor cores and memory, as its affinity and its control groups limit them. A leaf."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path('/sys/fs/cgroup')


def cores() -> int:
    """Processor cores that this process may use, at least 1: those of its affinity mask, or fewer where a control group allows less."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    quotas = [allowed, *(quota for group in _groups('cpu') if (quota := _quota(group)) is not None)]
    return max(1, int(min(quotas) + 0.5))


def free_memory() -> int | None:
    """Bytes of memory that can still be taken, by the system and by the control groups of this process; None where neither tells."""
    free = [value for group in _groups('memory') if (value := _left_in(group)) is not None]
    try:
        lines = Path('/proc/meminfo').read_text().splitlines()
        free += [int(line.split()[1]) * 1024 for line in lines if line.startswith('MemAvailable:')]
    except (OSError, ValueError, IndexError):
        pass
    return min(free, default=None)


def _groups(controller: str) -> Iterator[Path]:
    """Folders of the control groups that hold this process, from its own up to the root: of version 2, or of a controller of version 1."""
    try:
        lines = Path('/proc/self/cgroup').read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(':')
        controllers, _, path = rest.partition(':')
        if number == '0' or controller in controllers.split(','):
            top = GROUPS if number == '0' else GROUPS / controller
            own = top / path.lstrip('/')
            yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(top))


def _quota(group: Path) -> float | None:
    """Cores' worth of time that a group may use; None without a limit."""
    whole = _numbers(group / 'cpu.max') or _numbers(group / 'cpu.cfs_quota_us') + _numbers(group / 'cpu.cfs_period_us')
    return whole[0] / whole[1] if len(whole) == 2 and whole[0] > 0 and whole[1] > 0 else None


def _left_in(group: Path) -> int | None:
    """Bytes below the limit of a group; the cache of files counts as free, as the kernel drops it. None without a limit."""
    for limit, used, cache in (
        ('memory.max', 'memory.current', 'inactive_file'),
        ('memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_inactive_file'),
    ):
        most, now = _numbers(group / limit), _numbers(group / used)
        if most and now and most[0] < 1 << 60:
            return max(0, most[0] - now[0] + _entry(group / 'memory.stat', cache))
    return None


def _numbers(path: Path) -> list[int]:
    """The whole numbers in a file; none where it is missing or says 'max'."""
    try:
        return [int(word) for word in path.read_text().split()]
    except (OSError, ValueError):
        return []


def _entry(path: Path, name: str) -> int:
    try:
        words = (line.split() for line in path.read_text().splitlines())
        return next((int(word[1]) for word in words if word[0] == name), 0)
    except (OSError, ValueError, IndexError):
        return 0
