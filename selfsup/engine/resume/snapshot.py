"""The state of a run as it was at one moment: a copy in host memory that is used again and again."""

from __future__ import annotations

import copy
import mmap
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_OWN_PAGES = 1 << 20  # bytes from which on a tensor gets pages of its own
_PLAIN = (str, bytes, int, float, complex, bool, type(None))


class Destination(OrderedDict[str, Tensor]):
    """What `state_dict(destination=...)` fills. A part that puts its tensor together, as a sharded table does, asks it for the place.

    Args:
        room: (name, shape, dtype) -> a tensor on the CPU to be filled.
    """

    def __init__(self, room: Callable[[str, tuple[int, ...], torch.dtype], Tensor]) -> None:
        super().__init__()
        self.room = room


class Snapshot:
    """Memory for one checkpoint. `begin`, then `copy` what is to be kept, then `finish`.

    Loader workers that are forked later do not inherit the memory: otherwise the next copy would have to take every page anew, and the
    old pages would stay as long as the worker lives.

    Args:
        pinned: page-locked, so that a GPU copies at full speed.
    """

    def __init__(self, pinned: bool = False) -> None:
        self._pinned = pinned
        self._free: dict[tuple[torch.dtype, int], list[Tensor]] = {}
        self._used: list[Tensor] = []
        self._storages: set[int] = set()  # addresses of what is ours
        self._copies: dict[tuple, Tensor] = {}
        self._containers: dict[int, Any] = {}
        self._originals: list[Any] = []  # alive until `finish`, so that no address is given out twice
        self._devices: set[torch.device] = set()

    def begin(self) -> None:
        """Forget what was copied last; its memory is free."""
        for buffer in self._used:
            self._free.setdefault((buffer.dtype, buffer.numel()), []).append(buffer)
        self._used, self._storages = [], set()

    def adopt(self, tensor: Tensor) -> None:
        """Take `tensor` as a copy: nobody changes it before the next `begin`."""
        self._storages.add(tensor.untyped_storage().data_ptr())

    def copy(self, value: Any) -> Any:
        """A deep copy: containers of the same types, tensors on the CPU, in the same memory format. What is the same object twice is so in
        the copy; what was copied already stays as it is. Tensors of a GPU are complete after `finish`.
        """
        if isinstance(value, _PLAIN):
            return value
        if isinstance(value, Tensor):
            return self._tensor(value)
        if id(value) not in self._containers:
            self._originals.append(value)
            self._containers[id(value)] = self._container(value)
        return self._containers[id(value)]

    def finish(self) -> None:
        """Wait for the copies; memory that nothing needed is given back."""
        for device in self._devices:
            torch.cuda.current_stream(device).synchronize()
        self._free, self._copies, self._containers, self._originals, self._devices = {}, {}, {}, [], set()

    def wait_for_device(self) -> None:
        """Wait for the copies so far: somebody is about to look at them."""
        for device in self._devices:
            torch.cuda.current_stream(device).synchronize()

    def _container(self, value: Any) -> Any:
        if isinstance(value, dict):
            mapping = copy.copy(value)  # of its type, with its attributes
            self._containers[id(value)] = mapping  # it may hold itself
            for key, part in value.items():
                mapping[key] = self.copy(part)
            return mapping
        if isinstance(value, list):
            members = copy.copy(value)
            self._containers[id(value)] = members
            members[:] = [self.copy(part) for part in value]
            return members
        if type(value) is tuple:
            return tuple(self.copy(part) for part in value)
        return copy.deepcopy(value)

    @torch.no_grad()
    def _tensor(self, value: Tensor) -> Tensor:
        plain = type(value) in (Tensor, torch.nn.Parameter) and value.layout is torch.strided and not value.is_quantized
        if not plain or value.is_meta:
            return copy.deepcopy(value.detach())
        if value.numel() == 0:
            return value.detach().cpu().clone()
        if value.device.type == 'cpu' and value.untyped_storage().data_ptr() in self._storages:
            return value
        place = value.data_ptr(), value.device, value.dtype, value.shape, value.stride()
        if place not in self._copies:
            self._originals.append(value)
            self._copies[place] = target = self._room(value)
            target.copy_(value, non_blocking=value.device.type == 'cuda')
            if value.device.type == 'cuda':
                self._devices.add(value.device)
        return self._copies[place]

    def _room(self, like: Tensor) -> Tensor:
        free = self._free.get((like.dtype, like.numel()))
        flat = free.pop() if free else buffer_of(like.numel(), like.dtype, self._pinned and like.is_cuda)
        self._used.append(flat)
        self._storages.add(flat.untyped_storage().data_ptr())
        if like.is_contiguous():
            return flat.view(like.shape)
        return flat.as_strided(like.shape, torch.empty_like(like, device='meta').stride())  # channels last, say


def buffer_of(count: int, dtype: torch.dtype, pinned: bool = False) -> Tensor:
    """(count,) numbers in host memory, not set.

    Args:
        pinned: page-locked where the machine allows that.
    """
    if pinned:
        try:
            return torch.empty(count, dtype=dtype, pin_memory=True)
        except RuntimeError:  # no more memory can be locked: slower, and just as good
            pass
    size = count * dtype.itemsize
    if size < _OWN_PAGES or not hasattr(mmap, 'MADV_DONTFORK'):
        return torch.empty(count, dtype=dtype)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    pages.madvise(mmap.MADV_DONTFORK)
    return torch.frombuffer(pages, dtype=dtype, count=count)
