"""Global response normalisation of visible blocks with its own gradient, which goes over the map as seldom as it can.

The layer is the widest of a ConvNeXt V2 block and does next to no arithmetic: its time is that of reading and writing the map. Autograd
reads or writes it 19 times; here it is 15, and each direction takes memory for one map only, which the next line overwrites.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..grid import Blocks


def can_fuse(stored: Tensor, axes: str) -> bool:
    """True where `normalised` computes what the formula does: float32, channels last, also in memory."""
    return axes == 'NHWC' and stored.dtype == torch.float32 and stored.is_contiguous()


class _Normalised(torch.autograd.Function):
    """With s = sum of x^2, n = sqrt(s), m = mean over channels of n + eps, r = n / m: y = x (1 + gamma r) + beta.

    For a gradient g of y, let G = sum of g x. Then gamma gets G r, summed over images; beta the sum of g; and with u = G gamma,
    n gets v = u / m - mean over channels of (u n) / m^2, so x gets g (1 + gamma r) + x v / n.
    """

    @staticmethod
    def forward(ctx, x: Tensor, gamma: Tensor, beta: Tensor, blocks: Blocks, whole: bool, eps: float) -> Tensor:
        buffer = x.square()
        norm = _per_image(buffer, blocks, whole).sqrt_()
        mean = norm.mean(-1, keepdim=True) + eps
        share = norm / mean
        ctx.save_for_backward(x, gamma, norm, mean, share)
        ctx.blocks, ctx.whole = blocks, whole
        return torch.addcmul(beta, x, _per_block(1 + gamma.view(-1) * share, blocks, whole), out=buffer)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, gamma, norm, mean, share = ctx.saved_tensors
        blocks, whole, row = ctx.blocks, ctx.whole, gamma.view(-1)
        buffer = grad * x
        product = _per_image(buffer, blocks, whole)
        for_norm = product * row / mean
        for_norm -= (for_norm * share).mean(-1, keepdim=True)
        along = torch.where(norm == 0, 0.0, for_norm / norm)
        torch.mul(grad, _per_block(1 + row * share, blocks, whole), out=buffer)
        buffer.addcmul_(x, _per_block(along, blocks, whole))
        return buffer, (product * share).sum(0).view_as(gamma), grad.sum((0, 1, 2)).view_as(gamma), None, None, None


def _per_image(t: Tensor, blocks: Blocks, whole: bool) -> Tensor:
    """(B, C) sums over the positions of each image, or (1, C) over all, of `t` (N, z, z, C)."""
    rows = t.sum((1, 2))
    return rows.sum(0, keepdim=True) if whole else blocks.by_image(rows).sum(1)


def _per_block(t: Tensor, blocks: Blocks, whole: bool) -> Tensor:
    """(N, 1, 1, C), or (1, 1, 1, C), from what `_per_image` gave."""
    return (t if whole else t.index_select(0, blocks.image))[:, None, None]


def normalised(stored: Tensor, blocks: Blocks, gamma: Tensor, beta: Tensor, scope: str, eps: float) -> Tensor:
    """`grn.global_response_norm` of the visible blocks (N, z, z, C), for which `can_fuse` holds."""
    return _Normalised.apply(stored, gamma, beta, blocks, scope == 'batch', eps)
