"""How the batched solver deals out low-shot problems: which way is taken for which size, what an error stops."""

import time

import numpy as np
import pytest
import torch

from selfsup.errors import DataError
from selfsup.evaluation.svm import batched as batched_svm
from selfsup.evaluation.svm.batched import BatchedSolver
from selfsup.evaluation.svm.liblinear import fit_one
from selfsup.evaluation.svm.voc07 import COSTS


def problem(images, width):
    """Features of length 1 and two classes' labels: 10 positives and 50 negatives of each, the others left out."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(images, width, generator=generator).double()
    labels = torch.full((images, 2), -1)
    labels[:60], labels[:10] = 0, 1
    return x / x.norm(dim=1, keepdim=True), labels


@pytest.mark.parametrize(('width', 'ways'), [(100, {'solve_costs'}), (20, {'solve'})])
def test_inner_products_only_where_there_are_fewer_samples_than_numbers(monkeypatch, width, ways):
    """More samples than numbers: in terms of w the problem is smaller, and its matrix has full rank."""
    taken = set()
    for name in ('solve', 'solve_costs'):
        way = getattr(batched_svm, name)
        monkeypatch.setattr(
            batched_svm, name, lambda *args, way=way, name=name, **kwargs: taken.add(name) or way(*args, **kwargs)
        )
    x, labels = problem(120, width)
    assert len(list(BatchedSolver().fit_low_shot(x, [labels], [x], [0.1, 1.0]))) == 2
    assert taken == ways


def test_features_with_a_large_mean_in_common():
    """Sets of 200 images, by inner products: float32 alone would be wrong by 6e-4 for C = 100."""
    generator = torch.Generator().manual_seed(0)
    x = (1 + 0.03 * torch.randn(400, 500, generator=generator) * torch.arange(1, 501) ** -0.5).double()
    x = x / x.norm(dim=1, keepdim=True)
    labels = torch.full((400, 1), -1)
    labels[:200], labels[:200:10] = 0, 1
    ((ours,),) = BatchedSolver().fit_low_shot(x[:300], [labels[:300]], [x[300:]], COSTS)
    for cost, scores in zip(COSTS, ours[0], strict=True):
        svm = fit_one(x[:200].numpy(), labels[:200, 0].numpy() == 1, cost, 1e-10, 20000, dual=False)
        theirs = svm.decision_function(x[300:].numpy())
        assert np.abs(scores.numpy() - theirs).max() < 2e-4 * np.abs(theirs).max(), cost


def test_an_error_stops_what_has_not_begun_and_gives_the_threads_back(monkeypatch):
    begun, threads = [], torch.get_num_threads()

    def fail(*args):
        begun.append(args)
        time.sleep(0.005)
        raise DataError('no')

    monkeypatch.setattr(batched_svm, 'solve_costs', fail)
    x, labels = problem(120, 100)
    with pytest.raises(DataError, match='no'):
        list(BatchedSolver().fit_low_shot(x, [labels] * 200, [x], [1.0]))
    assert len(begun) < 100 and torch.get_num_threads() == threads
