"""Collectives that are the identity on one process, so that no method asks how many there are.

All of them must be called by every rank. They use the default process group (gloo or NCCL).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
import torch.distributed as torch_dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .errors import SelfSupError
from .heartbeat import awaiting

T = TypeVar('T')


def is_active() -> bool:
    """True when a process group exists (it may have one member)."""
    return torch_dist.is_available() and torch_dist.is_initialized()


def rank() -> int:
    """Index of this process, 0 without a process group."""
    return torch_dist.get_rank() if is_active() else 0


def world_size() -> int:
    """Number of processes, 1 without a process group."""
    return torch_dist.get_world_size() if is_active() else 1


def is_main() -> bool:
    """True on the one process that writes files and prints."""
    return rank() == 0


class Wrapped(nn.Module):
    """Base of wrappers of our own around a model, `module`."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


def unwrap(model: nn.Module) -> nn.Module:
    """The algorithm inside a DistributedDataParallel wrapper or one of ours, or `model` itself."""
    return model.module if isinstance(model, DistributedDataParallel | Wrapped) else model


def is_dealt(x: Any) -> bool:
    """True for a `DTensor`: of which each process has a share, as under FSDP."""
    return isinstance(x, Tensor) and hasattr(x, 'placements')


def whole(x: Tensor) -> Tensor:
    """The whole of a tensor that is dealt out, on every process (a collective), or `x` itself."""
    return cast(Any, x).full_tensor() if is_dealt(x) else x


def local_share(x: Tensor) -> Tensor:
    """This process's share of a tensor that is dealt out, or `x` itself."""
    return cast(Any, x).to_local() if is_dealt(x) else x


def dealt_like(x: Tensor, like: Tensor) -> Tensor:
    """This process's share of `x`, which all processes hold, where `like` is dealt out; else `x` itself. No communication."""
    if not is_dealt(like) or is_dealt(x):
        return x
    from torch.distributed.tensor import distribute_tensor  # takes a moment to import

    pattern: Any = like
    return distribute_tensor(x.to(like.device), pattern.device_mesh, pattern.placements, src_data_rank=None)


def barrier() -> None:
    """Wait for all processes."""
    if world_size() > 1:
        with awaiting():
            torch_dist.barrier()


def _of_all_ranks(x: Tensor) -> Tensor:
    """(world_size * B, ...) of (B, ...): the rows of all ranks, in rank order."""
    parts = [torch.empty_like(x) for _ in range(world_size())]
    torch_dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


