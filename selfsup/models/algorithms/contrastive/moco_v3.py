"""MoCo v3: momentum contrast without a queue, for ResNets.

Chen, Xie and He 2021, arXiv 2104.02057: algorithm 1 (loss, predictor, momentum encoder), appendix (settings of ResNet-50).

Axes: B images per process, N of all processes, D numbers per embedding.

Difference from algorithm 1: the momentum encoder moves after the optimizer step, with the momentum of the iteration that follows. That
gives the keys of algorithm 1, which moves it within the step before the keys are made; the move of the very first step changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .... import distributed
from ....arguments import Positive, Share
from ....contracts import Progress
from ....registry import BACKBONES, MODELS, NECKS
from ...layers.functional import l2_normalize, require_same_length
from ...layers.momentum import cosine_momentum, momentum_copy, momentum_update
from ..base import Algorithm, Backbone, Neck, Step, build_part, init_neck, refuse_lonely_images
from .in_batch import find_own


@MODELS.register_module()
class MoCoV3(Algorithm):
    """A prediction of one view's embedding finds the momentum encoder's embedding of the other view among those of all images.

    Args:
        backbone: config of a backbone, or a module.
        neck: config of the projection; the momentum encoder has one too.
        predictor: config of the predictor, a neck that reads vectors.
        temperature: similarities are divided by it, > 0; 1.0 for ResNets, 0.2 for transformers.
        base_momentum: share of the OLD weights of the momentum encoder kept at the start of training; 0.99, or 0.996 for 1000 epochs.
        end_momentum: the same at its end, reached along a cosine. Both in [0, 1].
    """

    dataset = 'BYOLDataset'
    momentum: Tensor  # of the latest update, to log
    momentum_copies = (('backbone', 'key_backbone'), ('neck', 'key_neck'))

    def __init__(
        self,
        backbone: Backbone,
        neck: Neck,
        predictor: Neck,
        temperature: Positive = 1.0,
        base_momentum: Share = 0.99,
        end_momentum: Share = 1.0,
    ) -> None:
        super().__init__()
        self.backbone = build_part(BACKBONES, backbone)
        self.neck = build_part(NECKS, neck)
        self.predictor = build_part(NECKS, predictor)
        for part in (self.neck, self.predictor):
            init_neck(part, 'kaiming')
        self.key_backbone, self.key_neck = momentum_copy(self.backbone), momentum_copy(self.neck)
        self.temperature = temperature
        self.base_momentum, self.end_momentum = base_momentum, end_momentum
        self.register_buffer('momentum', torch.tensor(float(base_momentum)))

    def check_data(self, images: int, batches: Sequence[int]) -> None:
        """With one image there is none to tell it from: the loss is constant and the accuracy 100 %."""
        refuse_lonely_images(
            f'{type(self).__name__} contrasts each image with the others of its batch', images, batches
        )

    def loss(self, img: Tensor) -> Step:
        """Contrast of each view's prediction with the keys of the other view, summed over both directions.

        Args:
            img: (B, 2, C, H, W).

        Raises:
            ShapeError: predictions are not as long as keys.
        """
        view1, view2 = self.split_views(img)
        # (B, D); views apart: each has its own batch statistics
        q1, q2 = (l2_normalize(self.predictor(self.neck(self.backbone(view)))) for view in (view1, view2))
        with torch.no_grad():
            k1 = l2_normalize(self.key_neck(self.key_backbone(view1)))
            k2 = l2_normalize(self.key_neck(self.key_backbone(view2)))
        require_same_length(self, q1, k1)
        (loss1, acc1), (loss2, acc2) = contrast(q1, k2, self.temperature), contrast(q2, k1, self.temperature)
        logs = {'acc': (acc1 + acc2) / 2, 'momentum': self.momentum.clone()}
        return Step({'loss': loss1 + loss2}, logs, embedding=q1.detach())

    @torch.no_grad()
    def after_update(self, carries: Sequence[dict[str, Tensor]], progress: Progress) -> None:
        """The momentum encoder follows, ready for the next iteration: so with the momentum of that iteration."""
        momentum = cosine_momentum(self.base_momentum, self.end_momentum, progress.next)
        self.momentum.fill_(momentum)
        momentum_update(self.key_backbone, self.backbone, momentum)
        momentum_update(self.key_neck, self.neck, momentum)


def contrast(q: Tensor, k: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """`ctr` of algorithm 1: cross entropy times 2 * temperature, so that its gradient does not depend on the temperature's size.

    Args:
        q: (B, D) unit vectors, predictions of this process.
        k: (B, D) unit vectors, keys of this process; all processes' are compared with, without a gradient.
        temperature: similarities are divided by it.

    Returns:
        The loss, and the share of predictions that are most similar to their own key, in percent.
    """
    loss, accuracy = find_own(q, distributed.gather_no_grad(k), temperature)
    return 2 * temperature * loss, accuracy
