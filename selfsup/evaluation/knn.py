"""k-nearest-neighbour classification of frozen features.

Wu, Xiong, Yu, Lin, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", arXiv:1805.01978, section
3.4: the k training images of highest cosine similarity s vote for their class with weight exp(s / T), T = 0.07. The paper
takes k = 200. "kNN-20 top-1" in this project is this weighted vote with k = 20 and T = 0.07.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import Count, Positive, checked
from ..errors import DataError, ShapeError
from .inputs import Numbers, as_features, as_labels

SIMILARITIES_AT_ONCE = 2**26  # float32 numbers in one block of the similarity matrix: 256 MiB


@checked
@torch.no_grad()
def knn_predict(
    train_features: Numbers,
    train_labels: Numbers,
    test_features: Numbers,
    k: Sequence[int] = (20,),
    temperature: Positive = 0.07,
    weighted: bool = True,
    chunk: Count | None = None,
) -> dict[int, Tensor]:
    """Predicted classes for several k at once.

    Args:
        train_features: (N, D), tensor, array or lists of numbers; normalised here.
        train_labels: (N,) whole numbers >= 0.
        test_features: (M, D).
        k: numbers of neighbours, each in [1, N].
        temperature: T > 0 of the weights exp(s / T).
        weighted: False: each neighbour counts one, and similarity only breaks ties.
        chunk: test rows handled at once; None chooses by memory. It does not change the result.

    Returns:
        k -> (M,) int64, on the device of `train_features`, where everything is computed.

    Raises:
        ShapeError: sizes do not fit, or k is larger than the training set.
        DataError: a feature is not finite, or a label is negative.
    """
    train, labels = check_labelled(train_features, train_labels, 'training')
    test = check_features(test_features, 'test')
    if train.shape[1] != test.shape[1]:
        raise ShapeError(f'Training features have {train.shape[1]} dimensions, test features {test.shape[1]}.')
    k = sorted({int(n) for n in k})
    if not k or k[0] < 1 or k[-1] > len(train):
        raise ShapeError(f'k={k} with {len(train)} training samples: every k must be in [1, {len(train)}].')
    device = train.device
    labels = labels.to(device)
    chunk = chunk or max(1, SIMILARITIES_AT_ONCE // len(train))
    predicted: dict[int, list[Tensor]] = {n: [] for n in k}
    with torch.autocast(device.type, enabled=False):  # half precision would reorder neighbours
        train = F.normalize(train.float(), dim=1)
        for rows in test.split(chunk):
            similarity, nearest = (F.normalize(rows.to(device).float(), dim=1) @ train.T).topk(k[-1], dim=1)
            weights = (
                ((similarity - similarity[:, :1]) / temperature).exp() if weighted else 1 + similarity * (1e-3 / k[-1])
            )
            for n, winners in _vote(labels[nearest], weights, k, int(labels.max()) + 1).items():
                predicted[n].append(winners)
    return {n: torch.cat(parts) for n, parts in predicted.items()}


def _vote(classes: Tensor, weights: Tensor, k: list[int], num_classes: int) -> dict[int, Tensor]:
    """Winner among the first n columns for every n in k; neighbours are added one by one, so the sum has one order."""
    votes = weights.new_zeros(len(classes), num_classes, dtype=torch.float64)
    rows = torch.arange(len(classes), device=classes.device)
    winners = {}
    for column in range(k[-1]):
        votes[rows, classes[:, column]] += weights[:, column].double()
        if column + 1 in k:
            winners[column + 1] = votes.argmax(1)
    return winners


@checked
def knn_accuracy(
    train_features: Numbers,
    train_labels: Numbers,
    test_features: Numbers,
    test_labels: Numbers,
    k: Sequence[int] = (20,),
    temperature: Positive = 0.07,
    weighted: bool = True,
    chunk: Count | None = None,
) -> dict[int, float]:
    """Top-1 accuracy of `knn_predict` in percent, for each k.

    Args:
        test_labels: (M,) int64.

    For the others see `knn_predict`.
    """
    test, labels = check_labelled(test_features, test_labels, 'test')
    predicted = knn_predict(train_features, train_labels, test, k, temperature, weighted, chunk)
    return {n: 100 * float((p == labels.to(p.device)).double().mean()) for n, p in predicted.items()}


def check_features(features: Numbers, what: str) -> Tensor:
    """Features as a tensor, see `inputs`; those with which every number would be nonsense are refused.

    Raises:
        ShapeError: not (N, D) with N >= 1.
        DataError: a feature is no real, finite number.
    """
    rows = as_features(features, what)
    if rows.ndim != 2 or not len(rows):
        raise ShapeError(f'The {what} features have shape {tuple(rows.shape)}; expected (N, D) with at least one row.')
    if not bool(torch.isfinite(rows).all()):
        raise DataError(f'Some {what} features are NaN or infinite: the network has diverged.')
    return rows


def check_labelled(features: Numbers, labels: Numbers, what: str) -> tuple[Tensor, Tensor]:
    """`check_features`, and their labels as a tensor.

    Raises:
        ShapeError: the labels are not (N,).
        DataError: a label is negative or no whole number.
    """
    numbers = as_labels(labels, what)
    rows = check_features(features, what)
    if numbers.shape != rows.shape[:1]:
        raise ShapeError(f'{len(rows)} {what} features, but labels of shape {tuple(numbers.shape)}.')
    if int(numbers.min()) < 0:
        raise DataError(f'Some {what} labels are negative; give labelled images only.')
    return rows, numbers
