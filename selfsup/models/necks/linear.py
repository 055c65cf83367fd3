"""One linear layer: the projection of MoCo v1 and NPID."""

from __future__ import annotations

from torch import Tensor, nn

from ...arguments import Count
from ...registry import NECKS
from .base import Projection


@NECKS.register_module()
class LinearNeck(Projection):
    """Average pooling, then `fc`.

    Args:
        in_channels: channels of the last map.
        out_channels: length of the output.
        with_avg_pool: pool first; False flattens.
    """

    def __init__(self, in_channels: Count, out_channels: Count, with_avg_pool: bool = True) -> None:
        super().__init__(in_channels, with_avg_pool)
        self.fc = nn.Linear(in_channels, out_channels)
        self.init_weights()

    def project(self, x: Tensor) -> Tensor:
        """(B, in_channels) -> (B, out_channels)."""
        return self.fc(x)
