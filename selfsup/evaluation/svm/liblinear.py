"""The documented solver of the VOC2007 protocols: one `sklearn.svm.LinearSVC` after the other, a process per core."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from .voc07 import FOLDS, POSITIVE_WEIGHT, FullScores
from .voc07_labels import DIFFICULT, POSITIVE

SETTINGS = {
    'class_weight': {1: POSITIVE_WEIGHT, -1: 1},
    'intercept_scaling': 1.0,
    'penalty': 'l2',
    'loss': 'squared_hinge',
}


def fit_one(
    features: np.ndarray,
    positive: np.ndarray,
    cost: float,
    tolerance: float = 1e-4,
    max_iterations: int = 2000,
    dual: bool = True,
):
    """A fitted `LinearSVC`.

    Args:
        features: (n, D) float64. positive: (n,) bool.
        tolerance, max_iterations, dual: of liblinear; the defaults are the documented ones.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    with warnings.catch_warnings():
        # The documented limit of 2000 rounds is often reached at C = 100.
        warnings.simplefilter('ignore', ConvergenceWarning)
        svm = LinearSVC(C=cost, tol=tolerance, max_iter=max_iterations, dual=dual, random_state=0, **SETTINGS)
        return svm.fit(features, np.where(positive, 1, -1))


class SklearnSolver:
    """Solves the problems of the VOC2007 protocols one by one with scikit-learn, in several processes.

    Args:
        tolerance, max_iterations: see `fit_one`.
        jobs: number of processes; None: one per core.
    """

    def __init__(self, tolerance: float = 1e-4, max_iterations: int = 2000, jobs: int | None = None) -> None:
        self.tolerance, self.max_iterations, self.jobs = tolerance, max_iterations, jobs or os.cpu_count()

    def _scores(
        self, features: np.ndarray, rows: np.ndarray, positive: np.ndarray, cost: float, others: Sequence[np.ndarray]
    ) -> list:
        svm = fit_one(features[rows], positive[rows], cost, self.tolerance, self.max_iterations)
        return [svm.decision_function(x) for x in others]

    def _run(self, tasks: Sequence[tuple]) -> list[list[np.ndarray]]:
        from joblib import Parallel, delayed

        # Joblib shares the arrays through files.
        return Parallel(n_jobs=self.jobs)(delayed(self._scores)(*task) for task in tasks)

    def fit_full(
        self, train: Tensor, positive: Tensor, folds: Tensor, test: Tensor, costs: Sequence[float]
    ) -> FullScores:
        """Class by class and cost by cost: three folds, then all samples."""
        x, y, fold_of, other = (t.cpu().numpy() for t in (train, positive, folds, test))
        everything = np.ones(len(x), bool)
        plan = [(at, c, fold) for at in range(len(costs)) for c in range(y.shape[1]) for fold in (*range(FOLDS), None)]
        results = self._run(
            [
                (x, everything, y[:, c], costs[at], [other])
                if fold is None
                else (x, fold_of[:, c] != fold, y[:, c], costs[at], [x])
                for at, c, fold in plan
            ]
        )
        held_out = np.empty((len(costs), y.shape[1], len(x)))
        judged = np.empty((len(costs), y.shape[1], len(other)))
        for (at, c, fold), (scores,) in zip(plan, results, strict=True):
            if fold is None:
                judged[at, c] = scores
            else:
                held_out[at, c, fold_of[:, c] == fold] = scores[fold_of[:, c] == fold]
        return FullScores(torch.from_numpy(held_out), torch.from_numpy(judged))

    def fit_low_shot(
        self, train: Tensor, labels: Sequence[Tensor], others: Sequence[Tensor], costs: Sequence[float]
    ) -> Iterator[list[Tensor]]:
        """One class after the other."""
        features, judged = train.cpu().numpy(), [x.cpu().numpy() for x in others]
        for c in range(labels[0].shape[1]):
            columns = [target[:, c].cpu().numpy() for target in labels]
            results = self._run(
                [
                    (features, column != DIFFICULT, column == POSITIVE, cost, judged)
                    for column in columns
                    for cost in costs
                ]
            )
            yield [
                torch.from_numpy(np.stack([result[i] for result in results])).view(len(labels), len(costs), -1)
                for i in range(len(others))
            ]
