"""Feature pyramid (Lin et al. 2017, arXiv:1612.03144), torchvision's, as a neck of detectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Len
from torch import Tensor, nn

from ...arguments import Count, Layer
from ...errors import ShapeError
from ...registry import NECKS
from ..layers.layer_norm2d import LayerNorm2d
from ..layers.norm import NORMS, norm_layer


@NECKS.register_module()
class FPN(nn.Module):
    """Maps of several strides -> as many maps of equal width, and one more of half the last one's size (for large anchors).

    Args:
        in_channels: channels of the backbone's maps, largest map first, each of half the size of the one before.
        out_channels: channels of the pyramid; the paper's 256.
        norm_cfg: norm after each of its convolutions, such as dict(type='SyncBN'); None: none, with biases.
        input_norm: a layer norm over the channels of each map first, as detectors with a ConvNeXt have: its stages end without a norm.

    Attributes:
        levels: names of the maps, in order; the last is 'pool'.
    """

    def __init__(
        self,
        in_channels: Annotated[Sequence[Count], Len(1)],
        out_channels: Count = 256,
        norm_cfg: Annotated[dict | None, Layer(NORMS)] = None,
        input_norm: bool = False,
    ) -> None:
        super().__init__()
        from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

        self.in_channels, self.out_channels = tuple(in_channels), out_channels
        self.levels = (*(str(i) for i in range(len(self.in_channels))), 'pool')
        self.norms = nn.ModuleList(
            LayerNorm2d(channels) if input_norm else nn.Identity() for channels in self.in_channels
        )
        self.pyramid = FeaturePyramidNetwork(
            list(self.in_channels), out_channels, LastLevelMaxPool(), norm_layer(norm_cfg)
        )

    def init_weights(self, init_linear: str = 'normal') -> None:
        """Nothing to do: torchvision has drawn the weights, which are convolutions."""

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Name of each of `levels` -> map (B, out_channels, H, W), largest first.

        Raises:
            ShapeError: not as many maps as `in_channels`, or of other channels.
        """
        channels = tuple(x.shape[1] for x in maps)
        if channels != self.in_channels:
            raise ShapeError(
                f'FPN has in_channels={self.in_channels}, but the maps have {channels} channels: set in_channels, or '
                'out_indices of the backbone.'
            )
        return self.pyramid({name: norm(x) for name, norm, x in zip(self.levels, self.norms, maps, strict=False)})
