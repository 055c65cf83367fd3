"""Linear SVMs of one set of samples for many costs, in terms of the samples' inner products.

The problem is that of `newton.py`. Its solution is w = X^T a with a_i = d_i y_i slack_i, where slack_i = max(0, 1 - y_i f_i),
d_i = 2 C c_i and f = X w = K a, K = X X^T. Where there are fewer samples than numbers per sample, K is the smaller matrix.

- As long as all samples are inside the margin, which is so for small C, the problem is a ridge regression: (K + D^-1) a = y. For all
  C at once it takes one Krylov space, as with S = diag(c)^1/2 the matrices S K S + I / (2 C) differ by a shift only
  (Frommer and Maass, "Fast CG-Based Methods for Tikhonov-Phillips Regularization", SIAM J. Sci. Comput. 20, 1999).
- For each larger C Newton's method goes on from the solution before. Its step is exact where few samples are inside the margin, by a
  Cholesky factorisation as large as their number; else it is found by conjugate gradients, one product with K each.

Features of a network have a large mean in common, which the a_i of a large C cancel but for a small rest: with K in float32, decision
values for C = 100 were wrong by up to a tenth (random ResNet-50, 1,600 samples). `InnerProducts` therefore keeps the few directions in
which the samples are long in float64, and rounds what is left.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...errors import DataError, SelfSupWarning, ShapeError
from .newton import MAX_NEWTON_STEPS, line_search

MAX_KRYLOV_STEPS, MAX_CG_STEPS = 60, 60
LOOK_EVERY = 4  # steps of the Krylov space
FORCING = 0.03  # conjugate gradients stop when they have reduced the residual to this part
EXACT_SAMPLES = 700  # up to here a factorisation is quicker than conjugate gradients
WORTH_A_COPY = 0.7  # share of the samples that is inside the margin
HEAD = 16  # directions that are kept in float64
ROUNDING = 3e-8  # error of a product with a matrix in float32, relative to its norm: less than an ulp, as errors of a sum average out
SINGLE_CONDITION, DOUBLE_CONDITION = 1e5, 1e13  # of a Hessian: what factorisations in float32 and float64 bear
REFINEMENTS = 2  # solutions with a factorisation in float32; the second corrects the first


class InnerProducts(NamedTuple):
    """Inner products of n samples, K = H H^T + R.

    Attributes:
        head: H, (n, h) float64: coordinates in the directions in which the samples are long.
        rest: R, (n, n) float32, or float64 where float32 is not enough.
        largest: bound of R's eigenvalues.
    """

    head: Tensor
    rest: Tensor
    largest: float

    def of(self, rows: Tensor) -> InnerProducts:
        """Those of some of the samples."""
        return InnerProducts(self.head[rows], self.rest[rows[:, None], rows], self.largest)

    def times(self, a: Tensor, rows: Tensor | slice = slice(None), part: Tensor | None = None) -> Tensor:
        """a K, (..., n) float64; of only some rows of K with `rows` and `part`, R[rows]."""
        rest = self.rest if part is None else part
        return (a @ self.head[rows]) @ self.head.T + (a.to(rest.dtype) @ rest).double()


def inner_products(samples: Tensor, cost: float) -> tuple[InnerProducts, Tensor]:
    """Inner products of samples in a basis where X^T X is about diagonal (`eigenbasis`).

    Args:
        samples: (n, r). cost: the largest 2 C c_i there will be; it decides how exact they must be.

    Returns:
        The products, and which numbers of a sample are in their head (h,).

    Raises:
        DataError: the samples are not finite, or so long that `cost` times their inner products exceeds the accuracy of float64.
    """
    energies, order = samples.square().sum(0).double().sort(descending=True)
    head, rest = samples[:, order[:HEAD]].double(), samples[:, order[HEAD:]]
    largest = float(energies[HEAD]) if len(energies) > HEAD else 0.0
    if not cost * float(energies.sum()) <= DOUBLE_CONDITION:  # NaN is no answer either
        raise DataError(
            f'{len(samples)} samples with a sum of squares of {float(energies.sum()):.3g} are too long for an SVM with 2 C = '
            f'{cost:g}, or not finite. Normalise the features.'
        )
    rest = rest.float() if cost * largest <= SINGLE_CONDITION else rest.double()
    return InnerProducts(head, rest @ rest.T, largest), order[:HEAD]


@torch.no_grad()
def solve_costs(
    products: InnerProducts, signs: Tensor, class_weights: Tensor, costs: Sequence[float], tolerance: float = 1e-4
) -> Tensor:
    """Solve one SVM for every cost.

    Args:
        products: of the samples, each with its 1 appended.
        signs: y in {1, -1}, (n,). class_weights: c_i > 0, (n,).
        costs: C > 0, in any order.
        tolerance: bound of the error of w in the norm of the Hessian, relative to ||w||.

    Returns:
        a of each cost, (costs, n) float64: w = X^T a. In the directions of the head the a_i cancel: there the product wants float64.

    Raises:
        ShapeError: sizes do not fit.
    """
    if not signs.shape == class_weights.shape == products.rest.shape[:1] == products.head.shape[:1]:
        raise ShapeError(
            f'{len(products.head)} samples, signs {tuple(signs.shape)}, class weights {tuple(class_weights.shape)}; expected '
            'one of each per sample.'
        )
    signs, class_weights = signs.double(), class_weights.double()
    order = sorted(range(len(costs)), key=lambda i: costs[i])
    solutions = signs.new_empty(len(costs), len(signs))
    solutions[order], solved = _ridge(products, signs, class_weights, [costs[i] for i in order], tolerance)
    start = None
    for i, done in zip(order, solved, strict=True):
        if not done:
            solutions[i] = _newton(
                products,
                signs,
                2 * costs[i] * class_weights,
                [a for a in (solutions[i], start) if a is not None],
                tolerance,
            )
        start = solutions[i]
    return solutions


def _ridge(
    products: InnerProducts, signs: Tensor, class_weights: Tensor, costs: list[float], tolerance: float
) -> tuple[Tensor, list[bool]]:
    """Ridge regressions of ascending cost by Lanczos' method, with vectors that are kept orthogonal.

    It ends when those solutions that have all samples inside the margin are as exact as the tolerance asks.

    Returns:
        a, (costs, n), and for each cost whether it solves the SVM.
    """
    n, root = len(signs), class_weights.sqrt()
    right = root * signs
    size = right.norm()
    shifts = 0.5 / torch.tensor(costs, dtype=torch.float64, device=signs.device)
    most, k = min(MAX_KRYLOV_STEPS, n), 0
    space, projected = signs.new_empty(most + 1, n), signs.new_zeros(most, most)
    space[0] = right / size
    while True:
        k += 1
        product = root * products.times(root * space[k - 1])
        along = space[:k] @ product
        product -= along @ space[:k]
        product -= (space[:k] @ product) @ space[:k]  # once is not enough
        projected[k - 1, k - 1], beyond = along[-1], product.norm()
        if k % LOOK_EVERY == 0 or k == most:
            values, vectors = torch.linalg.eigh(projected[:k, :k])
            in_space = size * (vectors / (values + shifts[:, None])[:, None]) @ vectors[0]  # (costs, k)
            squares = (in_space * (in_space @ projected[:k, :k])).sum(1)  # ||w||^2
            allowed = tolerance**2 * shifts * squares
            exact = (beyond * in_space[:, -1]).square() <= allowed
            a = root * (in_space @ space[:k])
            inside = (a * signs > 0).all(1)
            if k == most or bool((exact | ~inside).all()):
                rounding = ROUNDING * products.largest * float(class_weights.max()) * in_space.norm(dim=1)
                return a, (exact & inside & (rounding.square() <= allowed)).tolist()
        space[k] = product / beyond.clamp_min(1e-30)
        projected[k, k - 1] = projected[k - 1, k] = beyond


def _newton(products: InnerProducts, signs: Tensor, d: Tensor, starts: list[Tensor], tolerance: float) -> Tensor:
    """Args: d: 2 C c_i, (n,). starts: first guesses of a; the best is taken."""

    def slack_of(f: Tensor) -> Tensor:
        return (1 - signs * f).clamp_min(0)

    guesses = [(a, products.times(a)) for a in starts]
    a, f = min(guesses, key=lambda guess: float(guess[0] @ guess[1] + d @ slack_of(guess[1]).square()))
    slack = slack_of(f)
    for _ in range(MAX_NEWTON_STEPS):
        inside = slack > 0
        rows = inside.nonzero().flatten()
        newton_step = None
        if len(rows) > EXACT_SAMPLES:
            newton_step = _conjugate_gradients(products, rows, a - d * signs * slack, d, tolerance**2 * float(a @ f))
        if newton_step is None:
            solution = _solution(products, rows, signs[rows], 1 / d[rows])
            newton_step = (
                (-a).index_add(0, rows, solution),
                products.times(solution, rows, products.rest[rows]) - f,
                0.0,
            )
        step, change, error = newton_step
        across = a @ change
        length = line_search(across, step @ change, f, change, signs, d)
        # The error minus the slope bounds the squared error of w before the step.
        slope = float(across - (d * signs * slack) @ change)
        a, f = a + length * step, f + length * change
        slack = slack_of(f)
        bound = tolerance**2 * float(a @ f)
        if error - slope <= bound or (error <= bound and float(length) == 1 and bool(((slack > 0) == inside).all())):
            return a
    warnings.warn(f'An SVM did not reach the tolerance {tolerance} in {MAX_NEWTON_STEPS} Newton steps.', SelfSupWarning)
    return a


def _solution(products: InnerProducts, rows: Tensor, right: Tensor, diagonal: Tensor) -> Tensor:
    """x, (m,) float64, of (K[rows, rows] + diag(diagonal)) x = right: a factorisation without the head, which Woodbury's identity adds."""
    head, matrix, _ = products.of(rows)
    matrix.diagonal().add_(diagonal)
    factor = torch.linalg.cholesky(matrix)
    solved = torch.cholesky_solve(head.to(matrix.dtype), factor).double()
    small = torch.linalg.lu_factor(torch.eye(head.shape[1], dtype=torch.float64, device=head.device) + head.T @ solved)
    x = torch.zeros_like(right)
    for _ in range(REFINEMENTS):
        residual = right - head @ (head.T @ x) - (matrix @ x.to(matrix.dtype)).double()
        z = torch.cholesky_solve(residual[:, None].to(matrix.dtype), factor).double()
        x = x + (z - solved @ torch.linalg.lu_solve(*small, head.T @ z))[:, 0]
    return x


