"""Functions with a say in their precision under autocast: normalisation, similarities, operands of convolutions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def full_precision(x: Tensor) -> Tensor:
    """`x` in float32 if it is in half precision, else `x` itself (float64 stays, for exact tests)."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def in_autocast_dtype(*tensors: Tensor | None) -> list[Tensor | None]:
    """What autocast would make of the operands of a convolution or a linear layer; the first one decides: float64 stays as it is."""
    device = tensors[0].device.type
    if tensors[0].dtype == torch.float64 or not torch.is_autocast_enabled(device):
        return list(tensors)
    dtype = torch.get_autocast_dtype(device)
    return [None if t is None else t.to(dtype) for t in tensors]


def ready_to_convolve(x: Tensor, weight: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Operands of a convolution, the values unchanged, in a layout in which torch's CPU convolution comes to an end.

    With torch 2.15 (oneDNN, AVX-512) a bfloat16 depthwise convolution of 2 to 16 channels in channels-last memory never returns
    where the kernel is at least 15 wide and the output at least 31 wide; a contiguous one of the same numbers takes milliseconds.
    Which layout is taken depends on the strides of both operands. Kernels from 9 taps on are laid out anew, to keep a distance
    from a border that was found by measuring.

    Args:
        x: (B, C, H, W).
        weight: (C, C / groups, kh, kw).
        groups: of the convolution.
    """
    if (
        x.device.type != 'cpu'
        or groups != len(weight)
        or weight.shape[1] != 1
        or len(weight) > 16
        or weight.shape[3] < 9
    ):
        return x, weight
    dtype = torch.get_autocast_dtype('cpu') if torch.is_autocast_enabled('cpu') else x.dtype
    if dtype != torch.bfloat16:
        return x, weight
    # a weight may be in both layouts at once, as its second axis is 1; a view of its numbers has the strides of the contiguous one
    return x.contiguous(), weight.flatten().view(weight.shape)


def l2_normalize(x: Tensor, eps: float = 1e-12) -> Tensor:
    """Rows of `x` (B, D) at unit length, in full precision; a row shorter than `eps` is divided by `eps`."""
    return F.normalize(full_precision(x), dim=1, eps=eps)


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
