"""The U-Net decoder of SparK (Tian et al. 2023, arXiv 2301.03580, section 3.2 and appendix A)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from annotated_types import Ge
from torch import Tensor, nn

from ...arguments import Count, Layer
from ...errors import ConfigError
from ...registry import NECKS
from ..layers.norm import NORMS, build_norm, resolve_sync_bn


class UpBlock(nn.Module):
    """Twice the size: a 4x4 transposed convolution, then two 3x3 convolutions with norms and a ReLU6 between them.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        norm_cfg: see `build_norm`.
        factor: another enlargement, with a kernel of two more than that: neighbours overlap by two pixels in each case.
    """

    def __init__(self, in_channels: int, out_channels: int, norm_cfg: dict, factor: int = 2) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, in_channels, factor + 2, stride=factor, padding=1)
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 3, padding=1, bias=False),
            build_norm(norm_cfg, in_channels)[1],
            nn.ReLU6(inplace=True),
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            build_norm(norm_cfg, out_channels)[1],
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, factor * H, factor * W)."""
        return self.conv(self.up(x))


def enlargements(stride: int) -> list[int]:
    """Factors whose product is `stride`: the twos first, which is where maps of other stages come in, then the odd primes."""
    factors, factor = [], 2
    while stride > 1:
        while stride % factor == 0:
            factors.append(factor)
            stride //= factor
        factor += 1
    return factors


@NECKS.register_module()
class LightDecoder(nn.Module):
    """Maps of ever larger size are added on the way up to an image of full resolution.

    Args:
        width: channels of the smallest map; every block halves them. 768 in the paper.
        stride: of the smallest map: log2(stride) blocks lead to full resolution, or, for a stride that is no power of two (14 for a
            ConvMixer), one block for each of its prime factors. `SparK` fills it in.
        out_channels: channels of the images. `SparK` fills it in.
        norm_cfg: of the blocks, e.g. `dict(type='SyncBN')`.

    Raises:
        ConfigError: `width` cannot be halved once per block.
    """

    def __init__(
        self,
        width: Count = 768,
        stride: Annotated[int, Ge(2)] = 32,
        out_channels: Count = 3,
        norm_cfg: Annotated[dict | None, Layer(NORMS)] = None,
    ) -> None:
        super().__init__()
        factors = enlargements(stride)
        if width % 2 ** len(factors):
            raise ConfigError(
                f'LightDecoder width={width}: it is halved {len(factors)} times from a stride of {stride} on; use a multiple '
                f'of {2 ** len(factors)}.'
            )
        self.width, self.out_channels = width, out_channels
        norm_cfg = resolve_sync_bn({'type': 'BN'} if norm_cfg is None else norm_cfg)
        channels = [width >> i for i in range(len(factors) + 1)]
        self.blocks = nn.ModuleList(
            UpBlock(c_in, c_out, norm_cfg, factor)
            for (c_in, c_out), factor in zip(pairwise(channels), factors, strict=True)
        )
        self.proj = nn.Conv2d(channels[-1], out_channels, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)
            elif isinstance(module, nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Images (B, out_channels, H, W) from maps (B, width / 2 ** i, H / stride * 2 ** i, ...), the smallest first."""
        x = None
        for level, block in enumerate(self.blocks):
            if level < len(maps):
                x = maps[level] if x is None else x + maps[level]
            x = block(x)
        return self.proj(x)
