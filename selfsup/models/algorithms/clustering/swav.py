"""SwAV: swapped assignments between views.

Caron et al. 2020, arXiv:2006.09882: equations 1 and 2 (loss), 3 to 5 (assignments by optimal transport), section 3.2 (multi-crop),
section 4.1 (queue).

Axes: B images per process, V views, of which the first A give assignments, D = feat_dim, K = num_prototypes, L = queue_len.

Differences from the official code, none of which changes a number of a run: prototypes get unit length after each step instead of before
the next one; all processes hold one queue of L rows for each assigning view, and each takes its share of it into the assignments, where
there each process has a queue of its own. So a run may be resumed with another number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from .... import distributed
from ....arguments import Count, Positive, Whole
from ....contracts import Progress
from ....errors import ConfigError, ShapeError
from ....registry import BACKBONES, MODELS, NECKS
from ...layers.functional import full_precision, l2_normalize
from ..base import Algorithm, Backbone, Neck, Step, build_part
from ..views import pooled_views, swapped_cross_entropy


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float = 0.05, iterations: int = 3, counted: Tensor | None = None) -> Tensor:
    """Soft assignments that use all prototypes alike, by Sinkhorn and Knopp's iteration over the rows of all processes.

    Per iteration the mass of each prototype over all rows of all processes is made equal, then that of each row 1. The largest score of
    all processes is subtracted before the exponential, which cancels in the first division. Float32 also under autocast (float64 stays).

    Args:
        scores: (..., N, K) similarities of the rows of this process to the prototypes, of as many problems as there are leading indices.
        epsilon: weight of the entropy; larger is softer. In float32 similarities in [-1, 1] need 0.025 or more.
        iterations: at least 1.
        counted: (N, 1) of 0 and 1; rows with 0 take no part, and 0 comes out of them. None counts all.

    Returns:
        (..., N, K), rows with sum 1.
    """
    with torch.autocast(scores.device.type, enabled=False):
        scaled = full_precision(scores) / epsilon
        q = (scaled - distributed.largest(scaled.amax(dim=(-2, -1), keepdim=True))).exp()
        if counted is not None:
            q = q * counted
        least = torch.finfo(q.dtype).tiny  # only rows that do not count have no mass
        for _ in range(iterations):
            q = q / distributed.sum(q.sum(dim=-2, keepdim=True)).clamp_min(least)
            q = q / q.sum(dim=-1, keepdim=True).clamp_min(least)
    return q


@MODELS.register_module()
class SwAV(Algorithm):
    """Views predict to which prototypes the other views of their image were assigned.

    Args:
        backbone: config of a backbone, or a module.
        neck: config of the projection to `feat_dim` numbers, an `MLPNeck`.
        num_prototypes: K; 3000 on ImageNet, some times the number of classes.
        feat_dim: length D of the embeddings and prototypes.
        temperature: of the predictions.
        epsilon: of the assignments, see `sinkhorn`; 0.03 where the loss stays at ln K.
        sinkhorn_iters: iterations of `sinkhorn`.
        assign_views: A, how many views, from the first on, give assignments; the large crops.
        queue_len: L, embeddings of earlier batches that take part in the assignments; 0 is none. For global batches below about 10 K / 8.
        queue_start: epoch from which on the queue is filled; it takes part once it is full.
    """

    dataset = 'MultiViewDataset'
    queue: Tensor  # (A, L, D), the newest first; zeros before it is filled

    def __init__(
        self,
        backbone: Backbone,
        neck: Neck,
        num_prototypes: Count = 3000,
        feat_dim: Count = 128,
        temperature: Positive = 0.1,
        epsilon: Annotated[float, Ge(0.025)] = 0.05,
        sinkhorn_iters: Count = 3,
        assign_views: Count = 2,
        queue_len: Whole = 0,
        queue_start: Whole = 15,
    ) -> None:
        super().__init__()
        self.backbone, self.neck = build_part(BACKBONES, backbone), build_part(NECKS, neck)
        self.prototypes = nn.Linear(feat_dim, num_prototypes, bias=False)
        self.temperature, self.epsilon, self.sinkhorn_iters = temperature, epsilon, sinkhorn_iters
        self.assign_views, self.queue_start = assign_views, queue_start
        self.register_buffer('queue', torch.zeros(assign_views, queue_len, feat_dim))
        self.normalize_prototypes()
        # rows of unit length stay bit for bit, so that a resumed run goes on exactly
        self.register_load_state_dict_post_hook(_restore_lengths)

    @torch.no_grad()
    def normalize_prototypes(self, slack: float = 0.0) -> None:
        """Bring each prototype to unit length, in place, if its length is more than `slack` away from 1."""
        rows = distributed.local_share(self.prototypes.weight)
        length = rows.norm(dim=1, keepdim=True)
        rows.copy_(torch.where((length - 1).abs() > slack, rows / length.clamp_min(1e-12), rows))

    def check_data(self, images: int, batches: Sequence[int]) -> None:
        """The queue holds one global batch or more."""
        length, batch = self.queue.shape[1], max(batches)
        if 0 < length < batch:
            raise ConfigError(
                f'model.queue_len={length} is less than one global batch of {batch}: set it to {batch} or more, or to 0 for no queue.'
            )

    def loss(self, img: Tensor | Sequence[Tensor]) -> Step:
        """Cross entropy of assignments and predictions, over all pairs of an assigning view and another; ln K for uniform ones.

        Args:
            img: (B, V, C, H, W), or a list of such, one per size of views.

        Raises:
            ShapeError: there are fewer views than `assign_views`, or one alone; the neck does not give `feat_dim` numbers.
        """
        assigning = self.assign_views
        groups = self.view_groups(img, least=max(2, assigning), reason=f' with assign_views={assigning}')
        features = pooled_views(self.backbone, groups)
        z = l2_normalize(self.neck(features.flatten(0, 1)))
        if z.shape[1] != self.queue.shape[2]:
            raise ShapeError(
                f'SwAV has feat_dim={self.queue.shape[2]}, but its neck gives {z.shape[1]} numbers: make them equal.'
            )
        z = z.unflatten(0, features.shape[:2])  # (V, B, D)
        scores = self._scores(z)
        q = self._assign(scores[:assigning].detach())
        loss = swapped_cross_entropy(q, scores / self.temperature)
        carry = {'z': z[:assigning].detach().transpose(0, 1)} if self.queue.shape[1] else {}
        return Step({'loss': loss}, {'entropy': torch.special.entr(q).sum(-1).mean()}, z[0].detach(), carry)

    def _scores(self, z: Tensor) -> Tensor:
        """Similarities (..., K) of embeddings (..., D) to the prototypes, in full precision."""
        with torch.autocast(z.device.type, enabled=False):
            return self.prototypes(z)

    @torch.no_grad()
    def _assign(self, scores: Tensor) -> Tensor:
        """Assignments (A, B, K) of this process's images, together with those of others and with the queue, if it is full."""
        counted = None
        share = self.queue.tensor_split(distributed.world_size(), dim=1)[distributed.rank()]
        if self.queue.shape[1]:
            full = self.queue[0, -1].any().to(scores.dtype)  # stays on the device: no wait for it
            counted = torch.cat([full.expand(share.shape[1], 1), full.new_ones(scores.shape[1], 1)])
            scores = torch.cat([self._scores(share), scores], dim=1)
        return sinkhorn(scores, self.epsilon, self.sinkhorn_iters, counted)[:, share.shape[1] :]

    @torch.no_grad()
    def after_update(self, carries: Sequence[dict[str, Tensor]], progress: Progress) -> None:
        """Prototypes get unit length again; embeddings of all processes enter the queue, in rank order."""
        self.normalize_prototypes()
        if not self.queue.shape[1] or (self.queue_start and progress.epoch < self.queue_start):
            return
        for carry in carries:
            newest = distributed.gather_no_grad(carry['z']).transpose(0, 1).to(self.queue.dtype)  # (A, W * B, D)
            self.queue.copy_(torch.cat([newest, self.queue], dim=1)[:, : self.queue.shape[1]])


def _restore_lengths(model: SwAV, _: object) -> None:
    """Not a lambda, which would keep the model from being pickled."""
    model.normalize_prototypes(slack=1e-5)
