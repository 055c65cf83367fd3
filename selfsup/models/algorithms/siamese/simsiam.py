"""SimSiam: exploring simple siamese representation learning.

Chen and He 2020, arXiv 2011.10566: equations 1 (cosine) to 4 (both views, with the stop-gradient), algorithm 1.

Axes: B images per process, D numbers per projection.

Difference from the official code: there the last linear layer of the projection has a bias that is frozen at its initial values. The
batch norm behind it takes them out again, so a projection without (`last_bias=False`) is the same network, but for the running mean
of that norm, which nothing reads after training.
"""

from __future__ import annotations

from torch import Tensor

from ....registry import BACKBONES, MODELS, NECKS
from ...layers.functional import l2_normalize, require_same_length
from ..base import Algorithm, Backbone, Neck, Step, build_part, init_neck


def negative_cosine(p: Tensor, z: Tensor) -> Tensor:
    """Equation 1, mean over images: predictions `p` (B, D) and projections `z` (B, D), which get no gradient."""
    return -(l2_normalize(p) * l2_normalize(z.detach())).sum(dim=1).mean()


@MODELS.register_module()
class SimSiam(Algorithm):
    """Each view predicts the projection of the other one, which gets no gradient. No negatives, no momentum network.

    Args:
        backbone: config of a backbone, or a module.
        neck: config of the projection; in the paper an `MLPNeck` of three layers with batch norm also after the last ('BN-').
        predictor: config of the predictor, a neck that reads vectors (`with_avg_pool=False`); D / 4 hidden units in the paper.
    """

    dataset = 'ContrastiveDataset'

    def __init__(self, backbone: Backbone, neck: Neck, predictor: Neck) -> None:
        super().__init__()
        self.backbone = build_part(BACKBONES, backbone)
        self.neck = build_part(NECKS, neck)
        self.predictor = build_part(NECKS, predictor)
        init_neck(self.neck, 'kaiming')
        init_neck(self.predictor, 'kaiming')

    def loss(self, img: Tensor) -> Step:
        """Equation 4: the mean of both directions; in [-1, 1], and near -1 from the first epochs on where it collapses.

        Args:
            img: (B, 2, C, H, W).

        Raises:
            ShapeError: predictions are not as long as projections.
        """
        # views apart: each has its own statistics
        z1, z2 = (self.neck(self.backbone(view)) for view in self.split_views(img))
        p1, p2 = self.predictor(z1), self.predictor(z2)
        require_same_length(self, p1, z1)
        loss = (negative_cosine(p1, z2) + negative_cosine(p2, z1)) / 2
        return Step({'loss': loss}, embedding=l2_normalize(z1.detach()))
