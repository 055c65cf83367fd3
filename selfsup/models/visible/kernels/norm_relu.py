"""ReLU after a batch norm, without keeping what comes out.

For the gradient a ReLU keeps its output, and so does the convolution after it. After a batch norm that output is one multiplication
and one addition away from the input of the norm, which is kept anyway. Computing it again in the backward pass saves a fifth of the
activations of a ResNet-50; its cost was below the noise of the measurement.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Normed(NamedTuple):
    """What batch norm with the statistics of the batch made of `rows` (M, C), and all that it takes to do so again."""

    out: Tensor
    rows: Tensor
    mean: Tensor
    var: Tensor
    weight: Tensor | None
    bias: Tensor | None
    eps: float
    version: int  # of `out`: another one tells that it was changed in place


def batch_norm_rows(
    rows: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
    eps: float,
) -> Normed:
    """`functional.batch_norm` of rows (M, C) with the statistics of the batch, which moves the running ones."""
    out, mean, inverse_std = torch.native_batch_norm(rows, weight, bias, running_mean, running_var, True, momentum, eps)
    return Normed(
        out, rows.detach(), mean.detach(), inverse_std.detach().pow(-2) - eps, weight, bias, eps, out._version
    )


class _Again:
    """Computes a rectified norm again, once for all that ask for it in one backward pass."""

    def __init__(self, eps: float) -> None:
        self.eps = eps
        self._rows: Tensor | None = None

    def __call__(self, rows: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        if self._rows is None:
            self._rows = functional.batch_norm(rows, mean, var, weight, bias, False, 0.0, self.eps).relu_()
        return self._rows

    def forget(self) -> None:
        self._rows = None


class Rectified(NamedTuple):
    """How a consumer of relu(batch norm) gets its input again: `again(*ingredients)`, rows (M, C).

    A function keeps the ingredients with `save_for_backward` and `again` as it is.
    """

    again: _Again
    ingredients: tuple[Tensor | None, ...]
    version: int  # of the output, as in `Normed`


class _Relu(torch.autograd.Function):
    """ReLU of rows; the output is computed again for its gradient. The convolutions that follow have asked for it by then."""

    @staticmethod
    def forward(ctx, rows: Tensor, inplace: bool, again: _Again, *ingredients: Tensor | None) -> Tensor:
        ctx.save_for_backward(*ingredients)
        ctx.again = again
        if inplace:
            ctx.mark_dirty(rows)
            return rows.relu_()
        return rows.relu()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        ingredients = ctx.saved_tensors
        out = ctx.again(*ingredients)
        ctx.again.forget()
        return torch.ops.aten.threshold_backward(grad, out, 0), None, None, *[None] * len(ingredients)


def relu_rows(normed: Normed, inplace: bool) -> tuple[Tensor, Rectified]:
    """relu(`normed.out`), and how to get it again."""
    again, ingredients = _Again(normed.eps), normed[1:6]
    out = _Relu.apply(normed.out, inplace, again, *ingredients)
    return out, Rectified(again, ingredients, out._version)