class _Gather(torch.autograd.Function):
    """Concatenate over ranks; the gradient of a rank's rows is the SUM of what all ranks ask of them.

    Under DDP (which averages parameter gradients) this gives exactly the gradient of the mean of the ranks' losses.
    Returning only the own rank's share, as several public implementations did, loses a factor of `world_size`.
    """

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.rows = x.shape[0]
        return _of_all_ranks(x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        grad = grad.contiguous()
        torch_dist.all_reduce(grad)
        return grad[rank() * ctx.rows : (rank() + 1) * ctx.rows]


def gather(x: Tensor) -> Tensor:
    """Rows of all ranks, in rank order, differentiable.

    Args:
        x: (B, ...), the same shape on every rank.

    Returns:
        (world_size * B, ...); `x` itself on one process. The backward pass sums the gradients of all ranks.
    """
    return _Gather.apply(x) if world_size() > 1 else x


class _Mean(torch.autograd.Function):
    """Mean over ranks; the gradient of a rank's part is the SUM of what all ranks ask of the mean, divided by their number."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return mean(x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return mean(grad)


def mean_with_gradient(x: Tensor) -> Tensor:
    """Mean over ranks, differentiable: `gather(x[None]).mean(0)`, with messages that do not grow with the number of ranks.

    Args:
        x: the same shape on every rank.
    """
    return _Mean.apply(x) if world_size() > 1 else x


@torch.no_grad()
def gather_no_grad(x: Tensor) -> Tensor:
    """Like `gather`, without a gradient."""
    return _of_all_ranks(x.detach()) if world_size() > 1 else x.detach()


@torch.no_grad()
def gather_to_main(x: Tensor) -> list[Tensor]:
    """The tensors of all ranks, in rank order, on rank 0; [] on the others. `x` itself on one process.

    Args:
        x: (B, ...), the same shape on every rank.
    """
    if world_size() == 1:
        return [x.detach()]
    parts = [torch.empty_like(x) for _ in range(world_size())] if is_main() else []
    torch_dist.gather(x.detach().contiguous(), parts or None)
    return parts


def local_rows(x: Tensor) -> Tensor:
    """This rank's share of a tensor whose first axis is (world_size * B): the inverse of `gather`."""
    return x.chunk(world_size())[rank()]


@torch.no_grad()
def broadcast(x: Tensor, source: int = 0) -> Tensor:
    """Overwrite `x` in place with rank `source`'s and return it."""
    if world_size() > 1:
        torch_dist.broadcast(x, source)
    return x


def broadcast_object(obj: T, source: int = 0) -> T:
    """Rank `source`'s picklable object on every rank."""
    if world_size() == 1:
        return obj
    box = [obj]
    with awaiting():
        torch_dist.broadcast_object_list(box, source)
    return box[0]


def on_main(act: Callable[[], T]) -> T:
    """Call `act` on rank 0 alone and give every rank its result or its error. Also a barrier.

    Raises:
        SelfSupError: what `act` raised.
    """
    result: T | None = None
    error: SelfSupError | None = None
    if is_main():
        try:
            result = act()
        except SelfSupError as problem:
            error = problem
    result, error = broadcast_object((result, error))
    if error is not None:
        raise error
    return cast(T, result)


def gather_objects(obj: T) -> list[T]:
    """Picklable objects of all ranks, in rank order, on every rank."""
    if world_size() == 1:
        return [obj]
    objects: list = [None] * world_size()
    with awaiting():
        torch_dist.all_gather_object(objects, obj)
    return objects


@torch.no_grad()
def mean(x: Tensor) -> Tensor:
    """Mean over ranks of a detached copy of `x`."""
    x = x.detach().clone()
    if world_size() > 1:
        torch_dist.all_reduce(x)
        x /= world_size()
    return x


@torch.no_grad()
def sum(x: Tensor) -> Tensor:
    """Sum over ranks of a detached copy of `x`."""
    x = x.detach().clone()
    if world_size() > 1:
        torch_dist.all_reduce(x)
    return x


@torch.no_grad()
def largest(x: Tensor) -> Tensor:
    """Largest over ranks, number by number, of a detached copy of `x`."""
    x = x.detach().clone()
    if world_size() > 1:
        torch_dist.all_reduce(x, torch_dist.ReduceOp.MAX)
    return x


@torch.no_grad()
def shuffle_across_ranks(x: Tensor) -> tuple[Tensor, Tensor]:
    """Deal the rows of all ranks out anew, by a permutation that rank 0 draws from torch's generator.

    With batch norms per process, two views of an image then meet different batch statistics (MoCo, arXiv 1911.05722, section 3.3).

    Args:
        x: (B, ...), the same shape on every rank.

    Returns:
        `shuffled`: (B, ...), this rank's new rows; `order`: (world_size * B,), for `unshuffle_across_ranks`.
        On one process they are `x` itself and 0 ... B - 1: a batch norm does not see the order of its batch.
    """
    if world_size() == 1:
        return x, torch.arange(len(x), device=x.device)
    order = broadcast(torch.randperm(len(x) * world_size()).to(x.device))
    return gather_no_grad(x)[local_rows(order)], order


@torch.no_grad()
def unshuffle_across_ranks(x: Tensor, order: Tensor) -> Tensor:
    """Bring what was computed from shuffled rows back to the ranks and places that the rows came from."""
    return x if world_size() == 1 else gather_no_grad(x)[local_rows(order.argsort())]
