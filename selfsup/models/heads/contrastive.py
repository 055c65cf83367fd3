"""InfoNCE (van den Oord et al., arXiv 1807.03748, equation 4; MoCo, arXiv 1911.05722, equation 1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...arguments import Positive
from ...registry import HEADS
from ..layers.functional import full_precision, top1_accuracy


@HEADS.register_module()
class ContrastiveHead(nn.Module):
    """Cross entropy of picking the positive among the positive and the negatives.

    Args:
        temperature: similarities are divided by it, > 0; 0.07 in MoCo, 0.2 in MoCo v2, 0.1 in SimCLR.
    """

    def __init__(self, temperature: Positive = 0.1) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, pos: Tensor, neg: Tensor) -> dict[str, Tensor]:
        """Loss and accuracy.

        Args:
            pos: (N, 1) similarity with the positive.
            neg: (N, K) similarities with the negatives.

        Returns:
            `loss`: mean over N; `acc`: share of rows whose positive is above all negatives, in percent.
        """
        logits = full_precision(torch.cat([pos, neg], dim=1)) / self.temperature
        target = logits.new_zeros(len(logits), dtype=torch.long)
        return {'loss': F.cross_entropy(logits, target), 'acc': top1_accuracy(logits, target)}
