"""From maps with holes to dense maps (SparK, Tian et al. 2023, arXiv 2301.03580, section 3.2, "densifying")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from ...arguments import Count
from ...errors import ConfigError
from ...registry import NECKS
from ..layers.layer_norm2d import LayerNorm2d
from ..layers.masking import enlarge

if TYPE_CHECKING:
    from ..visible import MaskedMap, VisibleMap


@NECKS.register_module()
class SparKNeck(nn.Module):
    """Per level: norm over visible positions, a learned token at hidden ones, a convolution to the decoder's width.

    Levels are counted from the smallest map (0), as in the reference's state dict: `norms.{i}`, `mask_tokens.{i}`, `projs.{i}`.

    Args:
        in_channels: channels of the maps as the backbone returns them, largest map first. `SparK` fills it in.
        width: channels for level 0, halved from level to level; that of the decoder, which `SparK` fills in.
        levels: number of maps.
        norm: 'bn' (ResNets in the paper), 'ln' over channels (ConvNeXts) or 'none'.

    Raises:
        ConfigError: `in_channels` are not `levels` numbers, or `width` cannot be halved as often.
    """

    def __init__(
        self,
        in_channels: Sequence[Count] = (),
        width: Count = 768,
        levels: Count = 4,
        norm: Literal['bn', 'ln', 'none'] = 'bn',
    ) -> None:
        super().__init__()
        if len(in_channels) != levels:
            raise ConfigError(
                f'SparKNeck has levels={levels}, but the backbone returns {len(in_channels)} maps with {list(in_channels)} '
                f'channels: let it return {levels} (out_indices=(1, 2, 3, 4); timm counts those of ConvNeXts from 0), or set '
                'neck.levels.'
            )
        if width % 2 ** (levels - 1):
            raise ConfigError(
                f'SparKNeck width={width}: it is halved {levels - 1} times; use a multiple of {2 ** (levels - 1)}.'
            )
        self.levels = levels
        self.norms, self.projs, self.mask_tokens = nn.ModuleList(), nn.ModuleList(), nn.ParameterList()
        for level, channels in enumerate(reversed(in_channels)):
            self.norms.append({'bn': nn.BatchNorm2d, 'ln': LayerNorm2d, 'none': nn.Identity}[norm](channels))
            token = torch.empty(1, channels, 1, 1)
            self.mask_tokens.append(nn.Parameter(nn.init.trunc_normal_(token, std=0.02, a=-0.02, b=0.02)))
            if level == 0:  # as in the reference: nothing where the widths agree, else 1x1
                self.projs.append(nn.Identity() if channels == width else nn.Conv2d(channels, width, 1))
            else:
                self.projs.append(nn.Conv2d(channels, width >> level, 3, padding=1))

    def forward(self, maps: Sequence[VisibleMap | MaskedMap]) -> list[Tensor]:
        """Dense maps (B, width / 2 ** i, H_i, W_i), the smallest first, from the backbone's maps, the largest first."""
        dense = []
        for x, norm, token, proj in zip(reversed(maps), self.norms, self.mask_tokens, self.projs, strict=True):
            normed = norm(x).dense()
            shown = enlarge(x.visible, *normed.shape[-2:])[:, None]
            dense.append(proj(torch.where(shown, normed, token.to(normed.dtype))))
        return dense
