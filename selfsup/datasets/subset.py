"""Lists of a share of the labelled images, the same share of every class: the splits of semi-supervised benchmarks."""

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
        raise DataError(f'No sample has the class {", ".join(map(str, empty[:10])) or 0}: classes are numbered from 0 without gaps, and a '
                        'split without one of them cannot be evaluated.')
    chosen = []
    for label, count in enumerate(counts):
        members = np.flatnonzero(labels == label)
        order = np.random.default_rng([seed, label]).permutation(members)
        chosen.append(order[:max(1, round(share * int(count)))])
    return np.sort(np.concatenate(chosen))
