"""How long a run may take: of the command line, or of the Slurm job it runs in."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from ...cluster.slurm import end_of_job, seconds_of
from ...cluster.tree import begun
from ...errors import ConfigError, UsageError

SPARE_S = 10.0
LEAST_S = 10  # of `--time_limit`: with less nothing could be trained, at any start


class TimeLimit:
    """When a training must stop, so that its checkpoint is written before its time is over.

    Args:
        end: when the time is over (`time.time()`).
        reason: in words.
    """

    def __init__(self, end: float, reason: str) -> None:
        self.end, self.reason = end, reason
        self._slowest, self._saving = 0.0, 0.0
        self._last: float | None = None

    def margin(self) -> float:
        """Seconds kept for the way to the next safe point and for the checkpoint."""
        return SPARE_S + 2 * self._slowest + 2 * self._saving

    def is_near(self) -> bool:
        """Asked at every safe point: whether to stop here."""
        return time.time() + self.margin() > self.end

    def window(self, seconds: float) -> None:
        """An accumulation window took that long."""
        self._slowest = max(self._slowest, seconds)

    def saved(self, seconds: float) -> None:
        """The last checkpoint took that long."""
        self._saving = seconds


def time_limit(asked: str | None, env: Mapping[str, str]) -> TimeLimit | None:
    """The limit of this run, on the rank that decides; None where there is none.

    Args:
        asked: `--time_limit`, in one of Slurm's forms; it counts from the start of the launcher, or else of this process.
        env: the environment; where it is that of a Slurm job, the end of the job is a limit too.

    Raises:
        UsageError: `asked` is no time, or too short to train anything.
    """
    limits = []
    if asked is not None:
        try:
            seconds = seconds_of(asked)
        except ConfigError as error:
            raise UsageError(f'--time_limit: {error}') from None
        if seconds <= LEAST_S:
            raise UsageError(
                f'--time_limit {asked} is over before anything is trained: {SPARE_S:g} s are kept for the checkpoint.'
            )
        limits.append(TimeLimit(started(env) + seconds, f'--time_limit {asked}'))
    end = end_of_job(env)
    if end is not None:
        limits.append(TimeLimit(end, "the end of the Slurm job's time"))
    return min(limits, key=lambda limit: limit.end, default=None)


def started(env: Mapping[str, str]) -> float:
    """When the launcher, or without one this process, began (`time.time()`): processes that it starts again get no more time."""
    for pid in (env.get('SELFSUP_LAUNCHER'), os.getpid()):
        try:
            ticks = begun(int(pid or 0))
            since_boot = float(Path('/proc/uptime').read_text().split()[0])
        except (OSError, ValueError):
            continue
        if ticks:
            return time.time() - (since_boot - ticks / os.sysconf('SC_CLK_TCK'))
    return time.time()
