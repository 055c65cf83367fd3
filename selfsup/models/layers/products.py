"""Products of the embeddings of all processes, of which nothing but the sum of their squares is wanted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ... import distributed
from .functional import full_precision


def _squares(matrix: Tensor) -> Tensor:
    """Sum of squares, without a second matrix; torch's norm on a CPU loses 1 in 1000 of it from some million entries on."""
    return torch.stack([rows.square().sum() for rows in matrix.split(1024)]).sum()


class _SquaredProduct(torch.autograd.Function):
    """See `squared_product`. The gradient is the one that `distributed.gather` would give, without a message: all ranks have the same."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        if len(x) * distributed.world_size() >= x.shape[1]:
            product = distributed.sum_in_place(x.T @ y)
            ctx.save_for_backward(x, y, product)
            return _squares(product)
        every_x = distributed.gather_no_grad(x)
        every_y = every_x if y is x else distributed.gather_no_grad(y)
        of_x = x @ every_x.T
        of_y = of_x if y is x else y @ every_y.T
        ctx.save_for_backward(every_x, every_y, of_x, of_y)
        return distributed.sum_in_place((of_x * of_y).sum())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        scale = 2 * distributed.world_size() * grad
        x, y, *products = ctx.saved_tensors
        with torch.autocast(x.device.type, enabled=False):
            if len(products) == 1:
                return y @ products[0].T * scale, x @ products[0] * scale
            return products[1] @ x * scale, products[0] @ y * scale


def squared_product(x: Tensor, y: Tensor) -> Tensor:
    """Sum of the squares of all entries of X^T Y, where X and Y are the rows of all processes; in full precision also under autocast.

    Where they are fewer than D, the rows are gathered instead, and the products X X^T and Y Y^T multiplied entry by entry: their sum is
    the same number (Garrido et al. 2022, arXiv:2206.02574, section 3). So a process holds one matrix of D x D, which it makes in place,
    or two of B x N; the backward pass makes no further one.

    All processes must go on with the result in the same way: the backward pass takes their gradients to be equal, and gives the sum of
    them, which DDP averages.

    Args:
        x, y: (B, D), the rows of this process, as many on each.
    """
    with torch.autocast(x.device.type, enabled=False):
        return _SquaredProduct.apply(full_precision(x), full_precision(y))
