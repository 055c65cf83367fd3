"""Functions with a say in their precision under autocast: normalisation, lengths, similarities."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import ShapeError


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


def require_same_length(owner: object, prediction: Tensor, goal: Tensor) -> None:
    """Predictions (B, D) must be as long as what they predict; one number would otherwise be compared with all of them.

    Args:
        owner: what has the predictor, for the message.
        prediction: (B, D).
        goal: (B, D).

    Raises:
        ShapeError: they are not.
    """
    if prediction.shape[1] != goal.shape[1]:
        raise ShapeError(
            f'The predictor of {type(owner).__name__} gives {prediction.shape[1]} numbers, but is to predict {goal.shape[1]}: '
            f'set out_channels={goal.shape[1]} in its config.'
        )


def similarity(rows: Tensor, columns: Tensor) -> Tensor:
    """Dot products (N, M) of `rows` (N, D) and `columns` (D, M), in full precision also under autocast.

    In bfloat16 a cosine has an error of about 0.004, which a temperature of 0.07 blows up to 0.06 in the logits.
    """
    with torch.autocast(rows.device.type, enabled=False):
        return full_precision(rows) @ full_precision(columns)


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
