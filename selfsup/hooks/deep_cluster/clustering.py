"""k-means on features: the pseudo labels of DeepCluster (Caron et al. 2018, arXiv 1807.05520, section 4.2).

Features are reduced by PCA and whitened, scaled to unit length, then clustered with Lloyd's algorithm. faiss does the clustering
where it is installed; our own implementation on torch gives the same quality in about the same time, on the CPU or a GPU.

Axes: N images, D numbers per image (P after the PCA), K clusters.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from types import MappingProxyType
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ...arguments import Count, checked
from ...errors import ConfigError, DataError, SelfSupWarning

logger = logging.getLogger('selfsup')

ITERATIONS = 20
TOLERATED = 1e-3  # share of numbers that may be NaN or infinite; they become 0
# The centroids of an empty cluster and of the one it is split from lie this much (relative) beside the old one, as in faiss.
SPLIT = 1 / 1024
Backend = Literal['auto', 'faiss', 'torch']
# The number of distances held at a time: half a MiB stays in the cache of a CPU core.
CELLS = MappingProxyType({'cpu': 1 << 17, 'cuda': 1 << 27})


class Clusters(NamedTuple):
    """What `cluster` gives.

    Attributes:
        labels: (N,) int64 on the CPU, every number of [0, K) at least once.
        objective: sum over images of the squared distance to the nearest centroid, in the whitened unit features.
    """

    labels: Tensor
    objective: float


@checked
def cluster(
    features: Tensor,
    k: Count,
    pca_dim: Count | Literal[-1] = -1,
    seed: int = 0,
    backend: Backend = 'auto',
    device: torch.device | str | None = None,
) -> Clusters:
    """Sort images into `k` clusters, none of them empty.

    Args:
        features: (N, D) float, finite but for one number in a thousand.
        k: number of clusters K, in [1, N].
        pca_dim: dimensions P to keep, in [1, D] and whiten; -1: no PCA and no whitening.
        seed: the same seed and features give the same clusters (on a GPU up to the order of its additions).
        backend: 'faiss', 'torch', or 'auto': faiss where it is installed.
        device: where the PCA and torch's k-means run; None: a GPU if there is one.

    Raises:
        DataError: fewer images than clusters, or too many numbers are not finite.
        ConfigError: `pca_dim`, `k` or `backend` cannot be used.
    """
    if len(features) < k:
        raise DataError(
            f'{len(features)} images cannot fill k={k} clusters: lower k (custom_hooks.clustering.k and the num_classes '
            'of the head) or use more images.'
        )
    device = torch.device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    points = preprocess(features, pca_dim, device)
    run = faiss_kmeans if backend == 'faiss' or (backend == 'auto' and find_spec('faiss')) else kmeans
    labels, distances = assign(points, run(points, k, seed))
    return Clusters(fill_empty(points, labels, k).cpu(), float(distances.double().sum()))


# ---- features ----


def preprocess(features: Tensor, pca_dim: int = -1, device: torch.device | str = 'cpu') -> Tensor:
    """PCA with whitening to `pca_dim` numbers (-1: none), then unit length.

    Directions in which the features do not vary become 0 instead of being blown up.

    Args:
        features: (N, D) float; left unchanged.
        pca_dim: see `cluster`.
        device: where the result lies.

    Returns:
        (N, P) float32, rows of length 1 (or 0).

    Raises:
        DataError: more than one number in a thousand is not finite.
        ConfigError: `pca_dim` is larger than D, or 0.
    """
    features = _finite(features)
    if pca_dim == -1:
        points = features.to(device, torch.float32, copy=True)
    else:
        if not 1 <= pca_dim <= features.shape[1]:
            raise ConfigError(
                f'pca_dim={pca_dim}, but the features have {features.shape[1]} numbers: use 1 to {features.shape[1]}, or -1 '
                'for no PCA.'
            )
        points = _whiten(features, pca_dim, torch.device(device))
    return points.div_(points.norm(dim=1, keepdim=True) + 1e-10)


def _finite(features: Tensor) -> Tensor:
    """`features` with a few numbers that are not finite set to 0."""
    if bool(torch.isfinite(features.sum())):  # one pass in the usual case
        return features
    wrong = int((~torch.isfinite(features)).sum())
    if wrong == 0:  # the sum overflowed, nothing else
        return features
    share = wrong / features.numel()
    if share > TOLERATED:
        raise DataError(
            f'{share:.1%} of the features are NaN or infinite, so they cannot be clustered: the network has diverged. '
            'Lower the learning rate and go on from an earlier checkpoint.'
        )
    warnings.warn(
        f'{wrong} of {features.numel()} numbers of the features are NaN or infinite; they count as 0.',
        SelfSupWarning,
        stacklevel=4,
    )
    return torch.nan_to_num(features, nan=0.0, posinf=0.0, neginf=0.0)


def _blocks(features: Tensor, device: torch.device, rows: int = 65536) -> Iterator[Tensor]:
    return (block.to(device, torch.float32) for block in features.split(rows))


def _whiten(features: Tensor, dims: int, device: torch.device) -> Tensor:
    """Coordinates along the `dims` directions of largest variance, each scaled to variance 1."""
    width = features.shape[1]
    covariance = torch.zeros(width, width, dtype=torch.float64, device=device)
    sums = (block.sum(dim=0, dtype=torch.float64) for block in _blocks(features, device))
    mean = sum(sums, covariance.new_zeros(width)) / len(features)
    for block in _blocks(features, device):
        block = block - mean.float()
        covariance += (block.T @ block).double()
    variances, directions = torch.linalg.eigh(covariance / len(features))  # ascending
    variances, directions = variances[-dims:].flip(0), directions[:, -dims:].flip(1)
    # below the noise of a sum in float32 nothing varies; blown up, the noise would drown the rest
    scale = torch.where(variances > 1e-6 * variances[0].clamp_min(1e-12), variances, math.inf).rsqrt()
    transform = (directions * scale).float()
    return torch.cat([(block - mean.float()) @ transform for block in _blocks(features, device)])


# ---- Lloyd's algorithm ----


def kmeans(points: Tensor, k: int, seed: int = 0, iterations: int = ITERATIONS) -> Tensor:
    """Centroids after `iterations` rounds from `k` random points.

    A cluster that loses all its points is put beside a large one, which the next round splits between them.

    Args:
        points: (N, P) float32, N >= k.
        k: number of clusters.
        seed: of the choice of points.
        iterations: rounds.

    Returns:
        (k, P).
    """
    generator = torch.Generator().manual_seed(seed)
    centroids = points[torch.randperm(len(points), generator=generator)[:k].to(points.device)]
    for _ in range(iterations):
        labels, _ = assign(points, centroids)
        counts = torch.bincount(labels, minlength=k)
        centroids = torch.zeros_like(centroids).index_add_(0, labels, points) / counts.clamp_min(1)[:, None]
        _split_large(centroids, counts.cpu(), generator)
    return centroids


def _split_large(centroids: Tensor, counts: Tensor, generator: torch.Generator) -> None:
    """Move every centroid without points beside one with several, drawn in proportion to their number; in place."""
    empty = torch.nonzero(counts == 0).flatten().tolist()
    if not empty:
        return
    weights = (counts - 1).clamp_min(0).double()
    signs = torch.ones(centroids.shape[1], device=centroids.device)
    signs[1::2] = -1
    for number in empty:
        large = int(torch.multinomial(weights, 1, generator=generator)) if weights.sum() > 0 else number
        half = weights[large] / 2
        weights[large], weights[number] = half, half
        centroids[number] = centroids[large] * (1 + SPLIT * signs)
        centroids[large] *= 1 - SPLIT * signs


def assign(points: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest centroid of each point.

    Returns:
        labels (N,) int64 and squared distances (N,), on the device of `points`.
    """
    half = centroids.square().sum(dim=1, keepdim=True) / 2
    rows = max(256, CELLS.get(points.device.type, CELLS['cpu']) // len(centroids))
    labels = torch.empty(len(points), dtype=torch.int64, device=points.device)
    best = torch.empty(len(points), device=points.device)
    products = torch.empty(len(centroids) * min(rows, len(points)), device=points.device)
    for start in range(0, len(points), rows):
        block = points[start : start + rows]
        # |x - c|^2 / 2 = |x|^2 / 2 - (x.c - |c|^2 / 2). One row per centroid: on a CPU a maximum over the first axis is vectorised
        near = torch.mm(
            centroids, block.T, out=products[: len(centroids) * len(block)].view(len(centroids), len(block))
        ).sub_(half)
        torch.max(near, dim=0, out=(best[start : start + rows], labels[start : start + rows]))
    return labels, best.mul_(-2).add_(points.square().sum(dim=1)).clamp_min_(0)


def fill_empty(points: Tensor, labels: Tensor, k: int) -> Tensor:
    """Labels without an empty cluster: each takes half of the cluster that is largest at that moment.

    Args:
        points: (N, P), N >= k.
        labels: (N,) int64 in [0, k).
        k: number of clusters.
    """
    counts = torch.bincount(labels, minlength=k)
    labels, empty = labels.clone(), torch.nonzero(counts == 0).flatten().tolist()
    if empty:
        logger.info('%d of %d clusters were empty; each got half of a large one.', len(empty), k)
    for number in empty:
        largest = int(counts.argmax())
        members = torch.nonzero(labels == largest).flatten()
        offsets = points[members] - points[members].mean(dim=0)
        farthest = offsets[offsets.square().sum(dim=1).argmax()]
        # Also divides points that are all equal.
        moved = members[(offsets @ farthest).argsort(stable=True)[len(members) // 2 :]]
        labels[moved] = number
        counts[number], counts[largest] = len(moved), len(members) - len(moved)
    return labels


def faiss_kmeans(points: Tensor, k: int, seed: int) -> Tensor:
    """Centroids from faiss, with the settings of the reference code."""
    try:
        import faiss
    except ImportError:
        raise ConfigError(
            "clustering backend='faiss': faiss is not installed. pip install faiss-cpu, or use backend='torch'."
        ) from None
    gpu = points.device.type == 'cuda' and hasattr(faiss, 'StandardGpuResources')
    solver = faiss.Kmeans(
        points.shape[1],
        k,
        niter=ITERATIONS,
        seed=seed % (1 << 31),
        max_points_per_centroid=10**7,
        min_points_per_centroid=1,
        gpu=gpu,
    )
    solver.train(points.cpu().numpy())
    return torch.from_numpy(solver.centroids).to(points.device)
