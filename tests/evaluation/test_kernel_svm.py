"""SVMs of one set of samples by inner products: the condition of optimality, LinearSVC, no dependence on order."""

import numpy as np
import pytest
import torch

from selfsup.errors import DataError, SelfSupWarning, ShapeError
from selfsup.evaluation.svm import kernel as kernel_svm
from selfsup.evaluation.svm.kernel import inner_products, solve_costs
from selfsup.evaluation.svm.liblinear import fit_one
from selfsup.evaluation.svm.voc07 import COSTS


def samples_of(n, width, seed=0):
    """Unit vectors with a 1 appended, signs with one positive in eight, class weights."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, width, generator=generator) * torch.arange(1, width + 1) ** -0.5 + 0.3
    signs = torch.where(torch.arange(n) % 8 == 0, 1.0, -1.0)
    x[:, :3] += 0.5 * signs[:, None]
    return with_one(x), signs.double(), torch.where(signs > 0, 2.0, 1.0).double()


def with_one(x):
    """Rows of length 1, and a 1: float64."""
    x = x.double()
    return torch.cat([x / x.norm(dim=1, keepdim=True), x.new_ones(len(x), 1)], dim=1)


def solved(x, signs, weights, costs, tolerance=1e-4):
    """a of each cost, for samples in any basis."""
    vectors = torch.linalg.eigh(x.T @ x).eigenvectors
    return solve_costs(
        inner_products(x @ vectors, 2 * max(costs) * float(weights.max()))[0], signs, weights, costs, tolerance
    )


def errors(x, a, signs, class_weights, costs):
    """Error of w in the norm of the Hessian relative to ||w||, per cost: from gradient and Hessian in float64."""
    found = []
    for w, cost in zip(a @ x, costs, strict=True):
        slack = (1 - signs * (x @ w)).clamp_min(0)
        d = 2 * cost * class_weights
        gradient = w - (d * signs * slack) @ x
        hessian = torch.eye(len(w), dtype=torch.float64) + x.T @ (x * (d * (slack > 0))[:, None])
        found.append(float((gradient @ torch.linalg.solve(hessian, gradient)).sqrt() / w.norm()))
    return found


@pytest.mark.parametrize(('n', 'width'), [(5, 3), (60, 200), (60, 20), (400, 500)])
def test_as_exact_as_asked_for_every_cost(n, width):
    x, signs, weights = samples_of(n, width)
    a = solved(x, signs, weights, COSTS)
    # Asked: 1e-4; float32 in the ridge regressions may add as much.
    assert max(errors(x, a, signs, weights, COSTS)) < 2e-4
    assert a.shape == (len(COSTS), n)


@pytest.mark.parametrize('exact_samples', [kernel_svm.EXACT_SAMPLES, 0])
def test_features_that_differ_little(monkeypatch, exact_samples):
    """As those of a random network: a large mean in common, a spectrum that falls fast, labels that say little."""
    monkeypatch.setattr(kernel_svm, 'EXACT_SAMPLES', exact_samples)
    generator = torch.Generator().manual_seed(0)
    x = with_one(1 + 0.1 * torch.randn(300, 400, generator=generator) * torch.arange(1, 401) ** -1.0)
    signs = torch.where(torch.rand(300, generator=generator) < 0.1, 1.0, -1.0).double()
    weights = torch.where(signs > 0, 2.0, 1.0).double()
    assert max(errors(x, solved(x, signs, weights, COSTS), signs, weights, COSTS)) < 2e-4


def test_conjugate_gradients_give_up_where_rounding_takes_over(monkeypatch):
    """Many samples of low rank and a huge C: the squared residual is a small difference of large numbers."""
    x, signs, weights = samples_of(400, 200)
    signs = torch.where(torch.rand(400, generator=torch.Generator().manual_seed(1)) < 0.5, 1.0, -1.0).double()
    given_up = []
    found = kernel_svm._conjugate_gradients
    monkeypatch.setattr(kernel_svm, '_conjugate_gradients', lambda *args: given_up.append(found(*args)) or given_up[-1])
    monkeypatch.setattr(kernel_svm, 'EXACT_SAMPLES', 0)
    costs = (1.0, 10.0, 100.0, 1e4)
    assert max(errors(x, solved(x, signs, weights, costs, 1e-6), signs, weights, costs)) < 5e-3
    assert any(step is None for step in given_up)


@pytest.mark.parametrize('n', [1, 2, 5])
def test_few_samples_all_of_one_sign_all_alike(n):
    signs, weights = torch.ones(n).double(), torch.full((n,), 2.0).double()
    x = with_one(torch.ones(n, 3))
    a = solved(x, signs, weights, COSTS)
    for w, cost in zip(a @ x, COSTS, strict=True):  # w = s x with s |x|^2 / (1 - s |x|^2) = 4 C n |x|^2, |x|^2 = 2
        score = 8 * cost * n / (1 + 8 * cost * n)
        assert (w @ x[0]).item() == pytest.approx(score, rel=1e-4)


def test_no_answer_to_samples_that_are_too_long_or_not_finite():
    x, signs, weights = samples_of(20, 30)
    for bad in (1e6 * x, torch.where(x > 0.9, torch.nan, x), torch.full_like(x, torch.inf)):
        with pytest.raises(DataError, match='Normalise the features'):
            solved(bad, signs, weights, COSTS)
    a = solved(100 * x, signs, weights, COSTS)  # features of length 100 are not too long
    assert max(errors(100 * x, a, signs, weights, COSTS)) < 1e-3
    with pytest.raises(ShapeError, match=r'20 samples, signs \(19,\)'):
        solved(x, signs[:-1], weights, COSTS)


def test_steps_by_conjugate_gradients_and_by_factorisation_agree(monkeypatch):
    x, signs, weights = samples_of(300, 400)
    exact = solved(x, signs, weights, COSTS) @ x
    monkeypatch.setattr(kernel_svm, 'EXACT_SAMPLES', 0)
    inexact = solved(x, signs, weights, COSTS) @ x
    assert float(((exact - inexact).norm(dim=1) / exact.norm(dim=1)).max()) < 5e-4
    assert not torch.equal(exact, inexact)


def test_same_as_linear_svc():
    x, signs, weights = samples_of(200, 80)
    ours = solved(x, signs, weights, COSTS) @ x @ x.T
    for cost, scores in zip(COSTS, ours, strict=True):
        svm = fit_one(x[:, :-1].numpy(), (signs > 0).numpy(), cost, 1e-9, 5000, dual=False)
        theirs = svm.decision_function(x[:, :-1].numpy())
        assert np.abs(scores.numpy() - theirs).max() < 1e-3 * np.abs(theirs).max(), cost


def test_order_of_costs_and_samples_counted_twice():
    x, signs, weights = samples_of(50, 30)
    costs = [0.01, 0.5, 20.0]
    forward, backward = solved(x, signs, weights, costs), solved(x, signs, weights, costs[::-1])
    torch.testing.assert_close(forward, backward.flip(0))
    twice = torch.cat([x, x])
    doubled = solved(twice, signs.repeat(2), weights.repeat(2), costs, 1e-6) @ twice
    w = solved(x, signs, weights, [2 * c for c in costs], 1e-6) @ x
    torch.testing.assert_close(doubled, w, rtol=0, atol=1e-4 * float(w.abs().max()))


def test_out_of_steps_is_a_warning(monkeypatch):
    monkeypatch.setattr(kernel_svm, 'MAX_NEWTON_STEPS', 1)
    x, signs, weights = samples_of(100, 120)
    with pytest.warns(SelfSupWarning, match='did not reach the tolerance'):
        solved(x, signs, weights, [10.0])
