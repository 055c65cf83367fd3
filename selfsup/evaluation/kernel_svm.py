"""Linear SVMs of one set of samples for many costs, in terms of the samples' inner products.

The problem is that of `svm.py`. Its solution is w = X^T a with a_i = d_i y_i slack_i, where slack_i = max(0, 1 - y_i f_i),
d_i = 2 C c_i and f = X w = K a, K = X X^T. Where there are fewer samples than numbers per sample, K is the smaller matrix.

- As long as all samples are inside the margin, which is so for small C, the problem is a ridge regression: (K + D^-1) a = y. For all
  C at once it takes one Krylov space, as with S = diag(c)^1/2 the matrices S K S + I / (2 C) differ by a shift only
  (Frommer and Maass, "Fast CG-Based Methods for Tikhonov-Phillips Regularization", SIAM J. Sci. Comput. 20, 1999).
- For each larger C Newton's method goes on from the solution before. Its step is exact where few samples are inside the margin, by a
  Cholesky factorisation as large as their number; else it is found by conjugate gradients, one product with K each.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import SelfSupWarning
from .svm import MAX_NEWTON_STEPS, line_search

MAX_KRYLOV_STEPS, MAX_CG_STEPS = 60, 60
LOOK_EVERY = 4  # steps of the Krylov space
FORCING = 0.03  # conjugate gradients stop when they have reduced the residual to this part
EXACT_SAMPLES = 800  # up to here a factorisation is quicker than conjugate gradients
WORTH_A_COPY = 0.7  # share of the samples that is inside the margin


@torch.no_grad()
def solve_costs(kernel: Tensor, signs: Tensor, class_weights: Tensor, costs: Sequence[float], tolerance: float = 1e-4) -> Tensor:
    """Solve one SVM for every cost.

    Args:
        kernel: inner products of the samples, each with its 1 appended; (n, n) float32.
        signs: y in {1, -1}, (n,). class_weights: c_i > 0, (n,).
        costs: C > 0, in any order.
        tolerance: bound of the error of w in the norm of the Hessian, relative to ||w||.

    Returns:
        a of each cost, (costs, n): w = X^T a.
    """
    order = sorted(range(len(costs)), key=lambda i: costs[i])
    found = kernel.new_empty(len(costs), len(signs))
    found[order], solved = _ridge(kernel, signs, class_weights, [costs[i] for i in order], tolerance)
    start = None
    for i, done in zip(order, solved, strict=True):
        if not done:
            found[i] = _newton(kernel, signs, 2 * costs[i] * class_weights, [a for a in (found[i], start) if a is not None], tolerance)
        start = found[i]
    return found


def _ridge(kernel: Tensor, signs: Tensor, class_weights: Tensor, costs: list[float], tolerance: float) -> tuple[Tensor, list[bool]]:
    """Ridge regressions of ascending cost by Lanczos' method, with vectors that are kept orthogonal.

    It ends when those solutions that have all samples inside the margin are as exact as the tolerance asks.

    Returns:
        a, (costs, n), and for each cost whether it solves the SVM.
    """
    n, root = len(signs), class_weights.sqrt()
    right = root * signs
    size = right.norm()
    shifts = 0.5 / torch.tensor(costs, dtype=torch.float64, device=kernel.device)
    most, k = min(MAX_KRYLOV_STEPS, n), 0
    space, projected = kernel.new_empty(most + 1, n), torch.zeros(most, most, dtype=torch.float64, device=kernel.device)
    space[0] = right / size
    while True:
        k += 1
        product = root * (kernel @ (root * space[k - 1]))
        along = space[:k] @ product
        product -= along @ space[:k]
        product -= (space[:k] @ product) @ space[:k]  # once is not enough in float32
        projected[k - 1, k - 1], beyond = along[-1], product.norm()
        if k % LOOK_EVERY == 0 or k == most:
            values, vectors = torch.linalg.eigh(projected[:k, :k])
            in_space = size * (vectors / (values + shifts[:, None])[:, None]) @ vectors[0]  # (costs, k)
            squares = (in_space * (in_space @ projected[:k, :k])).sum(1)  # ||w||^2
            exact = (beyond * in_space[:, -1]).square() <= tolerance ** 2 * shifts * squares
            a = root * (in_space.float() @ space[:k])
            inside = (a * signs > 0).all(1)
            if k == most or bool((exact | ~inside).all()):
                return a, (exact & inside).tolist()
        space[k] = product / beyond.clamp_min(1e-30)
        projected[k, k - 1] = projected[k - 1, k] = beyond


def _newton(kernel: Tensor, signs: Tensor, d: Tensor, starts: list[Tensor], tolerance: float) -> Tensor:
    """Args: d: 2 C c_i, (n,). starts: first guesses of a; the best is taken."""
    def slack_of(f: Tensor) -> Tensor:
        return (1 - signs * f).clamp_min(0)

    guesses = [(a, a @ kernel) for a in starts]
    a, f = min(guesses, key=lambda guess: float(guess[0] @ guess[1] + d @ slack_of(guess[1]).square()))
    slack = slack_of(f)
    for _ in range(MAX_NEWTON_STEPS):
        inside = slack > 0
        rows = inside.nonzero().flatten()
        if len(rows) <= EXACT_SAMPLES:
            factor = kernel[rows[:, None], rows]
            factor.diagonal().add_(1 / d[rows])
            solution = torch.cholesky_solve(signs[rows, None], torch.linalg.cholesky(factor))[:, 0]
            step, change, error = (-a).index_add(0, rows, solution), solution @ kernel[rows] - f, 0.0
        else:
            step, change, error = _conjugate_gradients(kernel, rows, a - d * signs * slack, d, tolerance ** 2 * float(a @ f))
        across = a @ change
        length = line_search(across, step @ change, f, change, signs, d)
        slope = float(across - (d * signs * slack) @ change)  # -slope is the squared error of w in the norm of the Hessian
        a, f = a + length * step, f + length * change
        slack = slack_of(f)
        bound = tolerance ** 2 * float(a @ f)
        if -slope <= bound or (error <= bound and float(length) == 1 and bool(((slack > 0) == inside).all())):
            return a
    warnings.warn(f'An SVM did not reach the tolerance {tolerance} in {MAX_NEWTON_STEPS} Newton steps.', SelfSupWarning)
    return a


def _conjugate_gradients(kernel: Tensor, rows: Tensor, gradient: Tensor, d: Tensor, bound: float) -> tuple[Tensor, Tensor, float]:
    """Newton step X^T s of (I + X^T D X) X^T s = -X^T gradient, D = d on `rows`, 0 elsewhere.

    Returns:
        s, (n,); K s, (n,); the squared length of the residual, which bounds the squared error of w in the norm of the Hessian.
    """
    part = kernel[rows] if len(rows) < WORTH_A_COPY * len(kernel) else None
    weights = torch.zeros_like(d).index_copy(0, rows, d[rows])
    residual = -gradient
    effect = residual @ kernel
    direction, along = residual, effect
    step, change = torch.zeros_like(residual), torch.zeros_like(residual)
    error = float(residual @ effect)
    goal = max(FORCING ** 2 * error, 0.1 * bound)
    for _ in range(MAX_CG_STEPS):
        curved = weights * along
        product = direction + curved
        across = along + (curved @ kernel if part is None else curved[rows] @ part)
        length = error / max(float(direction @ across), 1e-30)
        step, change = step + length * direction, change + length * along
        residual, effect = residual - length * product, effect - length * across
        error, before = float(residual @ effect), error
        if error <= goal:
            break
        direction, along = residual + error / before * direction, effect + error / before * along
    return step, change, error
