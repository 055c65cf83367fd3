"""Relative patch location.

Doersch et al. 2015, arXiv 1505.05192, section 3: which of eight neighbours of a patch is another patch?

Axes: B images per process, P = 8 pairs per image, C channels of one patch, h and w pixels of a patch.

Difference from the paper: one backbone sees both patches at its own input size and the maps are joined before the neck, as in
OpenSelfSup; the two patches of a pair are separate forward passes, each with its own batch statistics.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ....errors import ShapeError
from ....registry import BACKBONES, HEADS, MODELS, NECKS
from ...layers.functional import l2_normalize
from ...layers.pooling import global_average, last_map
from ..base import Algorithm, Backbone, Head, Neck, Step, build_part, form_of, init_neck, refuse_classes


@MODELS.register_module()
class RelativeLoc(Algorithm):
    """A classifier of the place of an outer patch around the centre patch.

    Args:
        backbone: config of a backbone, or a module.
        neck: config of a `RelativeLocNeck`, which reads the joined maps of both patches.
        head: config of a `ClsHead` with `num_classes=8`.
        shared_centre: the pairs of an image have the same second patch, as `RelativeLocDataset` makes them: compute it once instead
            of eight times, 9 patches instead of 16 per image. The numbers are the same (the running variance of batch norms apart,
            whose correction for the number of values differs). False takes any pairs.
    """

    dataset = 'RelativeLocDataset'

    def __init__(self, backbone: Backbone, neck: Neck, head: Head, shared_centre: bool = False) -> None:
        super().__init__()
        self.backbone = build_part(BACKBONES, backbone)
        self.neck = build_part(NECKS, neck)
        self.head = build_part(HEADS, head)
        init_neck(self.neck, 'normal')
        init_neck(self.head, 'normal', std=0.005)
        self.shared_centre = shared_centre

    def check_classes(self, classes: int | None) -> None:
        """The classes are the eight places, whatever the images show."""
        refuse_classes('places around a patch', 8, self.head)

    def loss(self, img: Tensor, patch_label: Tensor) -> Step:
        """Cross entropy, mean over all pairs of all images.

        Args:
            img: (B, 8, 2C, h, w): the outer patch in the first C channels, the centre patch in the others.
            patch_label: (B, 8) int64, 0 to 7: place of the outer patch in reading order, the centre left out.
        """
        if not isinstance(img, Tensor) or img.dim() != 5 or img.shape[2] % 2:
            raise ShapeError(
                f'RelativeLoc needs img of shape (B, 8, 2C, h, w), pairs of patches; got {form_of(img)}: '
                f'use {self.dataset}.'
            )
        pairs = img.shape[1]
        outer, centre = img.chunk(2, dim=2)  # (B, P, C, h, w) each
        outer = last_map(self.backbone(outer.flatten(0, 1)))
        if self.shared_centre:
            centre = last_map(self.backbone(centre[:, 0].contiguous())).repeat_interleave(pairs, dim=0)
        else:
            centre = last_map(self.backbone(centre.flatten(0, 1)))
        out = self.head.loss(self.head(self.neck(torch.cat([outer, centre], dim=1))), patch_label.flatten())
        return Step(
            {'loss': out['loss']},
            {'acc': out['acc']},
            embedding=l2_normalize(global_average(centre).detach()[0::pairs]),
        )
