"""LARC around SGD, as SwAV and the linear evaluations of SimSiam and SwAV use it: `apex.parallel.LARC` with `clip=False`.

NVIDIA apex, `apex/parallel/LARC.py`; You, Gitman, Ginsburg, arXiv:1708.03888 for the rule itself.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ..arguments import NotNegative, ShareBelowOne
from ..registry import OPTIMIZERS
from .layerwise import LayerWise, norms


@OPTIMIZERS.register_module()
class LARC(LayerWise):
    """SGD with momentum whose direction is `(g + weight_decay * w) * eta * |w| / (|g| + weight_decay * |w| + eps)`, tensor by tensor.

    That holds for every tensor, biases and the weights of norms too. Where a norm is 0 the plain gradient is taken, without decay.

    Args:
        params: parameters or groups of them. A group's `lars_exclude=True` makes it plain SGD; its weight decay then acts as there.
        lr: learning rate (SwAV: 0.6 for a batch of 256, 4.8 for 4096).
        momentum: share of the old buffer kept, in [0, 1).
        weight_decay: L2 coefficient (SwAV: 1e-6 on everything).
        eta: apex's `trust_coefficient`; SwAV: 0.001 (apex itself: 0.02).
        eps: added to the denominator.
        lars_exclude: the default for groups that do not say.
    """

    def __init__(
        self,
        params: Iterable,
        lr: NotNegative,
        momentum: ShareBelowOne = 0.9,
        weight_decay: NotNegative = 0,
        eta: NotNegative = 0.001,
        eps: NotNegative = 1e-8,
        lars_exclude: bool = False,
    ) -> None:
        settings = {'lr': lr, 'momentum': momentum, 'weight_decay': weight_decay, 'eta': eta, 'eps': eps}
        super().__init__(params, {**settings, 'lars_exclude': lars_exclude})

    def directions(self, params: list[Tensor], grads: list[Tensor], group: dict) -> list[Tensor]:
        """See `LayerWise.directions`."""
        decay = group['weight_decay']
        if group['lars_exclude']:
            return list(torch._foreach_add(grads, params, alpha=decay))
        of_weight, of_grad = norms(params), norms(grads)
        both = (of_weight > 0) & (of_grad > 0)
        scales = group['eta'] * of_weight / (of_grad + decay * of_weight + group['eps'])
        moves = list(torch._foreach_mul(params, list((decay * both.to(of_weight.dtype)).unbind())))
        torch._foreach_add_(moves, grads)
        torch._foreach_mul_(moves, list(scales.where(both, torch.ones_like(scales)).unbind()))
        return moves
