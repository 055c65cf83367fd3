"""Stochastic depth (Huang et al. 2016, arXiv:1603.09382): leave out a residual branch at random, per image."""

from __future__ import annotations

from torch import Tensor, nn


class DropPath(nn.Module):
    """While training, zeroes the branch of an image with probability `rate` and divides the others by 1 - rate.

    Args:
        rate: in [0, 1); 0 does nothing.
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """`x` (B, ...), rows of it zeroed."""
        if not self.training or self.rate == 0:
            return x
        stays = x.new_empty((x.shape[0],) + (1,) * (x.dim() - 1)).bernoulli_(1 - self.rate)
        return x * (stays / (1 - self.rate))

    def extra_repr(self) -> str:
        return f'{self.rate:g}'
