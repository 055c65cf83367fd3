"""VOC2007 classification by linear SVMs on frozen features: the full and the low-shot protocol.

Goyal et al., "Scaling and Benchmarking Self-Supervised Visual Representation Learning", arXiv:1905.01235, sections 4.1 and 6.1,
with the settings of OpenSelfSup: costs 1, 10, 100, 2^-4 ... 2^-19, positives weigh twice, three folds choose the cost of each class.

Both protocols take either of two solvers that agree: `batched` (`batched.py`) and `sklearn` (`liblinear.py`, one `LinearSVC`
after the other). A solver has two functions: `fit_full` and `fit_low_shot`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError, ShapeError
from ..inputs import as_features, as_labels
from .average_precision import average_precision, check_labels
from .voc07_labels import DIFFICULT, POSITIVE

COSTS = (1.0, 10.0, 100.0, *(0.5**power for power in range(4, 20)))
K_VALUES = (1, 2, 4, 8, 16, 32, 64, 96)
SAMPLES = (1, 2, 3, 4, 5)
FOLDS = 3
POSITIVE_WEIGHT = 2.0


class FullScores(NamedTuple):
    """Attributes: held_out (costs, classes, N), decision values of each training image by the fold that did not see it;
    test (costs, classes, M), by the SVMs trained on all."""

    held_out: Tensor
    test: Tensor


class Solver(Protocol):
    """What both solvers can do."""

    def fit_full(
        self, train: Tensor, positive: Tensor, folds: Tensor, test: Tensor, costs: Sequence[float]
    ) -> FullScores:
        """All SVMs of the full protocol. Args: train (N, D), positive (N, classes) bool, folds (N, classes) int64, test (M, D)."""

    def fit_low_shot(self, train: Tensor, labels: Sequence[Tensor], others: Sequence[Tensor], costs: Sequence[float]):
        """Yields, per class, the scores (labels, costs, M_i) of each of `others` (M_i, D) for SVMs on each of `labels` (N, classes)."""


class FullResult(NamedTuple):
    """Attributes: crossval_ap (classes, costs), chosen_cost (classes,), test_ap (classes, 1), scores (classes, M): of the chosen SVMs."""

    crossval_ap: np.ndarray
    chosen_cost: np.ndarray
    test_ap: np.ndarray
    scores: np.ndarray


class LowShotResult(NamedTuple):
    """Attributes: test_ap and held_out_ap (samples, k, costs), mean AP over the classes on the test set, and on those training
    images that a sample left out."""

    test_ap: np.ndarray
    held_out_ap: np.ndarray

    def chosen_on_test(self) -> np.ndarray:
        """The documented number: for each k the best cost by its test AP, mean over samples. (k,)"""
        return self.test_ap.mean(0).max(1)

    def chosen_on_held_out(self) -> np.ndarray:
        """The honest number: test AP of the cost that is best on the training images left out. (k,), NaN where none was left out."""
        judged = self.held_out_ap.mean(0)
        honest = np.take_along_axis(self.test_ap.mean(0), judged.argmax(1)[:, None], 1)[:, 0]
        return np.where(np.isnan(judged[:, 0]), np.nan, honest)


def stratified_folds(positive: Tensor, folds: int = FOLDS) -> Tensor:
    """Fold of each image and class, as `cross_val_score(cv=3)` cuts them for each class.

    Args:
        positive: (N, classes) bool.

    Returns:
        (N, classes) int64 in [0, folds).

    Raises:
        DataError: a class with fewer than `folds` positives or negatives.
    """
    from sklearn.model_selection import StratifiedKFold

    few = [f'{c} ({n})' for c, n in enumerate(torch.minimum(positive.sum(0), (~positive).sum(0)).tolist()) if n < folds]
    if few:
        raise DataError(
            f'{folds} folds need {folds} positive and {folds} negative training images per class; these columns have fewer: '
            f'{", ".join(few)}.'
        )
    fold_of = torch.empty(positive.shape, dtype=torch.int64)
    rows = np.zeros(len(positive))
    for column in range(positive.shape[1]):
        split = StratifiedKFold(folds).split(rows, positive[:, column].cpu().numpy())
        for fold, (_, held_out) in enumerate(split):
            fold_of[torch.from_numpy(held_out), column] = fold
    return fold_of


def _as_tensors(
    train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tensors of what was given, see `inputs`, that belong together: features (N, D), (M, D), labels (N, classes), (M, classes)."""
    train, test = as_features(train, 'training'), as_features(test, 'test')
    train_labels, test_labels = as_labels(train_labels, 'training'), as_labels(test_labels, 'test')
    for features, labels, what in ((train, train_labels, 'training'), (test, test_labels, 'test')):
        if features.ndim != 2 or labels.ndim != 2 or len(features) != len(labels) or not len(features):
            raise ShapeError(
                f'The {what} features have shape {tuple(features.shape)}, their labels {tuple(labels.shape)}; expected '
                '(N, D) and (N, classes).'
            )
        if not bool(features.isfinite().all()):
            raise DataError(f'Some {what} features are NaN or infinite: the network has diverged.')
        check_labels(labels)
    if train.shape[1] != test.shape[1] or train_labels.shape[1] != test_labels.shape[1]:
        raise ShapeError(
            f'Training images have {train.shape[1]} features and {train_labels.shape[1]} classes, test images '
            f'{test.shape[1]} and {test_labels.shape[1]}.'
        )
    return train, train_labels, test, test_labels


