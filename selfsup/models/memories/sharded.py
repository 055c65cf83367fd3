"""A table whose rows are dealt out over the processes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from ... import distributed
from ...contracts import GivesRoom

CHUNK = 8192  # rows that travel at once to all processes: 8 MB of 256 numbers
GATHERED = (
    1 << 20
)  # bytes of all processes that arrive at process 0 at once; gloo takes up to 15 times as much on the way


class ShardedRows(nn.Module):
    """Rows (N, D) of which process r keeps r, r + world_size, ..., on the device of the model.

    Together the processes hold one copy. The rows are no registered buffer, because what broadcasts buffers (DDP when it wraps a
    model, evaluation before it runs) would overwrite all shares with the first one. The state dict holds the whole table under
    `rows`, so a checkpoint fits any number of processes: `state_dict()` must be called by all of them, and gives the table to
    process 0, in host memory, and an empty tensor of the same shape (device 'meta') to the others. Loading takes the own share.

    Args:
        length: number of rows N.
        dim: numbers per row D.
    """

    def __init__(self, length: int, dim: int) -> None:
        super().__init__()
        self.length, self.dim = length, dim
        self.rank, self.world = distributed.rank(), distributed.world_size()
        each = -(-length // self.world)  # the same on all processes; the last of a process may stay unused
        self.count = len(range(self.rank, length, self.world))
        self.shard = torch.zeros(each + 1, dim)  # one more, to which writes go that are not for this process

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ShardedRows:
        """What `to`, `cuda` and `double` call for each tensor of a module."""
        super()._apply(fn, recurse)
        self.shard = fn(self.shard)
        return self

    @property
    def local(self) -> Tensor:
        """(count, D): rows `rank::world` of the table."""
        return self.shard[: self.count]

    def take(self, index: Tensor) -> Tensor:
        """Rows (n, D) by number, on every process. A collective.

        Args:
            index: (n,) int64, the same on all processes.
        """
        rows = self.shard[index // self.world]
        return distributed.sum(torch.where((index % self.world == self.rank)[:, None], rows, torch.zeros_like(rows)))

    def own(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Which of `index` (n,) are rows of this process, (n,) bool, and those rows, (m, D)."""
        mine = index % self.world == self.rank
        return mine, self.shard[index[mine] // self.world]

    def put(self, index: Tensor, values: Tensor) -> None:
        """Write rows (n, D). Each process writes its own; equal numbers must come with equal values.

        Args:
            index: (n,) int64, the same on all processes.
            values: (n, D), the same on all processes.
        """
        mine = index % self.world == self.rank
        self.shard[torch.where(mine, index // self.world, len(self.shard) - 1)] = values.to(self.shard.dtype)

    def fill(self, table: Tensor | None) -> None:
        """Take the whole table from process 0. A collective.

        Args:
            table: (N, D), anywhere; on processes other than 0 it is not read and may be None.
        """
        for start in range(0, self.length, CHUNK):
            size = min(CHUNK, self.length - start)
            rows = torch.empty(size, self.dim, dtype=self.shard.dtype, device=self.shard.device)
            if table is not None and self.rank == 0:
                rows.copy_(table[start : start + size])
            self.put(torch.arange(start, start + size, device=rows.device), distributed.broadcast(rows))

    def whole(self, room: Callable[[tuple[int, ...], torch.dtype], Tensor] | None = None) -> Tensor:
        """(N, D): on process 0 in host memory (the shard itself where one process has all), elsewhere on 'meta'. A collective.

        Args:
            room: gives process 0 the memory for the whole table, which is then never there twice; None: memory of its own.
        """
        shape = (self.length, self.dim)
        if self.rank != 0:
            table = torch.empty(shape, dtype=self.shard.dtype, device='meta')
        elif room is not None:
            table = room(shape, self.shard.dtype)
        elif self.world == 1:
            return self.local
        else:
            table = torch.empty(shape, dtype=self.shard.dtype)
        rows = max(1, GATHERED // (self.world * self.dim * self.shard.element_size()))
        each = len(self.shard) - 1
        for start in range(0, each, rows):
            parts = distributed.gather_to_main(self.shard[start : min(start + rows, each)])
            for rank, part in enumerate(parts):
                target = table[rank + start * self.world :: self.world][: len(part)]
                target.copy_(part[: len(target)])
        return table

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        key = prefix + 'rows'
        room = partial(destination.room, key) if isinstance(destination, GivesRoom) else None
        destination[key] = self.whole(room)

    def _load_from_state_dict(
        self,
        state_dict: dict,
        prefix: str,
        local_metadata: dict,
        strict: bool,
        missing_keys: list,
        unexpected_keys: list,
        error_msgs: list,
    ) -> None:
        key = prefix + 'rows'
        rows = state_dict.get(key)
        if rows is None:
            missing_keys.append(key)
        elif rows.shape != (self.length, self.dim):
            error_msgs.append(
                f'size mismatch for {key}: {tuple(rows.shape)} in the file, {(self.length, self.dim)} in the model.'
            )
        else:
            self.local.copy_(rows[self.rank :: self.world])
