"""k-means with k = 2 on rows that are spread over processes."""

from __future__ import annotations

import torch
from torch import Tensor

from ... import distributed


def two_means(x: Tensor, iterations: int = 20) -> Tensor | None:
    """Split the rows of all processes in two.

    It starts from the sign along the first principal axis, which solves the relaxed problem (Ding and He 2004, "K-means clustering
    via principal component analysis"), so there is nothing to draw: the same rows always give the same split. A collective.

    Args:
        x: (n, D) this process's rows, n >= 0; at least two in all.
        iterations: of Lloyd's algorithm, at most.

    Returns:
        (n,) bool, True for the second part; None when all rows are alike.
    """
    total, number = distributed.sum(x.sum(dim=0)), distributed.sum(_count(x, len(x)))
    centred = x - total / number
    axis = torch.linalg.eigh(distributed.sum(centred.T @ centred))[1][:, -1]
    second = centred @ distributed.broadcast(axis.contiguous()) > 0  # one axis for all, whatever the machines round
    for _ in range(iterations):
        totals = distributed.sum(torch.cat([x[second].sum(dim=0), _count(x, second.sum())]))
        sums, size = totals[:-1], totals[-1]
        if not 0 < size < number:
            return None
        centre, other = sums / size, (total - sums) / (number - size)
        nearer = x @ (centre - other) > (centre.square().sum() - other.square().sum()) / 2
        moved = distributed.sum(_count(x, (nearer != second).sum()))
        if not moved:
            break
        second = nearer
    return second


def _count(like: Tensor, number: Tensor | int) -> Tensor:
    return torch.as_tensor(number, dtype=like.dtype, device=like.device).reshape(1)
