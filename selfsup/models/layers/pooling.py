"""From what a backbone returns to one vector per image."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from ...errors import ShapeError

# Per layer of a ResNet, 0 = stem: side of its map at 224 pixels, (kernel, stride, padding) of the average pooling that leaves
# about 9,000 numbers, side of the result (Goyal et al. 2019, arXiv 1905.01235, appendix).
LAYER_WINDOWS = (
    (112, (10, 10, 4), 12),
    (56, (16, 8, 0), 6),
    (28, (13, 5, 0), 4),
    (14, (8, 3, 0), 3),
    (7, (6, 1, 0), 2),
)


def last_map(x: Tensor | Sequence[Tensor]) -> Tensor:
    """The last of a backbone's feature maps; a tensor is returned as it is."""
    return x if isinstance(x, Tensor) else x[-1]


def global_average(x: Tensor | Sequence[Tensor]) -> Tensor:
    """Mean over positions of the last map: (B, C, H, W) -> (B, C); vectors (B, C) pass unchanged."""
    x = last_map(x)
    return x.mean(dim=(2, 3)) if x.dim() == 4 else x


def to_vector(x: Tensor | Sequence[Tensor], channels: int, with_avg_pool: bool, owner: object) -> Tensor:
    """The input of a linear layer: the last map, pooled or flattened.

    Args:
        x: maps (B, C, H, W), the last of which is used, or one map, or vectors (B, C).
        channels: how many numbers per image the layer reads.
        with_avg_pool: average over positions; otherwise all of them are kept, flattened in the order C, H, W.
        owner: the neck or head that asks, for the message.

    Raises:
        ShapeError: there are not `channels` numbers per image.
    """
    source = last_map(x)
    x = global_average(source) if with_avg_pool else source.flatten(1)
    if x.shape[1] != channels:
        raise ShapeError(
            f'{type(owner).__name__} has in_channels={channels}, but its input of shape {tuple(source.shape)} gives '
            f'{x.shape[1]} per image (with_avg_pool={with_avg_pool}): set in_channels={x.shape[1]}.'
        )
    return x


def pool_layer(x: Tensor, layer: int, adaptive: bool) -> Tensor:
    """Average-pool the map of one layer to about 9,000 numbers.

    Args:
        x: (B, C, H, W).
        layer: 0 (stem) to 4.
        adaptive: as many equal cells, whatever the size of the map; else the window made for 224 pixels.

    Raises:
        ShapeError: the map is smaller than the window.
    """
    _, (kernel, stride, padding), side = LAYER_WINDOWS[layer]
    if adaptive:
        return F.adaptive_avg_pool2d(x, side)
    if min(x.shape[2:]) + 2 * padding < kernel:
        raise ShapeError(
            f'The map of layer {layer} is {x.shape[2]} x {x.shape[3]}, smaller than its window of {kernel}: use images of '
            "about 224 pixels, or pool_type='adaptive'."
        )
    return F.avg_pool2d(x, kernel, stride, padding)