def full_protocol(
    solver: Solver,
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    costs: Sequence[float] = COSTS,
) -> FullResult:
    """Choose each class's cost by 3-fold AP on the training set, judge on the test set.

    In training a difficult image (-1) is a negative, as in the original; in the test it is left out.

    Args:
        train, test: (N, D), (M, D), normalised. train_labels, test_labels: (N, classes), (M, classes) of {1, 0, -1}. Tensors, arrays
            or lists, see `inputs`.

    Raises:
        ShapeError: sizes do not fit.
        DataError: a class has too few positives, a feature is not finite, or a label is another.
    """
    train, train_labels, test, test_labels = _as_tensors(train, train_labels, test, test_labels)
    positive = train_labels == POSITIVE
    folds = stratified_folds(positive)
    scores = solver.fit_full(train, positive, folds, test, costs)
    crossval = np.zeros((positive.shape[1], len(costs)))
    for c in range(positive.shape[1]):
        for fold in range(FOLDS):
            rows = folds[:, c] == fold
            held_out = scores.held_out[:, c][:, rows.to(scores.held_out.device)]
            crossval[c] += average_precision(held_out, positive[rows, c].long(), envelope=False).cpu().numpy() / FOLDS
    best = crossval.argmax(1)
    chosen = torch.stack([scores.test[cost, c] for c, cost in enumerate(best.tolist())])
    ap = [average_precision(chosen[c : c + 1], test_labels[:, c]).cpu().numpy() for c in range(len(best))]
    return FullResult(crossval, np.asarray(costs)[best], np.stack(ap), chosen.cpu().numpy())


def low_shot_protocol(
    solver: Solver,
    train: Tensor,
    train_labels: Tensor,
    targets: Mapping[tuple[int, int], Tensor],
    test: Tensor,
    test_labels: Tensor,
    costs: Sequence[float] = COSTS,
    held_out: bool = True,
) -> LowShotResult:
    """SVMs on k positives and 19 k negatives per class.

    Args:
        train, train_labels, test, test_labels: as in `full_protocol`.
        targets: (sample, k) -> (N, classes): 1 and 0 in the sample, -1 elsewhere.
        held_out: also judge on the training images outside each sample; the mean is over the classes that have positives there.
            False leaves that array NaN.
    """
    train, train_labels, test, test_labels = _as_tensors(train, train_labels, test, test_labels)
    targets = {key: as_labels(target, 'low-shot') for key, target in targets.items()}
    other = [tuple(target.shape) for target in targets.values() if target.shape != train_labels.shape]
    if other:
        raise ShapeError(
            f'A low-shot sample labels {other[0]} images and classes; there are {tuple(train_labels.shape)} training labels.'
        )
    samples, ks = sorted({s for s, _ in targets}), sorted({k for _, k in targets})
    labels = [targets[s, k] for s in samples for k in ks]
    test_ap, held_out_ap = np.zeros((len(labels), len(costs))), np.zeros((len(labels), len(costs)))
    classes, judged = train_labels.shape[1], np.zeros((len(labels), 1))
    for c, scores in enumerate(solver.fit_low_shot(train, labels, [test, train] if held_out else [test], costs)):
        test_ap += (
            average_precision(scores[0].flatten(0, 1), test_labels[:, c]).view(test_ap.shape).cpu().numpy() / classes
        )
        for i, target in enumerate(labels if held_out else ()):
            outside = torch.where(target[:, c] == DIFFICULT, train_labels[:, c], DIFFICULT)
            if bool((outside == POSITIVE).any()):  # VOC2007 has 96 sheep: with k = 96 none is left out
                held_out_ap[i] += average_precision(scores[1][i], outside).cpu().numpy()
                judged[i] += 1
    shape = (len(samples), len(ks), len(costs))
    held_out_ap = np.divide(held_out_ap, judged, out=np.full_like(held_out_ap, np.nan), where=judged > 0)
    return LowShotResult(test_ap.reshape(shape), held_out_ap.reshape(shape))
