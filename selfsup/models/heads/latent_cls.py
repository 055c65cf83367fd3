"""Classification of a latent into classes that the network itself names."""

from __future__ import annotations

from typing import TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...arguments import Count
from ...registry import HEADS
from ..layers.functional import full_precision, top1_accuracy
from ..layers.init import init_linear_layers


class Classes(TypedDict):
    """What the linear layer reads, and into how many classes."""

    in_channels: Count
    num_classes: Count


@HEADS.register_module()
class LatentClsHead(nn.Module):
    """Cross entropy between the classes that one linear layer `predictor` gives to an input and, as labels, to its target.

    Args:
        predictor: `dict(in_channels=..., num_classes=...)`, settings without a type.
    """

    def __init__(self, predictor: Classes) -> None:
        super().__init__()
        self.predictor = nn.Linear(predictor['in_channels'], predictor['num_classes'])
        self.init_weights()

    def init_weights(self, init_linear: str = 'normal', std: float = 0.01) -> None:
        """See `init_linear_layers`."""
        init_linear_layers(self, init_linear, std)

    def forward(self, x: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Loss and accuracy.

        Args:
            x: (N, in_channels).
            target: (N, in_channels); its most likely class is the label, without a gradient.

        Returns:
            `loss`: mean over N; `acc`: percent.
        """
        scores = full_precision(self.predictor(x))
        with torch.no_grad():
            labels = self.predictor(target).argmax(dim=1)
        return {'loss': F.cross_entropy(scores, labels), 'acc': top1_accuracy(scores, labels)}
