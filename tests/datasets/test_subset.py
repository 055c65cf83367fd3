"""Shares of labelled images: of every class, seeded, nested."""

from __future__ import annotations

import numpy as np
import pytest

from selfsup.datasets.subset import choose_per_class
from selfsup.errors import ConfigError, DataError

LABELS = np.array([0] * 100 + [1] * 40 + [2] * 3)


def test_every_class_gives_its_share():
    chosen = choose_per_class(LABELS, 0.1)
    assert np.bincount(LABELS[chosen]).tolist() == [10, 4, 1]
    assert (np.diff(chosen) > 0).all()


def test_the_seed_decides():
    assert (choose_per_class(LABELS, 0.1, 3) == choose_per_class(LABELS, 0.1, 3)).all()
    assert (choose_per_class(LABELS, 0.1, 3) != choose_per_class(LABELS, 0.1, 4)).any()


def test_a_smaller_share_is_part_of_a_larger_one():
    assert set(choose_per_class(LABELS, 0.1)) < set(choose_per_class(LABELS, 0.5))
    assert (choose_per_class(LABELS, 1.0) == np.arange(len(LABELS))).all()


@pytest.mark.parametrize(
    ('labels', 'share', 'error', 'message'),
    [
        ([0, 2, 2], 0.5, DataError, 'No sample has the class 1'),
        ([], 0.5, DataError, 'No sample has the class 0'),
        ([0, 1], 0.0, ConfigError, r'share must lie in \(0, 1\]'),
        ([0, 1], 1.5, ConfigError, r'share must lie in \(0, 1\]'),
    ],
)
def test_what_cannot_be_split_is_refused(labels, share, error, message):
    with pytest.raises(error, match=message):
        choose_per_class(np.array(labels, dtype=np.int64), share)
