"""DenseCL: dense contrastive learning.

Wang et al. 2020, arXiv 2011.09157: MoCo v2 beside the same contrast for each position of the map (equations 2 to 4).

Axes: B images per process, D = feat_dim, K = queue_len, C channels of the last map, P = h * w positions of the dense embeddings.

Differences from the official code: as MoCo's, see `moco.py`. A neck that pools to a grid of its own is allowed: positions are then
matched on the backbone's maps pooled to the same grid, where the official code fails. Dense logits are computed in shares, see
`LOGITS_AT_ONCE`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .... import distributed
from ....arguments import Count, Share, Whole
from ....contracts import Progress
from ....errors import ShapeError
from ....registry import MODELS
from ...layers.functional import l2_normalize, similarity
from ...layers.pooling import last_map
from ..base import Backbone, Head, Neck, Step
from .moco import MOCO
from .queue import enqueue, new_pointer, new_queue, require_length, require_room

# Dense logits that exist at a time; a step has B * P * (K + 1) of them, 103 million for 32 images of 7 x 7 positions. With what
# autograd keeps of them (16 bytes each) that is 0.27 GB instead of 1.6 GB.
LOGITS_AT_ONCE = 2**24


@MODELS.register_module()
class DenseCL(MOCO):
    """MoCo v2, and contrast of each position of the query's map with the position of the key's map that matches it best.

    Args:
        backbone: config of a backbone, or a module.
        neck: config of a `DenseCLNeck`: one vector per image, and one per position.
        head: config of a `ContrastiveHead`; temperature 0.2.
        queue_len: number of negatives K in each of the two queues, at least one global batch.
        feat_dim: length D of the embeddings.
        momentum: share of the OLD key weights kept in each update, in [0, 1].
        loss_lambda: weight of the dense loss, in [0, 1]; the other one has the rest.
        start_iters: iterations before which the weight of the dense loss is 0.
    """

    queue2: Tensor  # (D, K): mean dense embeddings of images
    queue2_ptr: Tensor  # (1,) int64
    dense_started: Tensor  # 1 where the next forward pass weights the dense loss, else 0

    def __init__(
        self,
        backbone: Backbone,
        neck: Neck,
        head: Head,
        queue_len: Count = 65536,
        feat_dim: Count = 128,
        momentum: Share = 0.999,
        loss_lambda: Share = 0.5,
        start_iters: Whole = 0,
    ) -> None:
        super().__init__(backbone, neck, head, queue_len, feat_dim, momentum)
        self.loss_lambda, self.start_iters = loss_lambda, start_iters
        self.register_buffer('queue2', new_queue(queue_len, feat_dim))
        self.register_buffer('queue2_ptr', new_pointer())
        self.register_buffer('dense_started', torch.tensor(0.0 if start_iters else 1.0))

    def loss(self, img: Tensor) -> Step:
        """InfoNCE of queries and of their positions, weighted.

        Args:
            img: (B, 2, C, H, W): query view, key view.

        Raises:
            ShapeError: the queue is shorter than one global batch, or the neck does not give a vector and a map of `feat_dim` numbers.
        """
        query_view, key_view = self.split_views(img)
        q, q_dense, q_map = self._embed_densely(self.backbone, self.neck, query_view)
        with torch.no_grad():
            shuffled, order = distributed.shuffle_across_ranks(key_view)
            require_room(type(self).__name__, self.queue, len(order))
            k, k_dense, k_map = (
                distributed.unshuffle_across_ranks(x, order)
                for x in self._embed_densely(self.key_backbone, self.key_neck, shuffled)
            )
            matches = match_positions(q_map.detach(), k_map)
            key_means = l2_normalize(k_dense.mean(dim=2))  # (B, D)
        out = self.head(pos=(q * k).sum(dim=1, keepdim=True), neg=similarity(q, self.queue))
        rows, positives = pairs(l2_normalize(q_dense), l2_normalize(k_dense), matches)
        dense_loss, dense_acc = contrast_in_shares(self.head, rows, positives, self.queue2)
        weight = self.loss_lambda * self.dense_started
        return Step(
            {'loss_single': out['loss'] * (1 - weight), 'loss_dense': dense_loss * weight},
            {'acc': out['acc'], 'acc_dense': dense_acc},
            embedding=q.detach(),
            carry={'keys': k, 'dense_keys': key_means},
        )

    def _embed_densely(self, backbone: nn.Module, neck: nn.Module, img: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unit vectors (B, D), dense embeddings (B, D, P), and the last map (B, C, P) on the same grid."""
        maps = backbone(img)
        out = neck(maps)
        if not isinstance(out, tuple | list) or len(out) != 2 or out[1].dim() != 4:
            raise ShapeError(
                f'{type(self).__name__} needs a neck that gives a vector and a map for each image, as DenseCLNeck does; '
                f'{type(neck).__name__} does not: set model.neck.type=DenseCLNeck.'
            )
        vectors, dense = out
        for embeddings in out:
            require_length(type(self).__name__, self.queue, embeddings)
        features = last_map(maps)
        if features.shape[2:] != dense.shape[2:]:
            features = F.adaptive_avg_pool2d(features, dense.shape[2:])
        return l2_normalize(vectors), dense.flatten(2), features.flatten(2)

    @torch.no_grad()
    def after_update(self, carries: Sequence[dict[str, Tensor]], progress: Progress) -> None:
        """As MoCo; the second queue takes the mean dense keys, and the dense loss its weight in the next iteration."""
        super().after_update(carries, progress)
        for carry in carries:
            keys = distributed.gather_no_grad(carry['dense_keys'])
            enqueue(type(self).__name__, self.queue2, self.queue2_ptr, keys)
        # Without start_iters too: a checkpoint may have brought a weight of 0.
        self.dense_started.fill_(not self.start_iters or progress.next.iteration >= self.start_iters)


