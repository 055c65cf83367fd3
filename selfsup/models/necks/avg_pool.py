"""Average pooling as a neck."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ...registry import NECKS
from ..layers.pooling import last_map


@NECKS.register_module()
class AvgPoolNeck(nn.Module):
    """Mean over positions of the last map: (B, C, H, W) -> (B, C, 1, 1)."""

    def __init__(self) -> None:
        super().__init__()

    def init_weights(self, init_linear: str = 'normal') -> None:
        """There are no weights."""

    def forward(self, x: Tensor | Sequence[Tensor]) -> Tensor:
        return last_map(x).mean(dim=(2, 3), keepdim=True)
