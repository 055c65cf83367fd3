"""The batched SVM solver and the VOC2007 protocols, against LinearSVC with a tight tolerance."""

import numpy as np
import pytest
import torch

from selfsup.errors import DataError, SelfSupWarning, ShapeError
from selfsup.evaluation.svm import newton as svm
from selfsup.evaluation.svm import voc07 as voc_svm
from selfsup.evaluation.svm.batched import BatchedSolver
from selfsup.evaluation.svm.liblinear import SklearnSolver, fit_one
from selfsup.evaluation.svm.voc07_labels import draw_samples

from .voc_features import make

CLASSES = 3
TIGHT = {'tolerance': 1e-8, 'max_iterations': 100000}


class TightSolver(SklearnSolver):
    """LinearSVC without its inaccuracy, in this process."""

    def __init__(self) -> None:
        super().__init__(**TIGHT)

    def _run(self, tasks):
        return [self._scores(*task) for task in tasks]


@pytest.fixture(scope='module', params=[24, 260], ids=['more samples than numbers', 'more numbers than samples'])
def data(request):
    train, train_labels = make(210, request.param, CLASSES)
    test, test_labels = make(150, request.param, CLASSES, seed=1)
    return {'train': train, 'train_labels': train_labels, 'test': test, 'test_labels': test_labels}


def largest_difference(ours: torch.Tensor, exact: torch.Tensor) -> float:
    """Of decision values, relative to the largest of the same SVM."""
    return float(((ours - exact).abs().amax(-1) / exact.abs().amax(-1)).max())


def test_full_protocol_equals_linear_svc_for_every_cost(data):
    positive = data['train_labels'] == 1
    folds = voc_svm.stratified_folds(positive)
    ours, exact = (
        s.fit_full(data['train'], positive, folds, data['test'], voc_svm.COSTS)
        for s in (BatchedSolver(), TightSolver())
    )
    assert largest_difference(ours.test, exact.test) < 1e-3
    assert largest_difference(ours.held_out, exact.held_out) < 1e-3
    for cost in range(len(voc_svm.COSTS)):
        both = [
            np.mean(
                [
                    voc_svm.average_precision(s.test[cost, c : c + 1], data['test_labels'][:, c]).item()
                    for c in range(CLASSES)
                ]
            )
            for s in (ours, exact)
        ]
        assert 100 * abs(both[0] - both[1]) < 0.02


def test_low_shot_equals_linear_svc(data):
    """Samples of 20, 40 and 80 images: by inner products where there are fewer than numbers per image."""
    drawn = draw_samples(data['train_labels'].numpy(), (1, 2, 4), 2, seed=3)
    labels = [torch.from_numpy(chosen) for chosen in drawn.values()]
    others = [data['test'], data['train']]
    both = [
        list(s.fit_low_shot(data['train'], labels, others, voc_svm.COSTS)) for s in (BatchedSolver(), TightSolver())
    ]
    for ours, exact in zip(*both, strict=True):
        for a, b in zip(ours, exact, strict=True):
            assert a.shape == (6, len(voc_svm.COSTS), b.shape[2]) and largest_difference(a, b) < 1e-3


def test_gradient_of_the_primal_vanishes(data):
    x, positive = data['train'], (data['train_labels'] == 1).T
    basis = svm.eigenbasis(x)
    signs, weights = torch.where(positive, 1.0, -1.0)[None], torch.where(positive, 2.0, 1.0)[None]
    for cost, found in svm.solve_path(basis.samples[None], signs, weights, [0.01, 1, 100], tolerance=1e-5):
        w = found.weights[0] @ basis.rotation.T  # back to the features, the intercept last
        with_one = torch.cat([x, torch.ones(len(x), 1)], 1)
        w = w.double().requires_grad_()
        (
            w.square().sum() / 2 + cost * (weights[0] * (1 - signs[0] * (w @ with_one.T)).clamp_min(0).square()).sum()
        ).backward()
        # At the optimum w equals this pull.
        pull = 2 * cost * (weights[0] * (1 - signs[0] * (w @ with_one.T)).clamp_min(0) * signs[0]) @ with_one
        assert float(w.grad.norm()) < 1e-3 * float(pull.detach().norm())


