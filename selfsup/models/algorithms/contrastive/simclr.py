"""SimCLR: a simple framework for contrastive learning.

Chen et al. 2020, arXiv 2002.05709: equation 1 (NT-Xent), algorithm 1.

Axes: B images per process, W processes, N = 2 * B * W views in all, D numbers per embedding. Views of an image are rows 2i and 2i + 1.

Difference from OpenSelfSup: its gather kept only the own process's share of the gradient, so training on W processes had 1 / W of
the gradient; here W processes have exactly the gradient of one process with the joined batch. Each process computes the loss
of its own rows against all columns, instead of all rows everywhere: the mean over processes is the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .... import distributed
from ....registry import BACKBONES, HEADS, MODELS, NECKS
from ...layers.functional import l2_normalize, similarity
from ..base import Algorithm, Backbone, Head, Neck, Step, build_part, init_neck, refuse_lonely_images


@MODELS.register_module()
class SimCLR(Algorithm):
    """Contrast of two views within the global batch.

    Args:
        backbone: config of a backbone, or a module.
        neck: config of the projection, `NonLinearNeckSimCLR` in the paper.
        head: config of a `ContrastiveHead`; temperature 0.1.
    """

    dataset = 'ContrastiveDataset'

    def __init__(self, backbone: Backbone, neck: Neck, head: Head) -> None:
        super().__init__()
        self.backbone = build_part(BACKBONES, backbone)
        self.neck = build_part(NECKS, neck)
        init_neck(self.neck, 'kaiming')
        self.head = build_part(HEADS, head)

    def check_data(self, images: int, batches: Sequence[int]) -> None:
        """With one image there is none to tell it from: the loss is constant and the accuracy 100 %."""
        refuse_lonely_images(
            f'{type(self).__name__} contrasts each image with the others of its batch', images, batches
        )

    def loss(self, img: Tensor) -> Step:
        """NT-Xent over the views of all processes.

        Args:
            img: (B, 2, C, H, W).
        """
        views = torch.stack(self.split_views(img), dim=1).flatten(0, 1)  # (2B, C, H, W), views of an image side by side
        z = l2_normalize(self.neck(self.backbone(views)), eps=1e-10)  # (2B, D)
        out = self.head(*self.compare(z))
        return Step({'loss': out['loss']}, {'acc': out['acc']}, embedding=z.detach()[0::2])

    def compare(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Similarities of this process's views with all views.

        Args:
            z: (2B, D) unit vectors.

        Returns:
            `pos` (2B, 1): with the other view of the same image; `neg` (2B, N - 2): with all views of all other images.
        """
        everyone = distributed.gather(z)  # (N, D)
        rows = torch.arange(len(everyone), device=z.device)
        row = distributed.local_rows(rows)[:, None]  # (2B, 1), where my views are
        sim = similarity(z, everyone.T)
        other = torch.arange(len(everyone) - 2, device=z.device)[None]
        other = other + 2 * (other >= row - row % 2)  # all columns but 2i and 2i + 1
        return sim.gather(1, row ^ 1), sim.gather(1, other)
