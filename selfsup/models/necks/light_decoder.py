"""The U-Net decoder of SparK (Tian et al. 2023, arXiv 2301.03580, section 3.2 and appendix A)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from ...errors import ConfigError
from ...registry import NECKS
from ..layers.norm import build_norm, resolve_sync_bn


class UpBlock(nn.Module):
    """Twice the size: a 4x4 transposed convolution, then two 3x3 convolutions with norms and a ReLU6 between them.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        norm_cfg: see `build_norm`.
    """

    def __init__(self, in_channels: int, out_channels: int, norm_cfg: dict) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, in_channels, 4, stride=2, padding=1)
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 3, padding=1, bias=False), build_norm(norm_cfg, in_channels)[1], nn.ReLU6(inplace=True),
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False), build_norm(norm_cfg, out_channels)[1])

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, 2H, 2W)."""
        return self.conv(self.up(x))


@NECKS.register_module()
class LightDecoder(nn.Module):
    """Maps of ever larger size are added on the way up to an image of full resolution.

    Args:
        width: channels of the smallest map; every block halves them. 768 in the paper.
        stride: of the smallest map, a power of two: log2(stride) blocks lead to full resolution. `SparK` fills it in.
        out_channels: channels of the images. `SparK` fills it in.
        norm_cfg: of the blocks, e.g. `dict(type='SyncBN')`.

    Raises:
        ConfigError: `stride` is no power of two above 1, `width` cannot be halved as often, or `out_channels` is below 1.
    """

    def __init__(self, width: int = 768, stride: int = 32, out_channels: int = 3, norm_cfg: dict | None = None) -> None:
        super().__init__()
        if stride < 2 or stride & (stride - 1):
            raise ConfigError(f'LightDecoder stride={stride}: it doubles the size in every block, so it needs a network whose last map has '
                              'a stride of 2, 4, 8, 16, 32, ...')
        if width % stride:
            raise ConfigError(f'LightDecoder width={width}: it is halved log2({stride}) times; use a multiple of {stride}.')
        if type(out_channels) is not int or out_channels < 1:
            raise ConfigError(f'LightDecoder out_channels={out_channels!r}: give the channels of the images, 1 or more.')
        self.width, self.out_channels = width, out_channels
        norm_cfg = resolve_sync_bn({'type': 'BN'} if norm_cfg is None else norm_cfg)
        channels = [width >> i for i in range(stride.bit_length())]
        self.blocks = nn.ModuleList(UpBlock(c_in, c_out, norm_cfg) for c_in, c_out in pairwise(channels))
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
