"""Which of the labelled images a smaller set has: the same share of every class, as in semi-supervised benchmarks, or the first ones."""

from __future__ import annotations

import numpy as np

from ..errors import ConfigError, DataError


def choose_per_class(labels: np.ndarray, share: float, seed: int = 0) -> np.ndarray:
    """Numbers of the chosen samples, ascending.

    Of a class of n samples round(share * n) are drawn, at least one. Every class draws from a stream of its own, and a
    smaller share is a part of a larger one of the same seed.

    Args:
        labels: int (N,), >= 0; every class up to the largest must have a sample.
        share: of each class, in (0, 1].
        seed: >= 0.

    Raises:
        ConfigError: `share` or `seed` out of range.
        DataError: a class has no sample.
    """
    if not 0 < share <= 1 or seed < 0:
        raise ConfigError(f'share={share}, seed={seed}: the share must lie in (0, 1], the seed must be 0 or more.')
    labels = np.asarray(labels, dtype=np.int64)
    counts = np.bincount(labels)
    empty = np.flatnonzero(counts == 0).tolist()
    if empty or not len(counts):
        raise DataError(
            f'No sample has the class {", ".join(map(str, empty[:10])) or 0}: classes are numbered from 0 without gaps, and a '
            'split without one of them cannot be evaluated.'
        )
    chosen = []
    for label, count in enumerate(counts):
        members = np.flatnonzero(labels == label)
        order = np.random.default_rng([seed, label]).permutation(members)
        chosen.append(order[: max(1, round(share * int(count)))])
    return np.sort(np.concatenate(chosen))


def first_per_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Numbers of the first `count` samples of each class, ascending.

    Args:
        labels: int (N,), >= 0.
        count: >= 1.

    Raises:
        DataError: a class has fewer.
    """
    labels = np.asarray(labels, dtype=np.int64)
    chosen = [np.flatnonzero(labels == label)[:count] for label in np.unique(labels)]
    short = [f'class {int(labels[part[0]])} has {len(part)}' for part in chosen if len(part) < count]
    if short:
        raise DataError(f'There are fewer than {count} images of a class: {", ".join(short[:5])}.')
    return np.sort(np.concatenate(chosen))
