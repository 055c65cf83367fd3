"""SVMs of one set of samples by inner products: the condition of optimality, LinearSVC, no dependence on order."""

import numpy as np
import pytest
import torch

from selfsup.errors import SelfSupWarning
from selfsup.evaluation import kernel_svm
from selfsup.evaluation.kernel_svm import solve_costs
from selfsup.evaluation.sklearn_svm import fit_one
from selfsup.evaluation.voc_svm import COSTS


def samples_of(n, width, seed=0):
    """Unit vectors with a 1 appended, signs with one positive in eight, class weights."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, width, generator=generator) * torch.arange(1, width + 1) ** -0.5 + 0.3
    signs = torch.where(torch.arange(n) % 8 == 0, 1.0, -1.0)
    x[:, :3] += 0.5 * signs[:, None]
    x = torch.cat([x / x.norm(dim=1, keepdim=True), torch.ones(n, 1)], dim=1)
    return x, signs, torch.where(signs > 0, 2.0, 1.0)


def errors(x, a, signs, class_weights, costs):
    """Error of w in the norm of the Hessian relative to ||w||, per cost: from gradient and Hessian in float64."""
    x, a, signs, found = x.double(), a.double(), signs.double(), []
    for w, cost in zip(a @ x, costs, strict=True):
        slack = (1 - signs * (x @ w)).clamp_min(0)
        d = 2 * cost * class_weights.double()
        gradient = w - (d * signs * slack) @ x
        hessian = torch.eye(len(w), dtype=torch.float64) + x.T @ (x * (d * (slack > 0))[:, None])
        found.append(float((gradient @ torch.linalg.solve(hessian, gradient)).sqrt() / w.norm()))
    return found


@pytest.mark.parametrize(('n', 'width'), [(5, 3), (60, 200), (60, 20), (400, 500)])
def test_as_exact_as_asked_for_every_cost(n, width):
    x, signs, weights = samples_of(n, width)
    a = solve_costs(x @ x.T, signs, weights, COSTS)
    assert max(errors(x, a, signs, weights, COSTS)) < 2e-4  # asked: 1e-4; for C = 100 the products in float32 add 1e-4
    assert a.shape == (len(COSTS), n)


def test_steps_by_conjugate_gradients_and_by_factorisation_agree(monkeypatch):
    x, signs, weights = samples_of(300, 400)
    exact = solve_costs(x @ x.T, signs, weights, COSTS) @ x
    monkeypatch.setattr(kernel_svm, 'EXACT_SAMPLES', 0)
    inexact = solve_costs(x @ x.T, signs, weights, COSTS) @ x
    assert float(((exact - inexact).norm(dim=1) / exact.norm(dim=1)).max()) < 5e-4
    assert not torch.equal(exact, inexact)


def test_same_as_linear_svc():
    x, signs, weights = samples_of(200, 80)
    ours = solve_costs(x @ x.T, signs, weights, COSTS) @ x @ x.T
    for cost, scores in zip(COSTS, ours, strict=True):
        svm = fit_one(x[:, :-1].double().numpy(), (signs > 0).numpy(), cost, 1e-9, 5000, dual=False)
        theirs = svm.decision_function(x[:, :-1].double().numpy())
        assert np.abs(scores.numpy() - theirs).max() < 1e-3 * np.abs(theirs).max(), cost


def test_order_of_costs_and_samples_counted_twice():
    x, signs, weights = samples_of(50, 30)
    kernel = x @ x.T
    costs = [0.01, 0.5, 20.0]
    forward, backward = solve_costs(kernel, signs, weights, costs), solve_costs(kernel, signs, weights, costs[::-1])
    torch.testing.assert_close(forward, backward.flip(0))
    twice = torch.cat([x, x])
    doubled = solve_costs(twice @ twice.T, signs.repeat(2), weights.repeat(2), costs, 1e-6) @ twice
    w = solve_costs(kernel, signs, weights, [2 * c for c in costs], 1e-6) @ x
    torch.testing.assert_close(doubled, w, rtol=0, atol=1e-4 * float(w.abs().max()))


def test_out_of_steps_is_a_warning(monkeypatch):
    monkeypatch.setattr(kernel_svm, 'MAX_NEWTON_STEPS', 1)
    x, signs, weights = samples_of(100, 120)
    with pytest.warns(SelfSupWarning, match='did not reach the tolerance'):
        solve_costs(x @ x.T, signs, weights, [10.0])
