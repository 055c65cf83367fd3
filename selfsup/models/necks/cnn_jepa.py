"""The parts of CNN-JEPA (arXiv 2408.07514, section 3) between the backbone and the loss: maps in, maps out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import torch
from annotated_types import Ge
from torch import Tensor, nn

from ...arguments import Count
from ...errors import ConfigError
from ...registry import NECKS
from ..layers.layer_norm2d import LayerNorm2d

if TYPE_CHECKING:
    from ..visible import MaskedMap, VisibleMap

NORMS = {'bn': nn.BatchNorm2d, 'ln': LayerNorm2d}
Map = TypeVar('Map', 'Tensor', 'VisibleMap', 'MaskedMap')


@NECKS.register_module()
class CNNJEPAPredictor(nn.Module):
    """A learned token at hidden positions, then `num_layers` times convolution, norm and ReLU over the whole map.

    The layers stand in `layers`, numbered as the `predictor` of the authors' code.

    Args:
        in_channels: C of the map. `CNNJEPA` fills it in.
        num_layers: convolutions of `kernel_size`.
        kernel_size: an odd number of positions.
        separable: each convolution is one per channel and a 1x1 one, both with a bias.
        norm: 'bn' (ResNets in the paper), 'ln' over channels (ConvNeXts).

    Raises:
        ConfigError: an even `kernel_size`, or no `in_channels`.
    """

    def __init__(
        self,
        in_channels: Count | None = None,
        num_layers: Count = 3,
        kernel_size: Annotated[int, Ge(1)] = 3,
        separable: bool = True,
        norm: Literal['bn', 'ln'] = 'bn',
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ConfigError(
                f'CNNJEPAPredictor needs an odd kernel_size, so that maps keep their size; got {kernel_size}.'
            )
        channels = _known(in_channels, self)
        layers: list[nn.Module] = []
        for _ in range(num_layers):
            groups = channels if separable else 1
            layers.append(nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=groups))
            layers += [nn.Conv2d(channels, channels, 1)] if separable else []
            layers += [NORMS[norm](channels), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.mask_token = nn.Parameter(torch.empty(1, channels, 1, 1))
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """(B, C, h, w) predicted, of the map `x` (B, C, h, w) and its visible positions (B, h, w) bool."""
        return self.layers(torch.where(visible[:, None], x, self.mask_token.to(x.dtype)))


@NECKS.register_module()
class CNNJEPAProjection(nn.Sequential):
    """A 1x1 convolution, a norm and a ReLU; of partly visible maps too. The released recipes go without.

    Args:
        out_channels: C of what is predicted.
        in_channels: of the map. `CNNJEPA` fills it in.
        norm: see `CNNJEPAPredictor`.

    Raises:
        ConfigError: no `in_channels`.
    """

    def __init__(self, out_channels: Count, in_channels: Count | None = None, norm: Literal['bn', 'ln'] = 'bn') -> None:
        super().__init__(nn.Conv2d(_known(in_channels, self), out_channels, 1), NORMS[norm](out_channels), nn.ReLU())
        self.out_channels = out_channels

    def forward(self, x: Map) -> Map:
        """(B, out_channels, h, w) of the same kind."""
        return super().forward(x)


def _known(in_channels: int | None, part: nn.Module) -> int:
    if in_channels is None:
        raise ConfigError(
            f'{type(part).__name__} needs in_channels, those of the map that it gets; CNNJEPA fills them in.'
        )
    return in_channels
