"""BYOL: bootstrap your own latent.

Grill et al. 2020, arXiv 2006.07733: equation 1 (target), equation 2 (loss), section 3.2 (schedule of the momentum).

Axes: B images per process, D numbers per projection.

Differences from the paper: the loss has no constant + 2 per view, as in OpenSelfSup; batch statistics are those of one process
unless the config asks for SyncBN.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ....arguments import Share
from ....contracts import Progress
from ....registry import BACKBONES, HEADS, MODELS, NECKS
from ...layers.functional import l2_normalize
from ...layers.momentum import cosine_momentum, momentum_copy, momentum_update
from ..base import Algorithm, Backbone, Head, Neck, Step, build_part, init_neck


@MODELS.register_module()
class BYOL(Algorithm):
    """Prediction of a momentum network's projection of the other view.

    Args:
        backbone: config of a backbone, or a module.
        neck: config of the projection, `NonLinearNeckV2` in the paper.
        head: config of a `LatentPredictHead`, which holds the predictor.
        base_momentum: share of the OLD target weights kept at the start of training; 0.996 for 1000 epochs, 0.99 for 300.
        end_momentum: the same at its end. Both in [0, 1].
    """

    dataset = 'BYOLDataset'
    momentum: Tensor  # of the latest update, to log
    momentum_copies = (('backbone', 'target_backbone'), ('neck', 'target_neck'))

    def __init__(
        self,
        backbone: Backbone,
        neck: Neck,
        head: Head,
        base_momentum: Share = 0.996,
        end_momentum: Share = 1.0,
    ) -> None:
        super().__init__()
        self.backbone = build_part(BACKBONES, backbone)
        self.neck = build_part(NECKS, neck)
        init_neck(self.neck, 'kaiming')
        self.target_backbone, self.target_neck = momentum_copy(self.backbone), momentum_copy(self.neck)
        self.head = build_part(HEADS, head)
        self.base_momentum, self.end_momentum = base_momentum, end_momentum
        self.register_buffer('momentum', torch.tensor(float(base_momentum)))

    def loss(self, img: Tensor) -> Step:
        """Each view's prediction of the other view's target, summed over both directions; in [-4, 4].

        Args:
            img: (B, 2, C, H, W).
        """
        view1, view2 = self.split_views(img)
        online1 = self.neck(self.backbone(view1))  # (B, D); views apart: each has its own batch statistics
        online2 = self.neck(self.backbone(view2))
        with torch.no_grad():
            target1 = self.target_neck(self.target_backbone(view1))
            target2 = self.target_neck(self.target_backbone(view2))
        loss = self.head(online1, target2)['loss'] + self.head(online2, target1)['loss']
        return Step({'loss': loss}, {'momentum': self.momentum.clone()}, embedding=l2_normalize(online1.detach()))

    def momentum_at(self, progress: float) -> float:
        """Rises from `base_momentum` to `end_momentum`, see `cosine_momentum`."""
        return cosine_momentum(self.base_momentum, self.end_momentum, progress)

    @torch.no_grad()
    def after_update(self, carries: Sequence[dict[str, Tensor]], progress: Progress) -> None:
        """The target follows the online network (equation 1)."""
        momentum = self.momentum_at(progress)
        self.momentum.fill_(momentum)
        momentum_update(self.target_backbone, self.backbone, momentum)
        momentum_update(self.target_neck, self.neck, momentum)
