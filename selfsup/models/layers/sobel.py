"""Edges instead of colours, the input of DeepCluster (arXiv 1807.05520, section 4.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Sobel(nn.Module):
    """Mean over the channels, then horizontal and vertical 3x3 Sobel filters. Nothing in it is trained.

    Images of any number of channels have edges: the mean is over all of them, each of the same weight, as over R, G and B in the paper.

    Input (B, C, H, W), after normalisation, output (B, 2, H, W): first the derivative along W, then along H; zero padding.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        along_w = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
        self.register_buffer('kernel', torch.stack([along_w, along_w.t()])[:, None], persistent=False)

    def forward(self, img: Tensor) -> Tensor:
        return F.conv2d(img.mean(dim=1, keepdim=True), self.kernel.to(img.dtype), padding=1)
