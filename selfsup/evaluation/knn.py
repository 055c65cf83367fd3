"""k-nearest-neighbour classification of frozen features.

Wu, Xiong, Yu, Lin, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", arXiv:1805.01978, section
3.4: the k training images of highest cosine similarity s vote for their class with weight exp(s / T), T = 0.07. The paper
takes k = 200. "kNN-20 top-1" in this project is this weighted vote with k = 20 and T = 0.07.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError, DataError, ShapeError
from .inputs import as_features, as_labels

SIMILARITIES_AT_ONCE = 2**26  # float32 numbers in one block of the similarity matrix: 256 MiB


@torch.no_grad()
def knn_predict(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    k: Sequence[int] = (20,),
    temperature: float = 0.07,
    weighted: bool = True,
    chunk: int | None = None,
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
        ConfigError: no temperature above 0.
    """
    check_temperature(temperature)
    train_features, train_labels = check_features(train_features, train_labels, 'training')
    test_features, _ = check_features(test_features, None, 'test')
    if train_features.shape[1] != test_features.shape[1]:
        raise ShapeError(
            f'Training features have {train_features.shape[1]} dimensions, test features {test_features.shape[1]}.'
        )
    k = sorted({int(n) for n in k})
    if not k or k[0] < 1 or k[-1] > len(train_features):
        raise ShapeError(
            f'k={k} with {len(train_features)} training samples: every k must be in [1, {len(train_features)}].'
        )
    device = train_features.device
    labels = train_labels.to(device)
    chunk = chunk or max(1, SIMILARITIES_AT_ONCE // len(train_features))
    found: dict[int, list[Tensor]] = {n: [] for n in k}
    with torch.autocast(device.type, enabled=False):  # half precision would reorder neighbours
        train = F.normalize(train_features.float(), dim=1)
        for rows in test_features.split(chunk):
            similarity, nearest = (F.normalize(rows.to(device).float(), dim=1) @ train.T).topk(k[-1], dim=1)
            weights = (
                ((similarity - similarity[:, :1]) / temperature).exp() if weighted else 1 + similarity * (1e-3 / k[-1])
            )
            for n, predicted in _vote(labels[nearest], weights, k, int(labels.max()) + 1).items():
                found[n].append(predicted)
    return {n: torch.cat(parts) for n, parts in found.items()}


def check_temperature(temperature: float, name: str = 'temperature') -> None:
    """Refuse a temperature with which every vote would be infinite, not a number, or for the least similar image.

    Raises:
        ConfigError: it is no finite number above 0.
    """
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 < temperature < math.inf:
        raise ConfigError(f'{name}={temperature!r} must be a number above 0; the paper uses 0.07.')


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


def knn_accuracy(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    k: Sequence[int] = (20,),
    temperature: float = 0.07,
    weighted: bool = True,
    chunk: int | None = None,
) -> dict[int, float]:
    """Top-1 accuracy of `knn_predict` in percent, for each k.

    Args:
        test_labels: (M,) int64.

    For the others see `knn_predict`.
    """
    test_features, test_labels = check_features(test_features, test_labels, 'test')
    predicted = knn_predict(train_features, train_labels, test_features, k, temperature, weighted, chunk)
    return {n: 100 * float((p == test_labels.to(p.device)).double().mean()) for n, p in predicted.items()}


def check_features(features: Tensor, labels: Tensor | None, what: str) -> tuple[Tensor, Tensor | None]:
    """Features and labels as tensors, see `inputs`; those with which every number would be nonsense are refused.

    Raises:
        ShapeError: not (N, D) with N >= 1, or labels not (N,).
        DataError: a feature is no real, finite number, or a label is negative or no whole number.
    """
    features = as_features(features, what)
    labels = None if labels is None else as_labels(labels, what)
    if features.ndim != 2 or not len(features):
        raise ShapeError(
            f'The {what} features have shape {tuple(features.shape)}; expected (N, D) with at least one row.'
        )
    if not bool(torch.isfinite(features).all()):
        raise DataError(f'Some {what} features are NaN or infinite: the network has diverged.')
    if labels is None:
        return features, None
    if labels.shape != features.shape[:1]:
        raise ShapeError(f'{len(features)} {what} features, but labels of shape {tuple(labels.shape)}.')
    if int(labels.min()) < 0:
        raise DataError(f'Some {what} labels are negative; give labelled images only.')
    return features, labels
