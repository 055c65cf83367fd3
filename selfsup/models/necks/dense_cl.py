"""The projection of DenseCL (arXiv 2011.09157, section 3.1): one vector for the image, and one for each position of its map."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ...arguments import Count
from ...errors import ShapeError
from ...registry import NECKS
from ..layers.init import init_linear_layers
from ..layers.pooling import last_map


@NECKS.register_module()
class DenseCLNeck(nn.Module):
    """Average pooling, fc, ReLU, fc for the image; 1 x 1 convolution, ReLU, 1 x 1 convolution for its positions.

    The layers stand in `mlp` and `mlp2`, with the official names.

    Args:
        in_channels: channels of the last map.
        hid_channels: width of both hidden layers; 2048 in the paper.
        out_channels: length of both outputs; 128 in the paper.
        num_grid: the map is first pooled to num_grid x num_grid cells; None keeps its positions, 7 x 7 at 224 pixels.
    """

    def __init__(
        self, in_channels: Count, hid_channels: Count, out_channels: Count, num_grid: Count | None = None
    ) -> None:
        super().__init__()
        self.in_channels, self.num_grid = in_channels, num_grid
        self.mlp = nn.Sequential(
            nn.Linear(in_channels, hid_channels), nn.ReLU(inplace=True), nn.Linear(hid_channels, out_channels)
        )
        self.mlp2 = nn.Sequential(
            nn.Conv2d(in_channels, hid_channels, 1), nn.ReLU(inplace=True), nn.Conv2d(hid_channels, out_channels, 1)
        )
        self.init_weights()

    def init_weights(self, init_linear: str = 'normal') -> None:
        """Set the linear layers, see `init_linear_layers`; the convolutions keep torch's weights, as in the official code."""
        init_linear_layers(self, init_linear)

    def forward(self, x: Tensor | Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """(B, out_channels) and (B, out_channels, h, w) from maps (B, in_channels, H, W), of which the last is used.

        Raises:
            ShapeError: the last map is not (B, in_channels, H, W).
        """
        x = last_map(x)
        if x.dim() != 4 or x.shape[1] != self.in_channels:
            raise ShapeError(
                f'DenseCLNeck reads maps of shape (B, {self.in_channels}, H, W), got {tuple(x.shape)}: '
                'set in_channels to the channels of the last map.'
            )
        cells = x if self.num_grid is None else F.adaptive_avg_pool2d(x, self.num_grid)
        return self.mlp(x.mean(dim=(2, 3))), self.mlp2(cells)
