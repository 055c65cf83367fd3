"""Multi-crop batches whose crops are vectors, as the goldens of the multi-crop methods have them."""

from __future__ import annotations

from torch import Tensor, nn


class Same(nn.Module):
    """A backbone that gives its images as maps."""

    out_channels = 0

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (x,)


def groups_of(crops: Tensor, large: int = 2) -> list[Tensor]:
    """(V, B, D) -> the groups (B, V', D, 1, 1) of the first `large` crops and of the others."""
    images = crops.transpose(0, 1)[..., None, None]
    return [images[:, :large], images[:, large:]]