def test_the_intercept_is_a_regularised_weight():
    """Two images at 0, C = 1: b^2 / 2 + 2 (1 - b)^2 + (1 + b)^2 is smallest at b = 2/7."""
    x = torch.zeros(2, 3, dtype=torch.float64)
    basis = svm.eigenbasis(x)
    positive = torch.tensor([[[1.0, -1.0]]])
    ((_, found),) = svm.solve_path(basis.samples[None], positive, torch.tensor([[[2.0, 1.0]]]), [1.0])
    assert found.scores[0, 0].tolist() == pytest.approx([2 / 7, 2 / 7], abs=1e-5)


def test_a_better_basis_changes_the_time_only(data):
    with_one = torch.cat([data['train'], torch.ones(len(data['train']), 1)], 1).float()[None]
    positive = (data['train_labels'] == 1).T[None]
    signs, weights = torch.where(positive, 1.0, -1.0), torch.where(positive, 2.0, 1.0)
    plain = svm.solve(with_one, signs, weights, tolerance=1e-4)
    assert (
        largest_difference(plain.scores, svm.solve(svm.eigenbasis(data['train']).samples[None], signs, weights).scores)
        < 1e-3
    )


def test_sizes_and_limits(data, monkeypatch):
    with pytest.raises(ShapeError, match=r'\(n, d\)'):
        svm.eigenbasis(torch.zeros(0, 3))
    with pytest.raises(ShapeError, match='expected'):
        svm.solve(torch.zeros(1, 5, 3), torch.ones(1, 2, 4), torch.ones(1, 2, 4))
    monkeypatch.setattr(svm, 'MAX_NEWTON_STEPS', 1)
    with pytest.warns(SelfSupWarning, match='did not reach the tolerance'):
        svm.solve(svm.eigenbasis(data['train']).samples[None], torch.ones(1, 1, 210), torch.ones(1, 1, 210))


def test_folds_are_those_of_cross_val_score():
    from sklearn.model_selection import cross_val_score

    x, labels = make(120, 16, 1)
    positive = labels == 1
    folds = voc_svm.stratified_folds(positive)
    y = np.where(positive[:, 0].numpy(), 1, -1)
    expected = cross_val_score(
        fit_one(x.numpy(), positive[:, 0].numpy(), 1.0), x.numpy(), y, cv=3, scoring='average_precision'
    )
    scores = BatchedSolver().fit_full(x, positive, folds, x, [1.0]).held_out[0, 0]
    ours = [
        voc_svm.average_precision(
            scores[None, folds[:, 0] == f], positive[folds[:, 0] == f, 0].long(), envelope=False
        ).item()
        for f in range(3)
    ]
    assert ours == pytest.approx(expected.tolist(), abs=2e-3)
    with pytest.raises(DataError, match=r'these columns have fewer: 0 \(2\)'):
        voc_svm.stratified_folds(torch.arange(9)[:, None] < 2)


def test_difficult_images_are_negatives_in_training_and_absent_in_the_test(data):
    """As in the original: -1 trains as 0 does, and does not count in the test."""
    as_negative = {**data, 'train_labels': data['train_labels'].clamp_min(0)}
    first, second = (voc_svm.full_protocol(BatchedSolver(), **d, costs=(0.1, 1.0)) for d in (data, as_negative))
    assert np.array_equal(first.test_ap, second.test_ap) and np.array_equal(first.chosen_cost, second.chosen_cost)
    counted = voc_svm.full_protocol(
        BatchedSolver(), **{**data, 'test_labels': data['test_labels'].clamp_min(0)}, costs=(0.1, 1.0)
    )
    assert not np.allclose(first.test_ap, counted.test_ap)


def test_low_shot_protocol_reports_both_choices(data):
    drawn = draw_samples(data['train_labels'].numpy(), (1, 4), 2, seed=0)
    targets = {key: torch.from_numpy(chosen) for key, chosen in drawn.items()}
    found = voc_svm.low_shot_protocol(BatchedSolver(), targets=targets, **data)
    assert found.test_ap.shape == found.held_out_ap.shape == (2, 2, len(voc_svm.COSTS))
    assert (found.chosen_on_held_out() <= found.chosen_on_test()).all()
    assert found.chosen_on_test()[1] > data['test_labels'].eq(1).double().mean()
    alone = voc_svm.low_shot_protocol(BatchedSolver(), targets=targets, **data, held_out=False)
    assert np.array_equal(alone.test_ap, found.test_ap) and np.isnan(alone.chosen_on_held_out()).all()
