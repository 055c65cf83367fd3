"""Shared memory for batches: loader workers hand them over in /dev/shm, which a container often limits to 64 MB."""

from __future__ import annotations

import os
from typing import Any

from torch import Tensor

from ...errors import SHARED_MEMORY, SHARED_MEMORY_REMEDY, DataError


def free_bytes() -> int | None:
    """Free shared memory of this machine, in bytes; None where there is no /dev/shm."""
    try:
        memory = os.statvfs(SHARED_MEMORY)
    except OSError:
        return None
    return memory.f_bavail * memory.f_frsize


def tensor_bytes(value: Any) -> int:
    """Bytes of the tensors in a sample: a tensor, or dicts, lists and tuples of them."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        value = list(value.values())
    return sum(map(tensor_bytes, value)) if isinstance(value, list | tuple) else 0


def check_room(needed: int, loader: Any, processes: int = 1, free: int | None = None) -> None:
    """Compare what the loader workers will keep in shared memory with what is free.

    Args:
        needed: bytes, of all `processes` together.
        loader: `DeviceLoader`, for the message.
        processes: that share the memory.
        free: bytes; None asks the system.

    Raises:
        DataError: it is not enough: sooner or later a worker would end with a bus error.
    """
    free = free_bytes() if free is None else free
    if free is None or needed <= free:
        return
    raise DataError(
        f'{SHARED_MEMORY} has {_mb(free)} free, but the loader workers need up to {_mb(needed)}: {loader.describe_sharing()}'
        f'{f", in {processes} processes" if processes > 1 else ""}. {SHARED_MEMORY_REMEDY}.'
    )


def _mb(count: float) -> str:
    return f'{count / 2**20:,.1f} MB' if count < 100 * 2**20 else f'{count / 2**20:,.0f} MB'
