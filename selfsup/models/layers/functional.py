"""Functions with a say in their precision under autocast: normalisation, lengths, similarities, squares of products."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def full_precision(x: Tensor) -> Tensor:
    """`x` in float32 if it is in half precision, else `x` itself (float64 stays, for exact tests)."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def length(t: Tensor, order: float, dims: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """p-norm of `t` over `dims`, computed in `dtype`; its gradient at 0 is 0.

    On CPU torch's norm over the positions of small blocks takes up to 100 times as long as the same sum of squares.
    """
    if order != 2 or t.device.type != 'cpu' or t.dtype != dtype:
        return torch.linalg.vector_norm(t, order, dims, dtype=dtype)
    squares = t.square().sum(dims)
    zero = squares == 0
    return squares.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)


def l2_normalize(x: Tensor, eps: float = 1e-12) -> Tensor:
    """Rows of `x` (B, D) at unit length, in full precision; a row shorter than `eps` is divided by `eps`."""
    return F.normalize(full_precision(x), dim=1, eps=eps)


def similarity(rows: Tensor, columns: Tensor) -> Tensor:
    """Dot products (N, M) of `rows` (N, D) and `columns` (D, M), in full precision also under autocast.

    In bfloat16 a cosine has an error of about 0.004, which a temperature of 0.07 blows up to 0.06 in the logits.
    """
    with torch.autocast(rows.device.type, enabled=False):
        return full_precision(rows) @ full_precision(columns)


def _squares(matrix: Tensor) -> Tensor:
    """Sum of squares, without a second matrix; torch's norm on a CPU loses 1 in 1000 of it from some million entries on."""
    return torch.stack([rows.square().sum() for rows in matrix.split(1024)]).sum()


class _SquaredProduct(torch.autograd.Function):
    """Sum of the squares of x^T y for `x`, `y` (N, D), by one D x D matrix, or where N < D by two of N x N (one if `y` is `x`).

    The backward pass needs these and makes no further one.

    Entry (a, b) of x x^T times that of y y^T, summed, is the same number (Garrido et al. 2022, arXiv:2206.02574, section 3).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        if len(x) >= x.shape[1]:
            product = x.T @ y
            ctx.save_for_backward(x, y, product)
            return _squares(product)
        of_x = x @ x.T
        of_y = of_x if y is x else y @ y.T
        ctx.save_for_backward(x, y, of_x, of_y)
        return torch.stack([(a * b).sum() for a, b in zip(of_x.split(1024), of_y.split(1024), strict=True)]).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, y, *products = ctx.saved_tensors
        with torch.autocast(x.device.type, enabled=False):
            if len(products) == 1:
                return y @ products[0].T * (2 * grad), x @ products[0] * (2 * grad)
            return products[1] @ x * (2 * grad), products[0] @ y * (2 * grad)


def off_diagonal_squares(x: Tensor, y: Tensor) -> Tensor:
    """Sum of the squares of all entries of x^T y off its diagonal, in full precision also under autocast.

    Args:
        x, y: (N, D).
    """
    with torch.autocast(x.device.type, enabled=False):
        x, y = full_precision(x), full_precision(y)
        return _SquaredProduct.apply(x, y) - (x * y).sum(dim=0).square().sum()


@torch.no_grad()
def top1_accuracy(logits: Tensor, target: Tensor) -> Tensor:
    """Share of rows of `logits` (B, K) whose largest entry is at `target` (B,), in percent."""
    return (logits.argmax(dim=1) == target).to(torch.float32).mean() * 100


def class_weights(labels: Tensor, num_classes: int, power: float, eps: float) -> Tensor:
    """Weights that make rare classes count more: (1 / (n_c + eps)) ** power, scaled to sum 1 (DeepCluster, section 3.3).

    Args:
        labels: (N,) int64, in [0, num_classes).
        num_classes: number of classes C.
        power: 0 gives equal weights, 1 the same total weight to each class, 0.5 lies between.
        eps: keeps an empty class finite; > 0.

    Returns:
        (C,) float32.
    """
    counts = torch.bincount(labels, minlength=num_classes).double()
    weights = (counts + eps).pow(-power)
    return (weights / weights.sum()).float()


def last_occurrence(index: Tensor) -> Tensor:
    """For each entry of `index` (n,), the place of the last entry equal to it: [7, 3, 7] -> [2, 1, 2].

    Writing `bank[index] = values[last_occurrence(index)]` gives the same bank in whatever order the rows are written, which a
    GPU leaves open.
    """
    ordered, order = index.sort(stable=True)
    return order[torch.searchsorted(ordered, index, right=True) - 1]
