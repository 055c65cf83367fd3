"""The projection of Relative-Loc (Doersch et al. 2015, arXiv 1505.05192, figure 3: the layers after the two trunks join)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ...arguments import Count
from ...errors import ShapeError
from ...registry import NECKS
from ..layers.init import init_linear_layers
from ..layers.norm import batch_norm_1d
from ..layers.pooling import last_map
from .base import Projection


@NECKS.register_module()
class RelativeLocNeck(Projection):
    """fc, BN, ReLU, dropout on the joined maps of two patches.

    Args:
        in_channels: channels of ONE patch's last map; the layer reads twice as many.
        out_channels: length of the output; 4096 in the reference config.
        sync_bn: normalise over all processes; falls back to BN with a warning where that cannot run.
        with_avg_pool: pool first; False flattens.
    """

    def __init__(
        self,
        in_channels: Count,
        out_channels: Count,
        sync_bn: bool = False,
        with_avg_pool: bool = True,
    ) -> None:
        super().__init__(2 * in_channels, with_avg_pool)
        self.fc = nn.Linear(2 * in_channels, out_channels)
        self.bn = batch_norm_1d(out_channels, sync_bn, momentum=0.003)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.init_weights()

    def init_weights(self, init_linear: str = 'normal') -> None:
        """Standard deviation 0.005 and bias 0.1, as in the reference code; see `init_linear_layers`."""
        init_linear_layers(self, init_linear, std=0.005, bias=0.1)

    def forward(self, x: Tensor | Sequence[Tensor]) -> Tensor:
        """(B, out_channels) from joined maps (B, 2 * in_channels, H, W).

        Raises:
            ShapeError: another number of channels.
        """
        joined = last_map(x)
        numbers = joined.shape[1] if self.with_avg_pool else joined[0].numel()
        if numbers != self.in_channels:
            raise ShapeError(
                f'RelativeLocNeck has in_channels={self.in_channels // 2} and reads two joined maps, {self.in_channels} '
                f'numbers; its input of shape {tuple(joined.shape)} gives {numbers}: set in_channels={numbers // 2}.'
            )
        return super().forward(joined)

    def project(self, x: Tensor) -> Tensor:
        """(B, 2 * in_channels) -> (B, out_channels)."""
        return self.drop(self.relu(self.bn(self.fc(x))))
