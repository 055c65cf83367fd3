"""Last and best accuracy of what a run measured."""

from __future__ import annotations

import pytest

from selfsup.errors import DataError
from selfsup.evaluation.results.accuracies import by_name, last_and_best, left_out


def measured(values):
    """Evaluations of a run, as its hooks hand them on: `values` is epoch -> top-1."""
    return [{'head0_top1': value, 'knn_20': 9.0, 'epoch': epoch, 'iter': 5 * epoch} for epoch, value in values.items()]


def test_last_and_best():
    accuracies = by_name(measured({0: 99.0, 1: 30.0, 2: 50.0, 3: 40.0}))
    assert accuracies == {'head0_top1': {0: 99.0, 1: 30.0, 2: 50.0, 3: 40.0}}
    numbers, epochs = last_and_best(accuracies)
    assert numbers == {'head0_top1_last': 40.0, 'head0_top1_best': 50.0}
    assert epochs == {'head0_top1_last': 3, 'head0_top1_best': 2}


def test_of_equal_ones_the_earliest_is_the_best():
    assert last_and_best({'head0_top1': {1: 5.0, 2: 5.0}})[1]['head0_top1_best'] == 1


def test_other_evaluations_are_no_accuracies():
    lines = [{'epoch': 1.0, 'ema_head0_top5': 7.0, 'left_out': 2.0}, {'epoch': 1.0, 'knn_20': 3.0, 'left_out': 9.0}]
    assert by_name(lines) == {'ema_head0_top5': {1: 7.0}} and left_out(lines) == 2
    assert left_out([]) == 0


def test_a_run_without_validation_is_an_error():
    with pytest.raises(DataError, match='needs a ValidateHook'):
        by_name([{'epoch': 1.0, 'knn_20': 3.0}])
