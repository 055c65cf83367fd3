"""MoCo: momentum contrast, versions 1 and 2.

He et al. 2019, arXiv 1911.05722: equation 1 (loss), equation 2 (momentum), algorithm 1, section 3.3 (shuffling BN).
Chen et al. 2020, arXiv 2003.04297: version 2 is the same method with an MLP neck, stronger augmentation and temperature 0.2.

Axes: B images per process, D = feat_dim, K = queue_len.

Differences from algorithm 1: the momentum update and the enqueue follow the optimizer step instead of preceding the next forward
pass, so with gradient accumulation they happen once per step; the numbers of a run without accumulation are the same.
The queue wraps around, so K need not be a multiple of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .... import distributed
from ....arguments import Count, Share
from ....contracts import Progress
from ....registry import BACKBONES, HEADS, MODELS, NECKS
from ...layers.functional import l2_normalize, similarity
from ...layers.momentum import momentum_copy, momentum_update
from ..base import Algorithm, Backbone, Head, Neck, Step, build_part, init_neck
from .queue import enqueue, new_pointer, new_queue, require_length, require_room, warn_of_own_keys


@MODELS.register_module(name=['MOCO', 'MoCo'])
class MOCO(Algorithm):
    """Momentum contrast.

    Args:
        backbone: config of a backbone, or a module.
        neck: config of the projection to `feat_dim` numbers: `LinearNeck` (v1), `NonLinearNeckV1` (v2).
        head: config of a `ContrastiveHead`; temperature 0.07 (v1), 0.2 (v2).
        queue_len: number of negatives K, at least one global batch.
        feat_dim: length D of the embeddings.
        momentum: share of the OLD key weights kept in each update, in [0, 1].
    """

    dataset = 'ContrastiveDataset'
    queue: Tensor  # (D, K)
    queue_ptr: Tensor  # (1,) int64, the column that the next key goes to
    momentum_copies = (('backbone', 'key_backbone'), ('neck', 'key_neck'))

    def __init__(
        self,
        backbone: Backbone,
        neck: Neck,
        head: Head,
        queue_len: Count = 65536,
        feat_dim: Count = 128,
        momentum: Share = 0.999,
    ) -> None:
        super().__init__()
        self.backbone = build_part(BACKBONES, backbone)
        self.neck = build_part(NECKS, neck)
        init_neck(self.neck, 'kaiming')
        self.key_backbone, self.key_neck = momentum_copy(self.backbone), momentum_copy(self.neck)
        self.head = build_part(HEADS, head)
        self.momentum = momentum
        self.register_buffer('queue', new_queue(queue_len, feat_dim))
        self.register_buffer('queue_ptr', new_pointer())

    def check_data(self, images: int, batches: Sequence[int]) -> None:
        """The queue holds the keys of one global batch and not yet those of every image, see `warn_of_own_keys`."""
        require_room(type(self).__name__, self.queue, max(batches))
        warn_of_own_keys(self.queue, images, batches, 'images are negatives of themselves')

    def loss(self, img: Tensor) -> Step:
        """InfoNCE of queries against their keys and the queue.

        Args:
            img: (B, 2, C, H, W): query view, key view.

        Raises:
            ShapeError: the queue is shorter than one global batch, or the neck does not give `feat_dim` numbers.
        """
        query_view, key_view = self.split_views(img)
        q = self._embed(self.backbone, self.neck, query_view)  # (B, D)
        with torch.no_grad():
            shuffled, order = distributed.shuffle_across_ranks(key_view)
            require_room(type(self).__name__, self.queue, len(order))
            k = distributed.unshuffle_across_ranks(self._embed(self.key_backbone, self.key_neck, shuffled), order)
        out = self.head(pos=(q * k).sum(dim=1, keepdim=True), neg=similarity(q, self.queue))
        return Step({'loss': out['loss']}, {'acc': out['acc']}, embedding=q.detach(), carry={'keys': k})

    def _embed(self, backbone: nn.Module, neck: nn.Module, img: Tensor) -> Tensor:
        embedding = l2_normalize(neck(backbone(img)))
        require_length(type(self).__name__, self.queue, embedding)
        return embedding

    @torch.no_grad()
    def after_update(self, carries: Sequence[dict[str, Tensor]], progress: Progress) -> None:
        """Key encoder follows the query encoder (equation 2); keys of all processes enter the queue, in rank order."""
        momentum_update(self.key_backbone, self.backbone, self.momentum)
        momentum_update(self.key_neck, self.neck, self.momentum)
        for carry in carries:
            keys = distributed.gather_no_grad(carry['keys'])
            enqueue(type(self).__name__, self.queue, self.queue_ptr, keys)
