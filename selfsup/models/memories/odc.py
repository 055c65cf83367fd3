"""The memory of online deep clustering: a feature and a label per image, a centroid per cluster.

Zhan et al. 2020, arXiv 2006.10645, sections 3.2 (update of samples and centroids) and 3.3 (small clusters).
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from ... import distributed
from ...arguments import Count, Share
from ...errors import ConfigError, ShapeError
from ...registry import MEMORIES
from ..layers.functional import l2_normalize, last_occurrence
from .sharded import CHUNK, ShardedRows
from .two_means import two_means


@MEMORIES.register_module()
class ODCMemory(nn.Module):
    """Features, labels and centroids, all in the state dict.

    Memory: the features of ImageNet (1.28 M images, 256 numbers, float32) take 1.3 GB. They are dealt out over the processes, so
    that all processes together hold ONE copy, on their devices (on CPUs: one copy in host memory); only while a checkpoint is
    written does process 0 assemble a whole copy in host memory. Only the rows of a batch travel. Labels (10 MB) and centroids
    (10 MB for 10,000 clusters) are the same on every process.

    Every method but `__len__` is a collective: all processes call it with the same arguments. `momentum` is the share of the NEW
    feature, as in OpenSelfSup (every other momentum here is that of the old). Centroids are means of unit vectors, not unit
    vectors themselves, and are used so. What is split or emptied follows from the state alone: nothing is drawn at random.

    Args:
        length: number of images in the training set.
        feat_dim: length D of a feature.
        momentum: share of the new feature in an update, in [0, 1]; 0.5 in the paper.
        num_classes: number of clusters K; 10,000 for ImageNet.
        min_cluster: a cluster with fewer images is dissolved, >= 1; 20 in the paper.
        debug: log the small clusters whenever there are any.

    Raises:
        ConfigError: fewer images than `num_classes * min_cluster`.
    """

    label_bank: Tensor  # (N,) int64, in [0, K) once initialised
    centroids: Tensor  # (K, D)
    initialized: Tensor  # scalar, bool

    def __init__(
        self,
        length: Count,
        feat_dim: Count,
        momentum: Share = 0.5,
        num_classes: Count = 10000,
        min_cluster: Count = 20,
        debug: bool = False,
    ) -> None:
        super().__init__()
        if length < num_classes * min_cluster:
            raise ConfigError(
                f'ODCMemory: {num_classes} clusters (num_classes) of {min_cluster} or more images (min_cluster) need '
                f'{num_classes * min_cluster} images; there are {length} (length). Lower num_classes or min_cluster.'
            )
        self.momentum, self.num_classes, self.min_cluster, self.debug = momentum, num_classes, min_cluster, debug
        self.feature_bank = ShardedRows(length, feat_dim)
        self.register_buffer('label_bank', torch.full((length,), -1))
        self.register_buffer('centroids', torch.zeros(num_classes, feat_dim))
        self.register_buffer('initialized', torch.zeros((), dtype=torch.bool))

    def __len__(self) -> int:
        return len(self.label_bank)

    @torch.no_grad()
    def init_memory(self, features: Tensor | None, labels: Tensor) -> None:
        """Start from a clustering of the whole set. Clusters without images take half of a large one.

        Args:
            features: (N, D) in the order of the data set, any scale; read on process 0 only, None elsewhere is fine.
            labels: (N,) int64 in [0, K).

        Raises:
            ShapeError: another number of images, or a label out of range.
        """
        labels = torch.as_tensor(labels)
        dim = self.feature_bank.dim
        # of process 0: all processes raise, or none
        shape = distributed.broadcast_object(None if features is None else tuple(features.shape))
        if tuple(labels.shape) != (len(self),) or shape != (len(self), dim):
            raise ShapeError(
                f'ODCMemory has length={len(self)} and feat_dim={dim}; it got features and labels of {shape} and '
                f'{tuple(labels.shape)}: set length to the number of training images, feat_dim to out_channels of the neck.'
            )
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= self.num_classes:
            raise ShapeError(
                f'ODCMemory has num_classes={self.num_classes}; the labels go from {low} to {high}: use one number of '
                'clusters in both places.'
            )
        self.feature_bank.fill(features)
        for rows in self.feature_bank.local.split(CHUNK):  # in place, without a second table
            rows.copy_(l2_normalize(rows, eps=1e-10))
        self.label_bank.copy_(labels)
        self.update_centroids()
        self._refill((self._sizes() == 0).nonzero()[:, 0].tolist())
        self.initialized.fill_(True)

    @torch.no_grad()
    def update_samples(self, idx: Tensor, features: Tensor) -> Tensor:
        """Move the features of a batch and give each image the label of the best centroid.

        Args:
            idx: (n,) int64 numbers of the images of ALL processes; of one that occurs twice the last feature counts.
            features: (n, D), any scale.

        Returns:
            Scalar in [0, 1], the share of images whose label changed.
        """
        features = l2_normalize(features, eps=1e-10)[last_occurrence(idx)].to(self.centroids.dtype)
        moved = l2_normalize((1 - self.momentum) * self.feature_bank.take(idx) + self.momentum * features)
        self.feature_bank.put(idx, moved)
        labels = self._best(moved, self.centroids)
        changed = (labels != self.label_bank[idx]).to(self.centroids.dtype).mean()
        self.label_bank[idx] = labels
        return changed

    @torch.no_grad()
    def update_centroids(self, cinds: list[int] | None = None) -> None:
        """Centroids become the means of their images' features; those of empty clusters stay.

        Args:
            cinds: clusters to do; None for all.
        """
        labels = self.label_bank[self.feature_bank.rank :: self.feature_bank.world]
        sums = torch.zeros_like(self.centroids).index_add_(0, labels, self.feature_bank.local)
        counts = torch.bincount(self.label_bank, minlength=self.num_classes)
        means = distributed.sum(sums) / counts.clamp(min=1)[:, None]
        chosen = counts > 0
        if cinds is not None:
            chosen &= torch.zeros_like(chosen).index_fill_(
                0, torch.tensor(cinds, dtype=torch.long, device=chosen.device), True
            )
        self.centroids.copy_(torch.where(chosen[:, None], means, self.centroids))

    @torch.no_grad()
    def deal_with_small_clusters(self) -> None:
        """Dissolve clusters below `min_cluster`: their images go to the best large one, their numbers to halves of the largest."""
        sizes = self._sizes()
        small = (sizes < self.min_cluster).nonzero()[:, 0]
        if len(small) == 0:
            return
        if self.debug and distributed.is_main():
            logging.getLogger('selfsup').info(
                'ODC: %d of %d clusters have fewer than %d images', len(small), len(sizes), self.min_cluster
            )
        large = (sizes >= self.min_cluster).nonzero()[:, 0].to(self.label_bank.device)
        dissolved = (sizes < self.min_cluster).to(self.label_bank.device)[self.label_bank].nonzero()[:, 0]
        mine, rows = self.feature_bank.own(dissolved)
        best = torch.zeros_like(dissolved)
        best[mine] = torch.cat([self._best(part, self.centroids[large]) for part in rows.split(CHUNK)])
        self.label_bank[dissolved] = large[distributed.sum(best)]
        self._refill(small.tolist())

    def _sizes(self) -> Tensor:
        """(K,) images per cluster, in host memory."""
        return torch.bincount(self.label_bank, minlength=self.num_classes).cpu()

    @staticmethod
    def _best(features: Tensor, centroids: Tensor) -> Tensor:
        """Number of the centroid with the largest dot product, (n,)."""
        with torch.autocast(features.device.type, enabled=False):
            return (features @ centroids.T).argmax(dim=1)

    def _refill(self, empty: list[int]) -> None:
        """Give each empty cluster the smaller half of what is then the largest one."""
        sizes, touched = self._sizes(), set(empty)
        for cluster in empty:
            largest = int(sizes.argmax())  # the first of equals
            members = (self.label_bank == largest).nonzero()[:, 0]
            second = members[self._halve(members)]
            self.label_bank[second] = cluster
            sizes[largest] -= len(second)
            sizes[cluster] = len(second)
            touched.add(largest)
        if touched:
            self.update_centroids(sorted(touched))

    def _halve(self, members: Tensor) -> Tensor:
        """(M,) bool: the smaller part of a split of `members` (M,) by 2-means; every other one where all are alike."""
        mine, rows = self.feature_bank.own(members)
        part = two_means(rows)
        if part is None:
            return torch.arange(len(members), device=members.device) % 2 == 1
        second = torch.zeros_like(members)
        second[mine] = part.long()
        second = distributed.sum(second).bool()
        size = 2 * int(second.sum())
        # of equal halves the one with the first image stays: which is called the second hangs on the last digit of an eigenvector
        swap = bool(second[0]) if size == len(second) else size > len(second)
        return ~second if swap else second
