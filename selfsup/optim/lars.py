"""LARS: layer-wise adaptive rate scaling.

You, Gitman, Ginsburg, "Large Batch Training of Convolutional Networks", arXiv:1708.03888, Algorithm 1, in the variant of
OpenSelfSup: the learning rate is inside the momentum buffer, so a change of the rate acts on new gradients only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..arguments import NotNegative, Share, ShareBelowOne
from ..errors import ConfigError
from ..registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class LARS(Optimizer):
    """SGD whose step for each tensor is scaled by `eta * |w| / (|g| + weight_decay * |w|)`.

    A tensor of zeros has scale 0 and never moves (Algorithm 1 as written; give such a tensor `lars_exclude`). Where both
    norms are zero the scale is taken as 0 too: the update is 0 whatever it is. No step waits for the device.

    Args:
        params: parameters or groups of them. A group's `lars_exclude=True` turns the scaling off for it (scale 1); its
            weight decay still acts unless the group sets it to 0.
        lr: learning rate, > 0 as a rule (SimCLR, batch 256: 0.3).
        momentum: share of the old buffer kept, in [0, 1).
        dampening: share of the new update left out of the buffer, in [0, 1].
        weight_decay: L2 coefficient, added to the gradient before scaling.
        eta: trust coefficient of the paper, 0.001.
        nesterov: look ahead by one buffer; wants momentum > 0 and dampening 0.
        lars_exclude: the default for groups that do not say.

    Raises:
        ConfigError: `nesterov` without momentum, or with dampening.
    """

    def __init__(
        self,
        params: Iterable,
        lr: NotNegative,
        momentum: ShareBelowOne = 0,
        dampening: Share = 0,
        weight_decay: NotNegative = 0,
        eta: NotNegative = 0.001,
        nesterov: bool = False,
        lars_exclude: bool = False,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ConfigError(
                f'LARS: nesterov=True wants momentum > 0 and dampening=0; got {momentum} and {dampening}.'
            )
        super().__init__(
            params,
            {
                'lr': lr,
                'momentum': momentum,
                'dampening': dampening,
                'weight_decay': weight_decay,
                'eta': eta,
                'nesterov': nesterov,
                'lars_exclude': lars_exclude,
            },
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; `closure`, if given, re-evaluates the loss and its value is returned."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            params = [p for p in group['params'] if p.grad is not None]
            if params:
                self._update(params, group)
        return loss

    def _update(self, params: list[Tensor], group: dict) -> None:
        grads = [p.grad for p in params if p.grad is not None]  # all of them
        decay = group['weight_decay']
        updates = list(torch._foreach_add(grads, params, alpha=decay))
        if group['lars_exclude']:
            torch._foreach_mul_(updates, group['lr'])
        else:
            scales = _local_rates(params, grads, decay, group['eta'])
            torch._foreach_mul_(updates, scales)
            torch._foreach_mul_(updates, group['lr'])
        if group['momentum'] != 0:
            updates = self._with_momentum(params, updates, group)
        torch._foreach_sub_(params, updates)

    def _with_momentum(self, params: list[Tensor], updates: list[Tensor], group: dict) -> list[Tensor]:
        momentum = group['momentum']
        old = [i for i, p in enumerate(params) if 'momentum_buffer' in self.state[p]]
        if old:
            buffers = [self.state[params[i]]['momentum_buffer'] for i in old]
            torch._foreach_mul_(buffers, momentum)
            torch._foreach_add_(buffers, [updates[i] for i in old], alpha=1 - group['dampening'])
        if len(old) < len(params):
            for p, update in zip(params, updates, strict=True):
                self.state[p].setdefault('momentum_buffer', update.clone())
        buffers = [self.state[p]['momentum_buffer'] for p in params]
        return list(torch._foreach_add(updates, buffers, alpha=momentum)) if group['nesterov'] else buffers


def _local_rates(params: list[Tensor], grads: list[Tensor], weight_decay: float, eta: float) -> list[Tensor]:
    """One scalar tensor per parameter: eta * |w| / (|g| + weight_decay * |w|), 0 where that is 0 / 0."""
    weight_norm = torch.stack(torch._foreach_norm(params))
    grad_norm = torch.stack(torch._foreach_norm(grads))
    below = grad_norm + weight_decay * weight_norm
    return list((eta * weight_norm / below).where(below > 0, torch.zeros_like(below)).unbind())
