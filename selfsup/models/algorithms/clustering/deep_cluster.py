"""DeepCluster: classification of images into clusters of their own features.

Caron et al. 2018, arXiv 1807.05520: equation 2, section 3.3 (uniform sampling, reweighting), section 4.1 (Sobel input).

Axes: B images per process, K clusters, D numbers per feature.

The clusters come from `DeepClusterHook`, between epochs: it reads `embed`, assigns labels to the dataset, renews `head` and may call
`set_reweight`. Differences from OpenSelfSup: with weights, W processes have exactly the loss of one process with the joined
batch (there, each process divided by the weights of its own share); the weights are in the state dict.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .... import distributed
from ....errors import ConfigError
from ....registry import BACKBONES, HEADS, MODELS, NECKS
from ...layers.functional import class_weights, l2_normalize
from ...layers.sobel import Sobel
from ..base import Algorithm, Backbone, Head, Neck, Step, build_part, init_neck


@MODELS.register_module()
class DeepCluster(Algorithm):
    """A classifier of pseudo labels.

    Args:
        backbone: config of a backbone, or a module; `in_channels=2` with `with_sobel`.
        neck: config of what makes a feature vector of the last map.
        head: config of a `ClsHead` with one class per cluster.
        with_sobel: the backbone sees edges.
    """

    dataset = 'DeepClusterDataset'
    loss_weight: Tensor  # (K,), of each cluster

    def __init__(self, backbone: Backbone, neck: Neck, head: Head, with_sobel: bool = False) -> None:
        super().__init__()
        self.sobel = Sobel() if with_sobel else nn.Identity()
        self.backbone = build_part(BACKBONES, backbone)
        self.neck = build_part(NECKS, neck)
        init_neck(self.neck, 'kaiming')
        self.head = build_part(HEADS, head)
        self.register_buffer('loss_weight', torch.ones(self.head.num_classes))
        self._labelled = False  # labels were seen to be assigned: asked once, because asking makes a GPU wait

    def extract(self, img: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of the backbone for images (B, C, H, W), or for their edges."""
        return self.backbone(self.sobel(self.single_view(img)))

    def trial(self, batch: dict[str, Tensor]) -> None:
        """As `loss`, without labels: before training there are none."""
        self.head(self.embed(batch['img']))

    def embed(self, img: Tensor) -> Tensor:
        """(B, D): output of the neck for the last map, what is clustered."""
        return self.neck(self.extract(img)).flatten(1)

    def loss(self, img: Tensor, pseudo_label: Tensor, idx: Tensor | None = None) -> Step:
        """Cross entropy with the pseudo labels, weighted by cluster.

        Args:
            img: (B, C, H, W).
            pseudo_label: (B,) int64, in [0, K).
            idx: not read; `DeepClusterDataset` gives it.

        Raises:
            ConfigError: nothing has assigned labels.
        """
        if not self._labelled and int(pseudo_label.min()) < 0:
            raise ConfigError(
                "DeepCluster has no pseudo labels: add custom_hooks=[dict(type='DeepClusterHook', ...)], which assigns them."
            )
        self._labelled = True
        z = self.embed(img)
        weight = self.loss_weight[pseudo_label]
        out = self.head.loss(self.head(z), pseudo_label, weight / distributed.mean(weight.mean()))
        return Step({'loss': out['loss']}, {'acc': out['acc']}, embedding=l2_normalize(z.detach()))

    def set_reweight(self, labels: Tensor, reweight_pow: float = 0.5) -> None:
        """Weight each cluster by its size to the power `-reweight_pow`.

        Args:
            labels: (N,) int64, of the whole data set.
            reweight_pow: 0 is no weighting, 1 gives all clusters the same total weight.
        """
        labels = torch.as_tensor(labels, device=self.loss_weight.device)
        self.loss_weight.copy_(class_weights(labels, len(self.loss_weight), reweight_pow, eps=1e-10))

    def predict(self, img: Tensor) -> dict[str, Tensor]:
        """Logits `{'head0': (B, K)}` of the clusters."""
        return self.head(self.embed(img))
