"""The decoder of FCMAE (Woo et al. 2023, arXiv 2301.00808, section 3.1, "decoder design")."""

from __future__ import annotations

from torch import nn

from ...arguments import Count
from ...registry import NECKS
from ..layers.convnext_block import ConvNeXtBlock


@NECKS.register_module()
class ConvNeXtV2Decoder(nn.Sequential):
    """Blocks of ConvNeXt V2 in a row: (B, width, h, w) -> the same shape. Hidden and visible cells alike; GRN per image.

    Args:
        width: channels; 512 in the paper.
        depth: number of blocks; 1 in the paper.
        kernel_size: of the depthwise convolutions.
    """

    def __init__(
        self,
        width: Count = 512,
        depth: Count = 1,
        kernel_size: Count = 7,
    ) -> None:
        super().__init__(*(ConvNeXtBlock(width, grn_scope='image', kernel_size=kernel_size) for _ in range(depth)))
        self.width = width
