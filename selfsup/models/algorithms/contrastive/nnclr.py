"""NNCLR: nearest neighbours as positives.

Dwibedi et al. 2021, arXiv 2104.14548: equations 2 to 4, pseudo-code in the appendix. No official code is public; values and gradients are
those of the pseudo-code, which solo-learn has too.

Axes: B images per process, N of all processes, D = feat_dim, K = queue_len.

The paper's text adds the cross entropy of the transposed similarities; its pseudo-code and this do not.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .... import distributed
from ....arguments import Count, Positive
from ....contracts import Progress
from ....registry import BACKBONES, MODELS, NECKS
from ...layers.functional import l2_normalize, require_same_length, similarity
from ..base import Algorithm, Backbone, Neck, Step, build_part, init_neck, refuse_lonely_images
from .in_batch import find_own
from .queue import enqueue, new_pointer, new_queue, require_length, require_room, warn_of_own_keys


@MODELS.register_module()
class NNCLR(Algorithm):
    """The nearest neighbour of a view's embedding in a queue finds the prediction of the other view among those of all images.

    Args:
        backbone: config of a backbone, or a module.
        neck: config of the projection to `feat_dim` numbers; three layers, each with batch norm.
        predictor: config of the predictor, a neck that reads vectors.
        queue_len: number of embeddings K that neighbours are looked for in, at least one global batch; 98304 for ImageNet.
        feat_dim: length D of the embeddings.
        temperature: similarities are divided by it, > 0.
    """

    dataset = 'ContrastiveDataset'
    queue: Tensor  # (D, K)
    queue_ptr: Tensor  # (1,) int64, the column that the next embedding goes to

    def __init__(
        self,
        backbone: Backbone,
        neck: Neck,
        predictor: Neck,
        queue_len: Count = 98304,
        feat_dim: Count = 256,
        temperature: Positive = 0.1,
    ) -> None:
        super().__init__()
        self.backbone = build_part(BACKBONES, backbone)
        self.neck = build_part(NECKS, neck)
        self.predictor = build_part(NECKS, predictor)
        for part in (self.neck, self.predictor):
            init_neck(part, 'kaiming')
        self.temperature = temperature
        self.register_buffer('queue', new_queue(queue_len, feat_dim))
        self.register_buffer('queue_ptr', new_pointer())

    def check_data(self, images: int, batches: Sequence[int]) -> None:
        """There are other images to compare with; the queue holds one global batch and not yet every image, see `warn_of_own_keys`."""
        name = type(self).__name__
        refuse_lonely_images(f'{name} contrasts each image with the others of its batch', images, batches)
        require_room(name, self.queue, max(batches))
        warn_of_own_keys(self.queue, images, batches, 'images are neighbours of themselves')

    def loss(self, img: Tensor) -> Step:
        """Contrast of neighbours with predictions, mean over both directions.

        Args:
            img: (B, 2, C, H, W).

        Raises:
            ShapeError: the queue is shorter than one global batch, or neck or predictor do not give `feat_dim` numbers.
        """
        view1, view2 = self.split_views(img)
        name = type(self).__name__
        require_room(name, self.queue, len(view1) * distributed.world_size())
        projected1, projected2 = self.neck(self.backbone(view1)), self.neck(self.backbone(view2))  # (B, D)
        require_length(name, self.queue, projected1)
        p1, p2 = l2_normalize(self.predictor(projected1)), l2_normalize(self.predictor(projected2))
        require_same_length(self, p1, projected1)
        z1, z2 = l2_normalize(projected1.detach()), l2_normalize(projected2.detach())
        (nn1, near1), (nn2, near2) = neighbours(z1, self.queue), neighbours(z2, self.queue)
        (loss1, acc1), (loss2, acc2) = contrast(nn1, p2, self.temperature), contrast(nn2, p1, self.temperature)
        logs = {'acc': (acc1 + acc2) / 2, 'neighbour_similarity': (near1 + near2).mean() / 2}
        return Step({'loss': (loss1 + loss2) / 2}, logs, embedding=p1.detach(), carry={'embeddings': z1})

    @torch.no_grad()
    def after_update(self, carries: Sequence[dict[str, Tensor]], progress: Progress) -> None:
        """The embeddings of the first views of all processes enter the queue, in rank order."""
        for carry in carries:
            embeddings = distributed.gather_no_grad(carry['embeddings'])
            enqueue(type(self).__name__, self.queue, self.queue_ptr, embeddings)


@torch.no_grad()
def neighbours(z: Tensor, queue: Tensor) -> tuple[Tensor, Tensor]:
    """Equation 2: the most similar entry of the queue.

    Args:
        z: (B, D) unit vectors.
        queue: (D, K) unit vectors.

    Returns:
        For each of `z` the column it is most similar to, as a row (B, D), and that similarity, (B,).
    """
    found = similarity(z, queue).max(dim=1)
    return queue.T[found.indices], found.values


def contrast(neighbour: Tensor, p: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Equation 3: cross entropy of finding the own image's prediction among those of all processes, which all get a gradient.

    Args:
        neighbour: (B, D) unit vectors, of this process.
        p: (B, D) unit vectors, predictions of this process for the other view.
        temperature: similarities are divided by it.

    Returns:
        The loss, and the share of neighbours that are most similar to their own image's prediction, in percent.
    """
    return find_own(neighbour, distributed.gather(p), temperature)
