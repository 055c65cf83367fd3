"""Samples drawn uniformly by class: of each class about as many, however many it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ...errors import DataError


class UniformEpoch(NamedTuple):
    """One epoch of a sampler that is drawn uniformly by class.

    Attributes:
        labels: int64 (N,) in [0, num_classes).
        num_classes: number of classes.
        epoch: which one; None: the one that is named or iterated next.
    """

    labels: np.ndarray
    num_classes: int
    epoch: int | None = None


def check_labels(labels: np.ndarray | Tensor | Sequence[int], num_classes: int, size: int) -> np.ndarray:
    """`labels` as int64 (size,), or a DataError where they are not in [0, num_classes) or not one per sample."""
    numbers = np.asarray(labels)
    if numbers.shape != (size,):
        raise DataError(f'Uniform sampling needs one label for each of the {size} samples; got {numbers.shape}.')
    if numbers.min() < 0 or numbers.max() >= num_classes:
        raise DataError(
            f'Uniform sampling by num_classes={num_classes}: the labels go from {numbers.min()} to {numbers.max()}.'
        )
    return numbers.astype(np.int64)


def uniform_order(labels: np.ndarray, num_classes: int, rng: np.random.Generator) -> np.ndarray:
    """Sample numbers with about as many of each class (DeepCluster, arXiv 1807.05520, section 3.3), as in OpenSelfSup.

    Of each class that has samples, int(N / num_classes) + 1 are drawn, with replacement where the class has no more than that;
    all are shuffled and cut to N. With empty classes there are fewer; the sampler then repeats them from the front.

    Args:
        labels: int64 (N,) in [0, num_classes).
        num_classes: number of classes.
        rng: what draws.

    Returns:
        int64 (M,), M <= N.
    """
    share = len(labels) // num_classes + 1
    by_class = np.argsort(labels, kind='stable')
    ends = np.cumsum(np.bincount(labels, minlength=num_classes))
    members = [part for part in np.split(by_class, ends[:-1]) if len(part)]
    drawn = [rng.choice(part, share, replace=len(part) <= share) for part in members]
    return rng.permutation(np.concatenate(drawn))[: len(labels)]
