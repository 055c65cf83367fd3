"""Features and labels that look like VOC2007's, small."""

from __future__ import annotations

import torch
from torch import Tensor


def make(images: int, width: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Normalised, ReLU-like features (images, width) float64 and labels (images, classes) of {1, 0, -1}."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(classes, width, generator=generator)
    mixing = torch.randn(30, width, generator=generator)
    generator.manual_seed(seed + 1)
    shown = torch.rand(images, classes, generator=generator) < 0.2
    nuisance = torch.randn(images, 30, generator=generator) * torch.arange(1, 31) ** -0.5
    noise = torch.randn(images, width, generator=generator)
    x = torch.relu(0.3 * shown.float() @ directions + 0.5 * nuisance @ mixing + 0.3 * noise).double()
    flip = torch.rand(images, classes, generator=generator)
    labels = torch.where(flip < 0.03, -1, torch.where(flip > 0.97, ~shown, shown).long())
    return x / (x.norm(dim=1, keepdim=True) + 1e-5), labels
