"""The projections and predictors of the joint-embedding methods: linear layers with a norm and an activation between them."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ...arguments import Count
from ...registry import NECKS
from ..layers.norm import batch_norm_1d
from .base import Projection

Norm = Literal['BN', 'SyncBN', 'LN']
LastNorm = Literal['BN', 'SyncBN', 'LN', 'BN-', 'SyncBN-']  # with a minus: without weight and bias
ACTIVATIONS = {'relu': nn.ReLU, 'gelu': nn.GELU}


def _norm(kind: str | None, channels: int) -> list[nn.Module]:
    if kind is None:
        return []
    if kind == 'LN':
        return [nn.LayerNorm(channels)]
    return [batch_norm_1d(channels, kind.startswith('SyncBN'), affine=not kind.endswith('-'))]


@NECKS.register_module()
class MLPNeck(Projection):
    """(linear, norm, activation) x (num_layers - 1), linear, norm; torch's initial weights, as the official codes have.

    The layers stand in `mlp`, numbered as in the official codes: `mlp.0` linear, `mlp.1` norm, `mlp.2` activation, `mlp.3` linear, ...

    Args:
        in_channels: channels of the last map, or length of the vectors.
        hid_channels: width of the hidden layers.
        out_channels: length of the output.
        num_layers: linear layers, >= 1.
        norm: after each hidden layer: 'BN', 'SyncBN' (over all processes, where that can run), 'LN' or None.
        last_norm: after the last layer; 'BN-' and 'SyncBN-' have no weight and bias (affine=False).
        bias: the hidden layers have one.
        last_bias: the last layer has one.
        activation: 'relu', or 'gelu' (with the error function).
        with_avg_pool: average maps over positions first; False flattens. Vectors are read as they are.
    """

    def __init__(
        self,
        in_channels: Count,
        hid_channels: Count,
        out_channels: Count,
        num_layers: Count = 2,
        norm: Norm | None = 'BN',
        last_norm: LastNorm | None = None,
        bias: bool = False,
        last_bias: bool = True,
        activation: Literal['relu', 'gelu'] = 'relu',
        with_avg_pool: bool = True,
    ) -> None:
        super().__init__(in_channels, with_avg_pool)
        widths = [in_channels, *[hid_channels] * (num_layers - 1), out_channels]
        layers: list[nn.Module] = []
        for i in range(num_layers - 1):
            layers += [
                nn.Linear(widths[i], widths[i + 1], bias),
                *_norm(norm, widths[i + 1]),
                ACTIVATIONS[activation](),
            ]
        self.mlp = nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1], last_bias), *_norm(last_norm, widths[-1]))

    def init_weights(self, init_linear: str = '') -> None:
        """Keeps torch's weights: the methods that use this neck start from them."""

    def project(self, x: Tensor) -> Tensor:
        """(B, in_channels) -> (B, out_channels)."""
        return self.mlp(x)
