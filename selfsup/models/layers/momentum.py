"""A copy of a network that follows it as an exponential moving average (Mean Teacher, arXiv 1703.01780)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ...errors import ConfigError


def check_momentum(name: str, value: float) -> None:
    """Refuse what is no share of old weights to keep: outside [0, 1] the copy runs away from the network.

    Raises:
        ConfigError: `value` is no number in [0, 1].
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigError(
            f'{name}={value!r} must lie in [0, 1]: it is the share of the old weights that is kept, for example 0.999.'
        )


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