@torch.no_grad()
def match_positions(q_map: Tensor, k_map: Tensor) -> Tensor:
    """Equation 4: for each position of a query's map the most similar one of its key's, by the cosine of the backbone's features.

    Args:
        q_map: (B, C, P).
        k_map: (B, C, P').

    Returns:
        (B, P) int64, in [0, P').
    """
    return similarity(l2_normalize(q_map).transpose(1, 2), l2_normalize(k_map)).argmax(dim=2)


def pairs(q_dense: Tensor, k_dense: Tensor, matches: Tensor) -> tuple[Tensor, Tensor]:
    """Query positions as rows, and the similarity of each with its match.

    Args:
        q_dense: (B, D, P), unit vectors over D.
        k_dense: (B, D, P'), the same.
        matches: (B, P) int64, in [0, P').

    Returns:
        `rows` (B * P, D) and `positives` (B * P, 1).
    """
    partners = k_dense.gather(2, matches[:, None].expand(-1, k_dense.shape[1], -1))  # (B, D, P)
    return q_dense.transpose(1, 2).flatten(0, 1), (q_dense * partners).sum(dim=1).flatten()[:, None]


def contrast_in_shares(
    head: nn.Module, rows: Tensor, positives: Tensor, queue: Tensor, at_once: int = LOGITS_AT_ONCE
) -> tuple[Tensor, Tensor]:
    """Loss and accuracy of `head`, with the logits of a few rows at a time; the backward pass computes them anew.

    Args:
        head: takes `pos` and `neg`, gives `loss` and `acc`, means over rows, as `ContrastiveHead`.
        rows: (R, D).
        positives: (R, 1).
        queue: (D, K), negatives of all rows.
        at_once: logits that may exist at a time.
    """

    def contrast(some: Tensor, pos: Tensor) -> tuple[Tensor, Tensor]:
        out = head(pos=pos, neg=similarity(some, queue))
        return out['loss'], out['acc']

    share = max(1, at_once // (queue.shape[1] + 1))
    if share >= len(rows):
        return contrast(rows, positives)
    loss, accuracy = positives.new_zeros(()), positives.new_zeros(())
    for some, pos in zip(rows.split(share), positives.split(share), strict=True):
        part = checkpoint(contrast, some, pos, use_reentrant=False, preserve_rng_state=False)
        loss, accuracy = loss + part[0] * (len(some) / len(rows)), accuracy + part[1] * (len(some) / len(rows))
    return loss, accuracy
