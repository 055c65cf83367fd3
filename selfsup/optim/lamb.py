"""LAMB: layer-wise adaptive moments.

You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes", arXiv:1904.00962, Algorithm 2, with
the global gradient clipping of NVIDIA's and timm's implementation, as SparK (arXiv:2301.03580) uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..arguments import NotNegative, ShareBelowOne
from ..registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class LAMB(Optimizer):
    """Adam whose step for each tensor has the length of the tensor itself.

    `u = m / (sqrt(v) + eps) + weight_decay * w`, then `w -= lr * |w| / |u| * u`. Groups without weight decay take the
    plain step (ratio 1) unless `always_adapt`. The ratio is 1 where a norm is 0. No step waits for the device.

    Args:
        params: parameters or groups of them.
        lr: learning rate (SparK: 2e-4 * batch / 256).
        betas: shares of the old first and second moment kept, each in [0, 1).
        eps: added to the root of the second moment.
        weight_decay: decoupled from the moments, inside the trust ratio.
        bias_correction: divide the moments by 1 - beta ** step.
        grad_averaging: new gradients enter the first moment with weight 1 - beta1; False: with weight 1.
        max_grad_norm: all gradients together are scaled down to this L2 norm first; None or 0 turns it off (SparK: 5).
        trust_clip: the ratio is at most 1.
        always_adapt: trust ratio for groups without weight decay too.

    After `step`, `global_grad_norm` holds the norm before clipping, a scalar tensor on the device (None without clipping).
    The number of steps is kept per group, as in the reference.
    """

    def __init__(
        self,
        params: Iterable,
        lr: NotNegative = 1e-3,
        betas: tuple[ShareBelowOne, ShareBelowOne] = (0.9, 0.999),
        eps: NotNegative = 1e-6,
        weight_decay: NotNegative = 0.01,
        bias_correction: bool = True,
        grad_averaging: bool = True,
        max_grad_norm: NotNegative | None = 1.0,
        trust_clip: bool = False,
        always_adapt: bool = False,
    ) -> None:
        self.max_grad_norm = max_grad_norm
        self.global_grad_norm: Tensor | None = None
        super().__init__(
            params,
            {
                'lr': lr,
                'betas': tuple(betas),
                'eps': eps,
                'weight_decay': weight_decay,
                'bias_correction': bias_correction,
                'grad_averaging': grad_averaging,
                'trust_clip': trust_clip,
                'always_adapt': always_adapt,
            },
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; `closure`, if given, re-evaluates the loss and its value is returned."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        shrink = self._shrink()
        for group in self.param_groups:
            params = [p for p in group['params'] if p.grad is not None]
            if params:
                group['step'] = group.get('step', 0) + 1
                self._update(params, group, shrink)
        return loss

    def _shrink(self) -> Tensor | None:
        """1 / max(1, norm of all gradients / max_grad_norm)."""
        grads = [p.grad for group in self.param_groups for p in group['params'] if p.grad is not None]
        if not self.max_grad_norm or not grads:
            return None
        self.global_grad_norm = torch.stack(torch._foreach_norm(grads)).norm()
        return 1 / (self.global_grad_norm / self.max_grad_norm).clamp(min=1)

    def _update(self, params: list[Tensor], group: dict, shrink: Tensor | None) -> None:
        beta1, beta2 = group['betas']
        grads = [p.grad for p in params if p.grad is not None]  # all of them
        if shrink is not None:
            grads = list(torch._foreach_mul(grads, shrink))
        first, second = self._moments(params)
        torch._foreach_mul_(first, beta1)
        torch._foreach_add_(first, grads, alpha=1 - beta1 if group['grad_averaging'] else 1.0)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, grads, grads, value=1 - beta2)

        correction1 = correction2 = 1.0
        if group['bias_correction']:
            correction1, correction2 = 1 - beta1 ** group['step'], 1 - beta2 ** group['step']
        below = torch._foreach_sqrt(second)
        torch._foreach_div_(below, correction2**0.5)
        torch._foreach_add_(below, group['eps'])
        updates = list(torch._foreach_div(first, correction1))
        torch._foreach_div_(updates, below)

        if group['weight_decay'] != 0:
            torch._foreach_add_(updates, params, alpha=group['weight_decay'])
        if group['weight_decay'] != 0 or group['always_adapt']:
            torch._foreach_mul_(updates, _trust_ratios(params, updates, group['trust_clip']))
        torch._foreach_add_(params, updates, alpha=-group['lr'])

    def _moments(self, params: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        for p in params:
            if not self.state[p]:
                self.state[p].update(exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
        return [self.state[p]['exp_avg'] for p in params], [self.state[p]['exp_avg_sq'] for p in params]


def _trust_ratios(params: list[Tensor], updates: list[Tensor], clip: bool) -> list[Tensor]:
    """One scalar tensor per parameter: |w| / |u|, 1 where one of the norms is 0, at most 1 with `clip`."""
    weight_norm = torch.stack(torch._foreach_norm(params))
    update_norm = torch.stack(torch._foreach_norm(updates))
    both = (weight_norm > 0) & (update_norm > 0)
    ratio = (weight_norm / update_norm).where(both, torch.ones_like(update_norm))
    return list((ratio.clamp(max=1) if clip else ratio).unbind())
