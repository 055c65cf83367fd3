"""The head of DINO: an MLP, a bottleneck of unit length, and a linear layer whose rows have a fixed length."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...arguments import Count
from ...registry import NECKS
from ..layers.functional import full_precision, l2_normalize
from .mlp import MLPNeck


class WeightNormLinear(nn.Module):
    """x W^T with rows W_k = g_k v_k / |v_k| (weight normalisation, arXiv:1602.07868), in full precision also under autocast.

    Its keys are those of torch's older `weight_norm`, as the released files of DINO have them; those of the newer
    parametrisation are read too.

    Args:
        in_channels: numbers per row of x.
        out_channels: rows K.
        fixed: the lengths g are 1 and stay so; False trains them.
    """

    weight_g: Tensor  # (K, 1)

    def __init__(self, in_channels: int, out_channels: int, fixed: bool) -> None:
        super().__init__()
        self.weight_v = nn.Parameter(nn.Linear(in_channels, out_channels, bias=False).weight.detach().clone())
        lengths = torch.ones(out_channels, 1)
        if fixed:
            self.register_buffer('weight_g', lengths)
        else:
            self.weight_g = nn.Parameter(lengths)
        self.register_load_state_dict_pre_hook(_read_new_names)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels) -> (B, K)."""
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(full_precision(x), self.weight_g * l2_normalize(self.weight_v))


def _read_new_names(_: nn.Module, state: dict[str, Tensor], prefix: str, *rest: object) -> None:
    for new, old in (('original0', 'weight_g'), ('original1', 'weight_v')):
        key = f'{prefix}parametrizations.weight.{new}'
        if key in state:
            state[prefix + old] = state.pop(key)


@NECKS.register_module()
class DINONeck(MLPNeck):
    """(linear, norm, GELU) x (num_layers - 1), linear, unit length, weight-normed linear (Caron et al. 2021, arXiv:2104.14294, appendix C).

    Linear layers of the MLP start with a truncated normal of standard deviation 0.02 and without bias, the last layer as torch's.
    Keys are those of the official `DINOHead`: `mlp.0.weight`, ..., `last_layer.weight_g`, `last_layer.weight_v`.

    Args:
        in_channels: channels of the last map, or length of the vectors.
        hid_channels: width of the hidden layers.
        bottleneck_channels: length of the vectors that the last layer reads.
        out_channels: K, outputs; 65536 on ImageNet, 2048 to 4096 on small sets.
        num_layers: linear layers of the MLP, >= 1.
        norm: after each hidden layer: 'BN', 'SyncBN', 'LN' or None.
        norm_last_layer: rows of the last layer keep length 1, which is more stable; False trains their lengths.
        with_avg_pool: average maps over positions first; False flattens. Vectors are read as they are.
    """

    def __init__(
        self,
        in_channels: Count,
        hid_channels: Count = 2048,
        bottleneck_channels: Count = 256,
        out_channels: Count = 65536,
        num_layers: Count = 3,
        norm: Literal['BN', 'SyncBN', 'LN'] | None = None,
        norm_last_layer: bool = True,
        with_avg_pool: bool = True,
    ) -> None:
        super().__init__(
            in_channels,
            hid_channels,
            bottleneck_channels,
            num_layers,
            norm,
            bias=True,
            activation='gelu',
            with_avg_pool=with_avg_pool,
        )
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.out_channels = out_channels
        self.last_layer = WeightNormLinear(bottleneck_channels, out_channels, fixed=norm_last_layer)

    def init_weights(self, init_linear: str = '') -> None:
        """Keeps the weights that DINO starts from."""

    def project(self, x: Tensor) -> Tensor:
        """(B, in_channels) -> logits (B, K), each a cosine times the length of its row."""
        return self.last_layer(l2_normalize(self.mlp(x)))
