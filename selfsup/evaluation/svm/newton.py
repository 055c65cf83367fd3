"""Linear SVMs by the thousand: all that share their samples are solved together.

One problem is liblinear's L2-regularised squared hinge (Fan et al., "LIBLINEAR: A Library for Large Linear Classification",
JMLR 9, 2008, section 2):

    minimise over w   P(w) = ||w||^2 / 2 + C sum_i c_i max(0, 1 - y_i w.x_i)^2

where x_i ends in a 1, so that the intercept is a regularised weight (`intercept_scaling=1`), and c_i is the weight of the
sample's class, or 0 for a sample that the problem does not have.

The solver is a truncated Newton method (Keerthi and DeCoste, "A Modified Finite Newton Method for Fast Solution of Large Scale
Linear SVMs", JMLR 6, 2005) on all problems at once: a Hessian product, w -> w + X^T D X w with D = 2 C c_i on the samples inside
the margin, is two matrix products with the common X. `Basis` first turns X into the eigenvectors of X^T X. There every Hessian
is nearly diagonal, and its exact diagonal, one more matrix product, preconditions conjugate gradients: the count of iterations
falls to a third, for C = 100 to a quarter.

Axes: B sets of samples, Q problems on each, n samples, r numbers per sample.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...errors import SelfSupWarning, ShapeError

MAX_NEWTON_STEPS, MAX_CG_STEPS, MAX_SEARCH_STEPS = 60, 40, 6
FORCING = 0.1  # conjugate gradients stop when they have reduced the residual to this part
SLOPE_LEFT = 0.25  # and the line search when it has reduced the slope to this part
WORTH_A_COPY = 0.7  # share of the samples that still takes part
FINISHED_SHARE = 0.15  # finished problems are dropped when they are at least this part of a batch
SMALLEST_EIGENVALUE = 1e-11  # of X X^T, relative to the largest; smaller ones are rounding noise of float64


class Basis(NamedTuple):
    """Samples in the eigenbasis of X^T X, where X has a last column of ones.

    Attributes:
        samples: (n, r) float32, r = min(n, d + 1) or a little less: the coordinates of each sample.
        rotation: (d + 1, r): takes other samples there.
    """

    samples: Tensor
    rotation: Tensor

    def coordinates(self, features: Tensor) -> Tensor:
        """(m, d) -> (m, r)."""
        return features.float() @ self.rotation[:-1] + self.rotation[-1]


class SvmSolution(NamedTuple):
    """Attributes: weights (B, Q, r) and the decision values of the samples, scores (B, Q, n)."""

    weights: Tensor
    scores: Tensor


@torch.no_grad()
def eigenbasis(features: Tensor) -> Basis:
    """Rotate samples, with the intercept's 1 appended. Inner products stay, so every SVM stays the same.

    Args:
        features: (n, d), finite.

    Raises:
        ShapeError: not (n, d) with n >= 1.
    """
    if features.ndim != 2 or not len(features):
        raise ShapeError(f'Features of shape {tuple(features.shape)}; expected (n, d) with at least one row.')
    if len(features) > features.shape[1]:
        samples = _with_ones(features.float())
        rotation = torch.linalg.eigh(samples.T @ samples).eigenvectors
        return Basis(samples @ rotation, rotation)
    samples = _with_ones(features.double())  # float64: here the rotation divides by eigenvalues
    values, vectors = torch.linalg.eigh(samples @ samples.T)
    large = values > SMALLEST_EIGENVALUE * values[-1]
    scale = values[large].sqrt()
    return Basis((vectors[:, large] * scale).float(), (samples.T @ (vectors[:, large] / scale)).float())


def _with_ones(features: Tensor) -> Tensor:
    return torch.cat([features, features.new_ones(len(features), 1)], dim=1)


@torch.no_grad()
def solve(
    samples: Tensor, signs: Tensor, loss_weights: Tensor, start: Tensor | None = None, tolerance: float = 1e-4
) -> SvmSolution:
    """Solve B x Q problems.

    Args:
        samples: (B, n, r) in a basis where X^T X is about diagonal; in any other the result is the same, later.
        signs: y in {1, -1}, (B, Q, n) or of size 1 along B or Q.
        loss_weights: C c_i, >= 0, (B, Q, n) or of size 1 along B; 0: the problem does not have the sample.
        start: (B, Q, r) first guess, for example the solution for a smaller C; None is 0.
        tolerance: bound of ||w - w*||_M / ||w||, where M is the diagonal of the Hessian. With 1e-4, decision
            values differ from those of the exact solution by less than 1e-3 of the largest (measured: benchmarks/speed/svm.py).

    Raises:
        ShapeError: sizes do not fit.
    """
    problems = torch.broadcast_shapes(signs.shape, loss_weights.shape)
    if samples.ndim != 3 or len(problems) != 3 or problems[::2] != samples.shape[:2]:
        raise ShapeError(
            f'{tuple(samples.shape)} samples with {tuple(problems)} signs and weights; expected (B, n, r) and (B, Q, n).'
        )
    signs, curvature = signs.expand(problems), 2 * loss_weights.expand(problems)
    weights = samples.new_zeros(*problems[:2], samples.shape[2]) if start is None else start.clone()
    scores = weights @ samples.mT
    live = torch.arange(problems[1], device=samples.device)  # problems that are not solved yet, on any of the sets
    squares = samples.square()
    for _ in range(MAX_NEWTON_STEPS):
        w, f, y, d = (t.index_select(1, live) for t in (weights, scores, signs, curvature))
        slack = (1 - y * f).clamp_min_(0)
        gradient = w - (y * d * slack) @ samples
        active = d * (slack > 0)
        diagonal = 1 + active @ squares
        size, error = w.square().sum(-1), (gradient.square() / diagonal).sum(-1)
        unsolved = (error > tolerance**2 * size).any(0).nonzero().flatten()
        if not len(unsolved):
            return SvmSolution(weights, scores)
        live = live[unsolved]
        w, f, y, d, gradient, active, diagonal, size, error = (
            t.index_select(1, unsolved) for t in (w, f, y, d, gradient, active, diagonal, size, error)
        )
        goal = torch.maximum(FORCING**2 * error, (0.3 * tolerance) ** 2 * size)
        step, change = _conjugate_gradients(samples, active, gradient, diagonal, goal)
        length = line_search(_dot(w, step), _dot(step, step), f, change, y, d)
        weights.index_copy_(1, live, w + length * step)
        scores.index_copy_(1, live, f + length * change)
    warnings.warn(
        f'{len(live)} batches of SVMs did not reach the tolerance {tolerance} in {MAX_NEWTON_STEPS} Newton steps; largest '
        f'error left: {float((error / size).max().sqrt()):.2g}.',
        SelfSupWarning,
    )
    return SvmSolution(weights, scores)


def _conjugate_gradients(
    x: Tensor, active: Tensor, gradient: Tensor, diagonal: Tensor, goal: Tensor
) -> tuple[Tensor, Tensor]:
    """Newton step s of (I + X^T active X) s = -gradient, up to a squared residual of `goal`, and its effect X s on the scores.

    Args:
        active: (B, Q, n) curvature of the samples inside the margin.
        gradient: (B, Q, r). diagonal: of the Hessian, (B, Q, r).
        goal: (B, Q).
    """
    everything = x
    inside = (active > 0).flatten(0, 1).any(0).nonzero().flatten()  # samples that are inside no margin take no part
    if len(inside) < WORTH_A_COPY * active.shape[2]:
        x, active = x[:, inside], active[..., inside]
    steps = torch.zeros_like(gradient)
    live = torch.arange(gradient.shape[1], device=x.device)
    step, residual = torch.zeros_like(gradient), -gradient
    direction = residual / diagonal
    norm = (residual * direction).sum(-1, keepdim=True)
    for iteration in range(MAX_CG_STEPS):
        product = direction + (active * (direction @ x.mT)) @ x
        length = norm / (direction * product).sum(-1, keepdim=True).clamp_min_(1e-30)
        # A finished problem of an unfinished set stays where it is.
        length = torch.where(norm > goal[..., None], length, 0)
        step.addcmul_(length, direction)
        residual.addcmul_(length, product, value=-1)
        scaled = residual / diagonal
        new = (residual * scaled).sum(-1, keepdim=True)
        finished = (new <= goal[..., None]).squeeze(-1).all(0)
        if iteration + 1 == MAX_CG_STEPS or bool(finished.all()):
            break
        direction = scaled.addcmul_(new / norm.clamp_min(1e-30), direction)
        norm = new
        if float(finished.float().mean()) > FINISHED_SHARE:
            done, unsolved = finished.nonzero().flatten(), (~finished).nonzero().flatten()
            steps.index_copy_(1, live[done], step.index_select(1, done))
            live = live[unsolved]
            step, residual, direction, norm, goal, active, diagonal = (
                t.index_select(1, unsolved) for t in (step, residual, direction, norm, goal, active, diagonal)
            )
    steps.index_copy_(1, live, step)
    return steps, steps @ everything.mT


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1, keepdim=True)


def line_search(across: Tensor, along: Tensor, f: Tensor, change: Tensor, y: Tensor, d: Tensor) -> Tensor:
    """Length t of a step, (..., 1). The slope of P along it is piecewise linear and rising; Newton's method finds its zero.

    Args:
        across, along: w.step and ||step||^2, (..., 1).
        f, change: scores X w and X step, (..., n). y, d: signs and 2 C c_i, (..., n).
    """
    first = None
    length = torch.zeros_like(across)
    for _ in range(MAX_SEARCH_STEPS):
        slack = (1 - y * (f + length * change)).clamp_min_(0)
        slope = across + length * along - (d * y * slack * change).sum(-1, keepdim=True)
        if first is None:  # at 0; the whole step is the first guess
            first, length = slope.abs(), torch.ones_like(length)
            continue
        steep = slope.abs() > SLOPE_LEFT * first
        if not bool(steep.any()):
            break
        curvature = along + (d * (slack > 0) * change.square()).sum(-1, keepdim=True)
        length = torch.where(steep, (length - slope / curvature.clamp_min(1e-30)).clamp(0.01, 4), length)
    return length


@torch.no_grad()
def solve_path(
    samples: Tensor, signs: Tensor, class_weights: Tensor, costs: Sequence[float], tolerance: float = 1e-4
) -> Iterator[tuple[float, SvmSolution]]:
    """Solve for one cost after the other, in ascending order; each solution is the first guess of the next.

    Args:
        samples: (B, n, r), see `solve`. signs: (B, Q, n).
        class_weights: c_i, (B, Q, n); 0: the problem does not have the sample.
        costs: C > 0.

    Yields:
        C and its solutions.
    """
    start: Tensor | None = None
    solution: SvmSolution | None = None
    before = 1.0  # the cost of `solution`
    for cost in sorted(costs):
        if solution is not None:
            # for small C the solution is proportional to C, for large C it moves little: search between
            w, f, more = solution.weights, solution.scores, cost / before - 1
            size = _dot(w, w)
            along = line_search(more * size, more**2 * size, f, more * f, signs, 2 * cost * class_weights)
            start = w + more * w * along
        solution, before = solve(samples, signs, cost * class_weights, start, tolerance), cost
        yield cost, solution
