"""Linear classifier."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ...registry import HEADS
from ..layers.functional import full_precision, top1_accuracy
from ..layers.init import init_linear_layers
from ..layers.pooling import to_vector


@HEADS.register_module()
class ClsHead(nn.Module):
    """One linear layer `fc_cls` with cross entropy.

    Args:
        with_avg_pool: average over positions first; False flattens the last map.
        in_channels: numbers per image that the layer reads.
        num_classes: number of classes; labels are in [0, num_classes).
    """

    def __init__(self, with_avg_pool: bool = False, in_channels: int = 2048, num_classes: int = 1000) -> None:
        super().__init__()
        self.with_avg_pool, self.in_channels, self.num_classes = with_avg_pool, in_channels, num_classes
        self.fc_cls = nn.Linear(in_channels, num_classes)
        self.init_weights()

    def init_weights(self, init_linear: str = 'normal', std: float = 0.01) -> None:
        """See `init_linear_layers`."""
        init_linear_layers(self, init_linear, std)

    def forward(self, x: Tensor | Sequence[Tensor]) -> dict[str, Tensor]:
        """Logits `{'head0': (B, num_classes)}` of maps or vectors."""
        return {'head0': self.fc_cls(to_vector(x, self.in_channels, self.with_avg_pool, self))}

    def loss(self, logits: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Cross entropy and top-1 accuracy.

        Args:
            logits: what `forward` returned.
            labels: (B,) int64.

        Returns:
            `loss`: mean over the batch; `acc`: percent.
        """
        scores = full_precision(logits['head0'])
        return {'loss': F.cross_entropy(scores, labels), 'acc': top1_accuracy(scores, labels)}
