"""From what a backbone returns to one vector per image."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ...errors import ShapeError


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
        raise ShapeError(f'{type(owner).__name__} has in_channels={channels}, but its input of shape {tuple(source.shape)} gives '
                         f'{x.shape[1]} per image (with_avg_pool={with_avg_pool}): set in_channels={x.shape[1]}.')
    return x
