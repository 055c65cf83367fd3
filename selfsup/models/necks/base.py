"""What all projections share: the way in, and the initial weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from ..layers.init import init_linear_layers
from ..layers.pooling import to_vector


class Projection(nn.Module):
    """One vector per image, then `project`, which a subclass defines.

    Args:
        in_channels: channels of the last map (all its numbers, without pooling).
        with_avg_pool: average over positions first; False flattens.
    """

    project: Callable[[Tensor], Tensor]  # (B, in_channels) -> (B, out_channels)

    def __init__(self, in_channels: int, with_avg_pool: bool) -> None:
        super().__init__()
        self.in_channels, self.with_avg_pool = in_channels, with_avg_pool

    def init_weights(self, init_linear: str = 'normal') -> None:
        """Set the linear layers, see `init_linear_layers`; algorithms choose 'normal' or 'kaiming'."""
        init_linear_layers(self, init_linear)

    def forward(self, x: Tensor | Sequence[Tensor]) -> Tensor:
        """(B, out_channels) from maps, of which the last is used, one map (B, C, H, W) or vectors (B, C)."""
        return self.project(to_vector(x, self.in_channels, self.with_avg_pool, self))
