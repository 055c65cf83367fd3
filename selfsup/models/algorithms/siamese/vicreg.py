"""VICReg: variance-invariance-covariance regularization for self-supervised learning.

Bardes et al. 2021, arXiv 2105.04906: equations 1 (variance), 3 and 4 (covariance), 5 (invariance), 6 (loss), algorithm 1.

Axes: B images per process, N images of all processes, D numbers per embedding.

Factors are those of the official code, which trained the published networks: the invariance is a mean over the D numbers (equation 5 has
their sum), and each view has half of the variance term (equation 6 has no half). Here N is the size of the batch at hand, there always
the nominal one, so that a short last batch there has smaller covariances.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .... import distributed
from ....arguments import NotNegative
from ....registry import BACKBONES, MODELS, NECKS
from ...layers.functional import full_precision, l2_normalize, off_diagonal_squares
from ..base import Algorithm, Backbone, Neck, Step, build_part, init_neck, refuse_lonely_images


def variance_term(z: Tensor) -> Tensor:
    """Equation 1, halved: how far the standard deviations of the columns of `z` (N, D) are under 1, mean over columns; in [0, 0.5]."""
    return F.relu(1 - (z.var(dim=0) + 1e-4).sqrt()).mean() / 2


def covariance_term(z: Tensor) -> Tensor:
    """Equation 4: squares of the covariances between different columns of `z` (N, D), their sum over D."""
    centred = z - z.mean(dim=0)
    return off_diagonal_squares(centred, centred) / ((len(z) - 1) ** 2 * z.shape[1])


@MODELS.register_module()
class VICReg(Algorithm):
    """Views of an image meet; the numbers of an embedding keep their variance, over the global batch, and are not correlated.

    Args:
        backbone: config of a backbone, or a module.
        neck: config of the expander; in the paper an `MLPNeck` of three layers of 8192 with batch norm between them.
        invariance_weight: lambda in the paper.
        variance_weight: mu in the paper; with 0 the embeddings collapse.
        covariance_weight: nu in the paper.
    """

    dataset = 'BYOLDataset'

    def __init__(
        self,
        backbone: Backbone,
        neck: Neck,
        invariance_weight: NotNegative = 25.0,
        variance_weight: NotNegative = 25.0,
        covariance_weight: NotNegative = 1.0,
    ) -> None:
        super().__init__()
        self.backbone = build_part(BACKBONES, backbone)
        self.neck = build_part(NECKS, neck)
        init_neck(self.neck, 'kaiming')
        self.weights = (invariance_weight, variance_weight, covariance_weight)

    def check_data(self, images: int, batches: Sequence[int]) -> None:
        """One image has no variance."""
        refuse_lonely_images('VICReg computes variances over the images of a batch', images, batches)

    def loss(self, img: Tensor) -> Step:
        """Equation 6; its three terms are logged without their weights.

        Args:
            img: (B, 2, C, H, W).
        """
        z1, z2 = (full_precision(self.neck(self.backbone(view))) for view in self.split_views(img))
        views = distributed.gather(torch.cat([z1, z2], dim=1)).chunk(2, dim=1)  # of all processes, (N, D) each
        terms = {
            'invariance': F.mse_loss(z1, z2),  # of the own images: DDP averages
            'variance': variance_term(views[0]) + variance_term(views[1]),
            'covariance': covariance_term(views[0]) + covariance_term(views[1]),
        }
        loss = torch.stack([weight * term for weight, term in zip(self.weights, terms.values(), strict=True)]).sum()
        logs = {name: term.detach() for name, term in terms.items()}
        return Step({'loss': loss}, logs, embedding=l2_normalize(z1.detach()))
