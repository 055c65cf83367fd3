"""Rotation prediction.

Gidaris et al. 2018, arXiv 1803.07728, section 2.1: equation 2 (loss over the four rotations of every image).

Axes: B images per process, R = 4 rotations by 0, 90, 180 and 270 degrees counter-clockwise, C channels, H and W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ....registry import BACKBONES, HEADS, MODELS
from ...layers.functional import l2_normalize
from ...layers.pooling import global_average
from ..base import Algorithm, Backbone, Head, Step, build_part, init_neck, refuse_classes


@MODELS.register_module()
class RotationPred(Algorithm):
    """A classifier of the rotation that was applied to an image.

    Args:
        backbone: config of a backbone, or a module.
        head: config of a `ClsHead` with `num_classes=4` and `with_avg_pool=True`.
    """

    dataset = 'RotationPredDataset'

    def __init__(self, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.backbone = build_part(BACKBONES, backbone)
        self.head = build_part(HEADS, head)
        init_neck(self.head, 'kaiming')

    def check_classes(self, classes: int | None) -> None:
        """The classes are the four rotations, whatever the images show."""
        refuse_classes('rotations of an image', 4, self.head)

    def loss(self, img: Tensor, rot_label: Tensor) -> Step:
        """Cross entropy, mean over all rotations of all images.

        Args:
            img: (B, 4, C, H, W).
            rot_label: (B, 4) int64, 0 to 3: quarter turns counter-clockwise.
        """
        views = torch.stack(self.split_views(img, 4), dim=1).flatten(0, 1)  # (4B, C, H, W), those of an image together
        maps = self.backbone(views)
        out = self.head.loss(self.head(maps), rot_label.flatten())
        upright = global_average(maps).detach()[0::4]
        return Step({'loss': out['loss']}, {'acc': out['acc']}, embedding=l2_normalize(upright))

    def predict(self, img: Tensor) -> dict[str, Tensor]:
        """Logits `{'head0': (B, 4)}` of the rotation of images (B, C, H, W)."""
        return self.head(self.extract(img))
