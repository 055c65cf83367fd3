"""What one process of a run asks for, known to all of them at one and the same place."""

from __future__ import annotations

from collections import deque
from typing import cast

import torch
import torch.distributed as torch_dist

from ... import distributed as dist
from ...heartbeat import awaiting
from .joining import FOR_GOOD

# What may be asked for; a vote is the bitwise OR of what the ranks ask.
STOP = 1  # a signal came, or the time is nearly over
SAVE = 2  # a checkpoint is due by the clock, which ranks do not read alike
FAILED = 4  # rank 0 could not write a checkpoint in the background


class Agreement:
    """Votes at safe points, which all ranks pass in the same order and number.

    A vote is one asynchronous all-reduce of a number, on a group of its own (gloo, in host memory: no GPU waits for it). It starts at a
    safe point and is read at the next, when it has long arrived; so what is asked for happens one safe point later. One process knows at
    once, without a collective. A vote whose process is gone fails as every collective does.
    """

    def __init__(self) -> None:
        self._asked: deque[int] = deque()  # appended to by other threads
        self._group: torch_dist.ProcessGroup | None = None
        self._ballot = torch.zeros((), dtype=torch.int32)
        self._vote: torch_dist.Work | None = None
        if dist.world_size() > 1:
            group = torch_dist.new_group(backend='gloo', timeout=FOR_GOOD)
            self._group = cast(torch_dist.ProcessGroup, group)

    def ask(self, bits: int) -> None:
        """Ask for something at the next safe point. Any thread may call, and any rank alone."""
        self._asked.append(bits)

    def at_safe_point(self) -> int:
        """Hand in what this rank asks for; returns what was asked for by any rank before the last safe point."""
        asked = 0
        while self._asked:
            asked |= self._asked.popleft()
        if self._group is None:
            return asked
        agreed = self._read()
        self._ballot = torch.tensor(asked, dtype=torch.int32)
        self._vote = torch_dist.all_reduce(self._ballot, torch_dist.ReduceOp.BOR, group=self._group, async_op=True)
        return agreed

    def now(self) -> int:
        """Like `at_safe_point`, but waits: returns what was asked for by any rank until here."""
        return self.at_safe_point() | self._read()

    def close(self) -> None:
        """At a place that all ranks reach: wait for the last vote and leave the group."""
        if self._group is not None:
            self._read()
            torch_dist.destroy_process_group(self._group)
            self._group = None

    def _read(self) -> int:
        """The result of the vote that goes on, 0 where there is none."""
        if self._vote is None:
            return 0
        with awaiting():
            self._vote.wait()
        self._vote = None
        return int(self._ballot)
