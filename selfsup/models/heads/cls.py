"""Linear classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...arguments import Count, Layer, NotNegative, ShareBelowOne
from ...registry import HEADS
from ..layers.functional import full_precision, top1_accuracy
from ..layers.init import init_linear_layers
from ..layers.norm import NORMS, build_norm, resolve_sync_bn
from ..layers.pooling import to_vector


@HEADS.register_module()
class ClsHead(nn.Module):
    """One linear layer `fc_cls` with cross entropy, or with a binary cross entropy for each class.

    Args:
        with_avg_pool: average over positions first; False flattens the last map.
        in_channels: numbers per image that the layer reads.
        num_classes: number of classes; labels are in [0, num_classes).
        norm_cfg: a norm of the vectors before the layer, such as ConvNeXt's `dict(type='LN', eps=1e-6)`; None for none.
        label_smoothing: eps in [0, 1): the class of an image has 1 - eps + eps / K of the target, the others eps / K each
            (arXiv:1512.00567, section 7). Soft targets are used as they are.
        init_std: standard deviation of the first weights; ConvNeXt: 0.02, ConvNeXt V2 fine-tuned: 2e-5, that is 0.02 times its
            `head_init_scale` of 0.001. None leaves weights and biases as torch draws them (timm's ResNets).
        criterion: 'ce': cross entropy; 'bce': the mean over images and classes of binary cross entropies (arXiv:2110.00476;
            SparK's ResNets).
    """

    def __init__(
        self,
        with_avg_pool: bool = False,
        in_channels: Count = 2048,
        num_classes: Count = 1000,
        norm_cfg: Annotated[dict | None, Layer(NORMS)] = None,
        label_smoothing: ShareBelowOne = 0.0,
        init_std: NotNegative | None = 0.01,
        criterion: Literal['ce', 'bce'] = 'ce',
    ) -> None:
        super().__init__()
        self.with_avg_pool, self.in_channels, self.num_classes = with_avg_pool, in_channels, num_classes
        self.label_smoothing, self.init_std, self.criterion = label_smoothing, init_std, criterion
        self.norm = nn.Identity() if norm_cfg is None else build_norm(resolve_sync_bn(norm_cfg, 'BN1d'), in_channels)[1]
        self.fc_cls = nn.Linear(in_channels, num_classes)
        self.init_weights()

    def init_weights(self, init_linear: str = 'normal', std: float | None = None) -> None:
        """See `init_linear_layers`; `std` None is `init_std`."""
        std = self.init_std if std is None else std
        if std is None and init_linear == 'normal':
            self.fc_cls.reset_parameters()
        else:
            init_linear_layers(self, init_linear, std or 0.0)

    def reset(self) -> None:
        """Forget the classes: initial weights again, drawn from torch's generator, for labels that were numbered anew."""
        self.init_weights()

    def forward(self, x: Tensor | Sequence[Tensor]) -> dict[str, Tensor]:
        """Logits `{'head0': (B, num_classes)}` of maps or vectors."""
        return self.classify(self.pool(x))

    def pool(self, maps: Tensor | Sequence[Tensor]) -> list[Tensor]:
        """What the norm and the linear layer read, [(B, in_channels)], as `classify` takes it: constant while the backbone is frozen."""
        return [to_vector(maps, self.in_channels, self.with_avg_pool, self)]

    def classify(self, pooled: Sequence[Tensor]) -> dict[str, Tensor]:
        """Logits of what `pool` returned."""
        return {'head0': self.fc_cls(self.norm(pooled[0]))}

    def loss(self, logits: dict[str, Tensor], labels: Tensor, weight: Tensor | None = None) -> dict[str, Tensor]:
        """Loss, by `criterion`, and top-1 accuracy.

        Args:
            logits: what `forward` returned.
            labels: (B,) int64, or soft targets (B, num_classes) float, as of `Mixup`.
            weight: (B,) factors of the images, >= 0, whose mean over the global batch is 1; None counts all alike.

        Returns:
            `loss`: mean over the batch; `acc`: percent, of the class with the largest share where targets are soft.
        """
        scores, classes = (
            full_precision(logits['head0']),
            labels.argmax(dim=1) if labels.is_floating_point() else labels,
        )
        reduction = 'mean' if weight is None else 'none'
        loss = (
            self._binary(scores, labels, reduction)
            if self.criterion == 'bce'
            else self._categorical(scores, labels, reduction)
        )
        if weight is not None:
            loss = (loss * weight).mean()
        return {'loss': loss, 'acc': top1_accuracy(scores, classes)}

    def _categorical(self, scores: Tensor, labels: Tensor, reduction: str) -> Tensor:
        """Cross entropy: a scalar, or (B,) with reduction 'none'."""
        if labels.is_floating_point():
            return F.cross_entropy(scores, labels.to(scores.dtype), reduction=reduction)
        return F.cross_entropy(scores, labels, reduction=reduction, label_smoothing=self.label_smoothing)

    def _binary(self, scores: Tensor, labels: Tensor, reduction: str) -> Tensor:
        """Mean over the classes of the binary cross entropies: a scalar, or (B,) with reduction 'none'."""
        if not labels.is_floating_point():
            off = self.label_smoothing / self.num_classes
            labels = torch.full_like(scores, off).scatter_(1, labels[:, None], 1 - self.label_smoothing + off)
        loss = F.binary_cross_entropy_with_logits(scores, labels.to(scores.dtype), reduction=reduction)
        return loss if reduction == 'mean' else loss.mean(dim=1)
