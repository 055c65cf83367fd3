"""Layer norm over the channels of a feature map, as ConvNeXt uses it (arXiv:2201.03545, section 2.6)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm2d(nn.LayerNorm):
    """Normalises the channels at every position of a map (B, C, H, W); parameters `weight` and `bias` (C,).

    On a map that is channels-last in memory the two permutations are free.

    Args:
        channels: C.
        eps: added to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps).permute(
            0, 3, 1, 2
        )
