"""A copy of a network that follows it as an exponential moving average (Mean Teacher, arXiv 1703.01780)."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn


def momentum_copy(module: nn.Module) -> nn.Module:
    """A deep copy without gradients. It is outside DDP's gradient buckets and the optimizer."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def momentum_update(target: nn.Module, source: nn.Module, momentum: float) -> None:
    """target <- momentum * target + (1 - momentum) * source, for parameters; buffers (BN statistics) are the target's own.

    Args:
        target: made by `momentum_copy(source)`.
        source: the network that the optimizer trains.
        momentum: share of the OLD weights kept, in [0, 1].
    """
    old: list[Tensor] = list(target.parameters())
    new: list[Tensor] = list(source.parameters())
    if old:
        torch._foreach_mul_(old, momentum)  # two launches instead of two per tensor
        torch._foreach_add_(old, new, alpha=1 - momentum)


def cosine_momentum(start: float, end: float, progress: float) -> float:
    """end - (end - start) * (cos(pi * progress) + 1) / 2: rises from `start` to `end` along a cosine (BYOL, arXiv 2006.07733, section 3.2).

    Args:
        start: share of the OLD weights kept at progress 0, in [0, 1].
        end: the same at progress 1.
        progress: share of the training that is done, in [0, 1].
    """
    return end - (end - start) * (math.cos(math.pi * progress) + 1) / 2
