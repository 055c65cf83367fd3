"""Collectives that are the identity on one process, so that no method asks how many there are.

All of them must be called by every rank. They use the default process group (gloo or NCCL).
"""

from __future__ import annotations

import torch
import torch.distributed as torch_dist
from torch import Tensor


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


def barrier() -> None:
    """Wait for all processes."""
    if world_size() > 1:
        torch_dist.barrier()


class _Gather(torch.autograd.Function):
    """Concatenate over ranks; the gradient of a rank's rows is the SUM of what all ranks ask of them.

    Under DDP (which averages parameter gradients) this gives exactly the gradient of the mean of the ranks' losses.
    Returning only the own rank's share, as several public implementations did, loses a factor of `world_size`.
    """

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.rows = x.shape[0]
        parts = [torch.empty_like(x) for _ in range(world_size())]
        torch_dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        grad = grad.contiguous()
        torch_dist.all_reduce(grad)
        return grad[rank() * ctx.rows:(rank() + 1) * ctx.rows]


def gather(x: Tensor) -> Tensor:
    """Rows of all ranks, in rank order, differentiable.

    Args:
        x: (B, ...), the same shape on every rank.

    Returns:
        (world_size * B, ...); `x` itself on one process. The backward pass sums the gradients of all ranks.
    """
    return _Gather.apply(x) if world_size() > 1 else x


@torch.no_grad()
def gather_no_grad(x: Tensor) -> Tensor:
    """Like `gather`, without a gradient."""
    if world_size() == 1:
        return x.detach()
    parts = [torch.empty_like(x) for _ in range(world_size())]
    torch_dist.all_gather(parts, x.detach().contiguous())
    return torch.cat(parts)


def local_rows(x: Tensor) -> Tensor:
    """This rank's share of a tensor whose first axis is (world_size * B): the inverse of `gather`."""
    return x.chunk(world_size())[rank()]


@torch.no_grad()
def broadcast(x: Tensor, source: int = 0) -> Tensor:
    """Overwrite `x` in place with rank `source`'s and return it."""
    if world_size() > 1:
        torch_dist.broadcast(x, source)
    return x


def broadcast_object(obj: object, source: int = 0) -> object:
    """Rank `source`'s picklable object on every rank."""
    if world_size() == 1:
        return obj
    box = [obj]
    torch_dist.broadcast_object_list(box, source)
    return box[0]


@torch.no_grad()
def mean(x: Tensor) -> Tensor:
    """Mean over ranks of a detached copy of `x`."""
    x = x.detach().clone()
    if world_size() > 1:
        torch_dist.all_reduce(x)
        x /= world_size()
    return x


@torch.no_grad()
def sum(x: Tensor) -> Tensor:  # noqa: A001 - reads as distributed.sum(...)
    """Sum over ranks of a detached copy of `x`."""
    x = x.detach().clone()
    if world_size() > 1:
        torch_dist.all_reduce(x)
    return x
