"""Dtype and memory layout of the operands of a convolution."""

from __future__ import annotations

import torch
from torch import Tensor


def in_autocast_dtype(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """What autocast would make of the operands of a convolution or a linear layer; `x` decides: float64 stays as it is.

    Args:
        x: (B, C, H, W), or (..., C) for a linear layer.
        weight: of the layer.
        bias: (C,), or None.
    """
    device = x.device.type
    if x.dtype == torch.float64 or not torch.is_autocast_enabled(device):
        return x, weight, bias
    dtype = torch.get_autocast_dtype(device)
    return x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


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
