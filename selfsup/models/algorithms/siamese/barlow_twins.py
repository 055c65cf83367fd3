"""Barlow Twins: self-supervised learning via redundancy reduction.

Zbontar et al. 2021, arXiv 2103.03230: equations 1 (loss) and 2 (cross-correlation), algorithm 1.

Axes: B images per process, W processes, N = B * W images in all, D numbers per embedding.

Differences from the official code:
- Its sum of the correlation over processes has no gradient, so under DDP its parameters get 1 / W of the gradient; here W processes have
  exactly the gradient of one process with the joined batch. `scale=1 / W` gives the official step (its README trains on W = 16).
- The embeddings of all processes are gathered, so that their norm sees all images also on CPUs, and where N < D no D x D matrix is made.
- N is the size of the batch at hand, also for a short last one. The running statistics of the last norm, which nothing reads, are not kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .... import distributed
from ....arguments import NotNegative, Positive
from ....registry import BACKBONES, MODELS, NECKS
from ...layers.functional import full_precision, l2_normalize, off_diagonal_squares
from ..base import Algorithm, Backbone, Neck, Step, build_part, init_neck, refuse_lonely_images


def standardize(z: Tensor) -> Tensor:
    """Columns of `z` (N, D) with mean 0 and variance 1, as a batch norm without weight and bias; in full precision."""
    return F.batch_norm(full_precision(z), None, None, training=True, eps=1e-5)


def correlation_terms(z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor]:
    """How far the correlation C = z1^T z2 / N is from the identity (equation 1).

    Args:
        z1, z2: (N, D) standardized embeddings of the two views.

    Returns:
        Sum of (C_ii - 1)^2, sum of C_ij^2 over i != j.
    """
    diagonal = (z1 * z2).mean(dim=0)
    return (diagonal - 1).square().sum(), off_diagonal_squares(z1, z2) / len(z1) ** 2


@MODELS.register_module()
class BarlowTwins(Algorithm):
    """The correlation between the embeddings of two views, over the global batch, becomes the identity.

    Args:
        backbone: config of a backbone, or a module.
        neck: config of the projection; in the paper an `MLPNeck` of three layers of 8192, with batch norm, without biases.
        off_diagonal_weight: of the redundancy term, lambda in the paper.
        scale: factor of the whole loss; LARS cancels it for weights but for their decay, not for biases and norms.
    """

    dataset = 'BYOLDataset'

    def __init__(
        self, backbone: Backbone, neck: Neck, off_diagonal_weight: NotNegative = 0.0051, scale: Positive = 1.0
    ) -> None:
        super().__init__()
        self.backbone = build_part(BACKBONES, backbone)
        self.neck = build_part(NECKS, neck)
        init_neck(self.neck, 'kaiming')
        self.off_diagonal_weight, self.scale = off_diagonal_weight, scale

    def check_data(self, images: int, batches: Sequence[int]) -> None:
        """One image has no correlation."""
        refuse_lonely_images('BarlowTwins correlates embeddings over the images of a batch', images, batches)

    def loss(self, img: Tensor) -> Step:
        """Equation 1 over the images of all processes; its two terms are logged without weight and scale.

        Args:
            img: (B, 2, C, H, W).
        """
        z1, z2 = (full_precision(self.neck(self.backbone(view))) for view in self.split_views(img))
        everyone = distributed.gather(torch.cat([z1, z2], dim=1))  # (N, 2D)
        on_diagonal, off_diagonal = correlation_terms(*(standardize(z) for z in everyone.chunk(2, dim=1)))
        loss = self.scale * (on_diagonal + self.off_diagonal_weight * off_diagonal)
        logs = {'on_diagonal': on_diagonal.detach(), 'off_diagonal': off_diagonal.detach()}
        return Step({'loss': loss}, logs, embedding=l2_normalize(z1.detach()))
