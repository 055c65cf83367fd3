"""The residual blocks of ConvNeXt (arXiv:2201.03545, figure 4) and ConvNeXt V2 (arXiv:2301.00808, figure 5)."""

from __future__ import annotations

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..large_kernel.conv import LargeKernelConv2d
from .drop_path import DropPath
from .grn import GRN
from .norm import frozen_statistics

WIDE = 15  # taps from which a depthwise convolution is a large-kernel one, which trains faster and ends on every device


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, layer norm, two linear layers with a GELU between, added to the input.

    Parameters have the official names: `gamma` (V1), `dwconv`, `norm`, `pwconv1`, `grn` (V2), `pwconv2`.

    Args:
        channels: C of the map; the linear layers are 4 C wide.
        drop_path: probability of leaving the branch out while training, in [0, 1).
        layer_scale: start of a factor per channel on the branch (V1: 1e-6); None for none (V2).
        grn_scope: 'image' or 'batch' puts a `GRN` of that scope after the GELU (V2); None leaves it out (V1).
        kernel_size: of the depthwise convolution, odd.
        large_kernel: unit to take in place of that convolution, as SLaK does; its name in the state dict is `large_kernel`.
        with_cp: compute the block again in the backward pass instead of keeping what lies inside of it in memory.
    """

    def __init__(
        self,
        channels: int,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        grn_scope: str | None = None,
        kernel_size: int = 7,
        large_kernel: nn.Module | None = None,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.gamma = None if layer_scale is None else nn.Parameter(torch.full((channels,), float(layer_scale)))
        self.large_kernel = large_kernel
        if large_kernel is None and kernel_size < WIDE:
            self.dwconv = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)
        elif large_kernel is None:
            self.dwconv = LargeKernelConv2d(channels, kernel_size, bias=True)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.grn = None if grn_scope is None else GRN(4 * channels, grn_scope)
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) for `x` (B, C, H, W)."""
        if not (self.with_cp and torch.is_grad_enabled()):
            return self.body(x)
        # the drop path draws the same numbers twice: checkpoint() puts the generators back
        return checkpoint(
            self.body, x, use_reentrant=False, context_fn=lambda: (nullcontext(), frozen_statistics(self))
        )

    def body(self, x: Tensor) -> Tensor:
        """What `forward` computes."""
        depthwise = self.dwconv if self.large_kernel is None else self.large_kernel
        y = F.gelu(self.pwconv1(self.norm(depthwise(x).permute(0, 2, 3, 1))))
        if self.grn is not None:
            y = self.grn(y)
        y = self.pwconv2(y)
        if self.gamma is not None:
            y = self.gamma * y
        return x + self.drop_path(y.permute(0, 3, 1, 2))