def _conjugate_gradients(
    products: InnerProducts, rows: Tensor, gradient: Tensor, d: Tensor, bound: float
) -> tuple[Tensor, Tensor, float] | None:
    """Newton step X^T s of (I + X^T D X) X^T s = -X^T gradient, D = d on `rows`, 0 elsewhere.

    Returns:
        s, (n,); K s, (n,); the squared length of the residual, which bounds the squared error of w in the norm of the Hessian.
        None where it would take too many steps, or where rounding takes over, as it can for many samples of low rank.
    """
    part = products.rest[rows] if len(rows) < WORTH_A_COPY * len(d) else None
    weights = torch.zeros_like(d).index_copy(0, rows, d[rows])
    residual = -gradient
    effect = products.times(residual)
    direction, along = residual, effect
    step, change = torch.zeros_like(residual), torch.zeros_like(residual)
    error = float(residual @ effect)
    goal = max(FORCING**2 * error, 0.1 * bound)
    for _ in range(MAX_CG_STEPS):
        if abs(error) <= goal:
            return step, change, abs(error)
        curved = weights * along
        product = direction + curved
        across = along + (products.times(curved) if part is None else products.times(curved[rows], rows, part))
        curvature = float(direction @ across)
        if not min(error, curvature) > 0:
            return None
        length = error / curvature
        step, change = step + length * direction, change + length * along
        residual, effect = residual - length * product, effect - length * across
        error, before = float(residual @ effect), error
        direction, along = residual + error / before * direction, effect + error / before * along
    return None
