"""SGD with momentum whose steps are scaled tensor by tensor: what the newer methods' optimizers share.

The learning rate is outside of the momentum buffer, as in torch's SGD: when it falls, the steps gathered so far shrink with it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class LayerWise(Optimizer):
    """`m = momentum * m + d`, then `w -= lr * m`, where `d` is what `directions` makes of the gradient. No step waits for the device."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; `closure`, if given, re-evaluates the loss and its value is returned."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            params = [p for p in group['params'] if p.grad is not None]
            if params:
                moves = self.directions(params, [p.grad for p in params if p.grad is not None], group)
                torch._foreach_add_(params, self._with_momentum(params, moves, group['momentum']), alpha=-group['lr'])
        return loss

    @abstractmethod
    def directions(self, params: list[Tensor], grads: list[Tensor], group: dict) -> list[Tensor]:
        """Decayed and scaled gradients, one per parameter and of its shape; `grads` stay as they are, and may be among them.

        Args:
            params: those of `group` that have a gradient.
            grads: theirs, in the same order.
            group: with its settings.
        """

    def _with_momentum(self, params: list[Tensor], moves: list[Tensor], momentum: float) -> list[Tensor]:
        if momentum == 0:
            return moves
        older = [i for i, p in enumerate(params) if 'momentum_buffer' in self.state[p]]
        if older:
            buffers = [self.state[params[i]]['momentum_buffer'] for i in older]
            torch._foreach_mul_(buffers, momentum)
            torch._foreach_add_(buffers, [moves[i] for i in older])
        if len(older) < len(params):
            for p, move in zip(params, moves, strict=True):
                if 'momentum_buffer' not in self.state[p]:
                    self.state[p]['momentum_buffer'] = move.clone()
        return [self.state[p]['momentum_buffer'] for p in params]


def norms(tensors: list[Tensor]) -> Tensor:
    """L2 norm of each tensor: (number of tensors,), on their device."""
    return torch.stack(torch._foreach_norm(tensors))
