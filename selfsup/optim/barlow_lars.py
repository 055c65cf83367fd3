"""LARS of Barlow Twins, VICReg, MoCo v3 and DINO.

The same class stands in the official code of all four (`main.py` of facebookresearch/barlowtwins and vicreg, `moco/optimizer.py` of
moco-v3, `utils.py` of dino). It differs from `lars.LARS`, which is OpenSelfSup's, in three ways: the learning rate is outside of the
momentum buffer, tensors of one axis are left out by themselves, and the denominator is the norm of the decayed gradient.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ..arguments import NotNegative, ShareBelowOne
from ..registry import OPTIMIZERS
from .layerwise import LayerWise, norms


@OPTIMIZERS.register_module()
class BarlowLARS(LayerWise):
    """SGD with momentum whose direction `d = g + weight_decay * w` is scaled by `eta * |w| / |d|`, tensor by tensor.

    Biases and the weights of norms (at most one axis) take the plain gradient: neither decay nor scaling. Where a norm is 0 the
    direction is not scaled, so that a weight of zeros moves (with `lars.LARS` it never does).

    Args:
        params: parameters or groups of them. A group's `lars_exclude=True` turns the scaling off for its other tensors too; its
            weight decay still acts on those unless the group sets it to 0.
        lr: learning rate (Barlow Twins: 0.2 * batch / 256, and 0.0048 * batch / 256 for tensors of one axis).
        momentum: share of the old buffer kept, in [0, 1).
        weight_decay: L2 coefficient, added to the gradient before scaling (Barlow Twins: 1e-6).
        eta: trust coefficient, 0.001.
        lars_exclude: the default for groups that do not say.
    """

    def __init__(
        self,
        params: Iterable,
        lr: NotNegative,
        momentum: ShareBelowOne = 0.9,
        weight_decay: NotNegative = 0,
        eta: NotNegative = 0.001,
        lars_exclude: bool = False,
    ) -> None:
        settings = {'lr': lr, 'momentum': momentum, 'weight_decay': weight_decay, 'eta': eta}
        super().__init__(params, {**settings, 'lars_exclude': lars_exclude})

    def directions(self, params: list[Tensor], grads: list[Tensor], group: dict) -> list[Tensor]:
        """See `LayerWise.directions`."""
        scaled = [i for i, p in enumerate(params) if p.ndim > 1]
        moves = list(grads)
        if scaled:
            weights = [params[i] for i in scaled]
            decayed = list(torch._foreach_add([grads[i] for i in scaled], weights, alpha=group['weight_decay']))
            if not group['lars_exclude']:
                torch._foreach_mul_(decayed, _scales(weights, decayed, group['eta']))
            for i, move in zip(scaled, decayed, strict=True):
                moves[i] = move
        return moves


def _scales(weights: list[Tensor], decayed: list[Tensor], eta: float) -> list[Tensor]:
    """One scalar tensor per weight: eta * |w| / |d|, 1 where one of the norms is 0."""
    of_weight, of_move = norms(weights), norms(decayed)
    both = (of_weight > 0) & (of_move > 0)
    return list((eta * of_weight / of_move).where(both, torch.ones_like(of_move)).unbind())
