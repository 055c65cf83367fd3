"""Projections with hidden layers, in the variants of ODC, MoCo v2, BYOL and SimCLR, with OpenSelfSup's names."""

from __future__ import annotations

from torch import Tensor, nn

from ...arguments import Count
from ...registry import NECKS
from ..layers.norm import batch_norm_1d
from .base import Projection


@NECKS.register_module()
class NonLinearNeckV0(Projection):
    """fc0, BN without weight and bias, ReLU, dropout, fc1, ReLU: the projection of ODC (arXiv 2006.10645, section 4).

    The output is not negative.

    Args:
        in_channels: channels of the last map.
        hid_channels: width of the hidden layer; 512 in ODC.
        out_channels: length of the output; 256 in ODC.
        sync_bn: normalise over all processes; falls back to BN with a warning where that cannot run.
        with_avg_pool: pool first; False flattens.
    """

    def __init__(
        self,
        in_channels: Count,
        hid_channels: Count,
        out_channels: Count,
        sync_bn: bool = False,
        with_avg_pool: bool = True,
    ) -> None:
        super().__init__(in_channels, with_avg_pool)
        self.fc0 = nn.Linear(in_channels, hid_channels)
        self.bn0 = batch_norm_1d(hid_channels, sync_bn, momentum=0.001, affine=False)
        self.fc1 = nn.Linear(hid_channels, out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.init_weights()

    def project(self, x: Tensor) -> Tensor:
        """(B, in_channels) -> (B, out_channels), >= 0."""
        return self.relu(self.fc1(self.drop(self.relu(self.bn0(self.fc0(x))))))


@NECKS.register_module()
class NonLinearNeckV1(Projection):
    """fc, ReLU, fc: the projection of MoCo v2 (arXiv 2003.04297, section 3).

    Args:
        in_channels: channels of the last map.
        hid_channels: width of the hidden layer; 2048 in the paper.
        out_channels: length of the output; 128 in the paper.
        with_avg_pool: pool first; False flattens.
    """

    def __init__(
        self,
        in_channels: Count,
        hid_channels: Count,
        out_channels: Count,
        with_avg_pool: bool = True,
    ) -> None:
        super().__init__(in_channels, with_avg_pool)
        self.mlp = nn.Sequential(
            nn.Linear(in_channels, hid_channels), nn.ReLU(inplace=True), nn.Linear(hid_channels, out_channels)
        )
        self.init_weights()

    def project(self, x: Tensor) -> Tensor:
        """(B, in_channels) -> (B, out_channels)."""
        return self.mlp(x)


@NECKS.register_module()
class NonLinearNeckV2(Projection):
    """fc, BN, ReLU, fc: projection and predictor of BYOL (arXiv 2006.07733, section 3.3).

    Args:
        in_channels: channels of the last map.
        hid_channels: width of the hidden layer; 4096 in the paper.
        out_channels: length of the output; 256 in the paper.
        with_avg_pool: pool first; False flattens.
    """

    def __init__(
        self,
        in_channels: Count,
        hid_channels: Count,
        out_channels: Count,
        with_avg_pool: bool = True,
    ) -> None:
        super().__init__(in_channels, with_avg_pool)
        self.mlp = nn.Sequential(
            nn.Linear(in_channels, hid_channels),
            nn.BatchNorm1d(hid_channels),
            nn.ReLU(inplace=True),
            nn.Linear(hid_channels, out_channels),
        )
        self.init_weights()

    def project(self, x: Tensor) -> Tensor:
        """(B, in_channels) -> (B, out_channels)."""
        return self.mlp(x)


@NECKS.register_module()
class NonLinearNeckSimCLR(Projection):
    """fc0, bn0, then (ReLU, fc_i, bn_i) for i = 1 ... num_layers - 1: the projection of SimCLR (arXiv 2002.05709, section 4.2).

    Args:
        in_channels: channels of the last map.
        hid_channels: width of the hidden layers; 2048 in the paper.
        out_channels: length of the output; 128 in the paper.
        num_layers: number of linear layers, >= 1 (with 1, `hid_channels` is the length of the output).
        sync_bn: normalise over all processes; falls back to BN with a warning where that cannot run.
        with_bias: linear layers have a bias.
        with_last_bn: a BN, with weight and bias, follows the last linear layer.
        with_avg_pool: pool first; False flattens.
    """

    def __init__(
        self,
        in_channels: Count,
        hid_channels: Count,
        out_channels: Count,
        num_layers: Count = 2,
        sync_bn: bool = True,
        with_bias: bool = False,
        with_last_bn: bool = True,
        with_avg_pool: bool = True,
    ) -> None:
        super().__init__(in_channels, with_avg_pool)
        self.num_layers = num_layers
        self.relu = nn.ReLU(inplace=True)
        for i in range(num_layers):
            c_in = in_channels if i == 0 else hid_channels
            c_out = out_channels if 0 < i == num_layers - 1 else hid_channels
            has_bn = with_last_bn or i < num_layers - 1 or i == 0
            self.add_module(f'fc{i}', nn.Linear(c_in, c_out, bias=with_bias))
            self.add_module(f'bn{i}', batch_norm_1d(c_out, sync_bn) if has_bn else nn.Identity())
        self.init_weights()

    def project(self, x: Tensor) -> Tensor:
        """(B, in_channels) -> (B, out_channels)."""
        for i in range(self.num_layers):
            x = getattr(self, f'bn{i}')(getattr(self, f'fc{i}')(self.relu(x) if i else x))
        return x
