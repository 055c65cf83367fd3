"""Average precision of many rankings at once.

Two definitions are in use for VOC2007 classification by linear SVMs, and they differ by up to a point:

- `envelope=True`, of the VOC development kit from 2010 on (Everingham et al., "The Pascal Visual Object Classes Challenge: A
  Retrospective", IJCV 2015, section 4.2.1): precision is made monotone, AP is the area below it over all changes of recall.
  This one judges the test set. (The eleven points of VOC2007 itself are not used by the protocol.)
- `envelope=False`, `sklearn.metrics.average_precision_score`: the same area without the envelope. Chooses the cost.

Samples of equal score form one threshold, so AP does not depend on the order of the samples.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError, ShapeError
from .voc07_labels import DIFFICULT, NEGATIVE, POSITIVE

SCORES_AT_ONCE = 2**23  # 32 MiB of float32


@torch.no_grad()
def average_precision(scores: Tensor, labels: Tensor, envelope: bool = True) -> Tensor:
    """AP of each row of scores, all for the same class.

    Args:
        scores: (P, M) decision values; higher means more likely.
        labels: (M,) of {1: positive, 0: negative, -1: difficult}; difficult samples are left out.
        envelope: which definition, see above.

    Returns:
        (P,) float64 in [0, 1].

    Raises:
        ShapeError: sizes do not fit.
        DataError: another label, no positive sample, or a score that is not finite.
    """
    if scores.ndim != 2 or labels.shape != scores.shape[1:]:
        raise ShapeError(
            f'Scores of shape {tuple(scores.shape)} with labels of shape {tuple(labels.shape)}; expected (P, M) and (M,).'
        )
    check_labels(labels)
    if not bool((labels == POSITIVE).any()):
        raise DataError('There is no positive sample, so average precision is not defined.')
    labels = labels.to(scores.device)
    used = labels != DIFFICULT
    positive = (labels[used] == POSITIVE).nonzero().flatten()
    parts = []
    for rows in scores.split(max(1, SCORES_AT_ONCE // len(labels))):
        rows = rows if bool(used.all()) else rows[:, used]
        if not bool(torch.isfinite(rows.sum(1)).all()):
            raise DataError('Some scores are NaN or infinite.')
        parts.append(_average_precision(rows.contiguous(), positive, envelope))
    return torch.cat(parts)


def _average_precision(scores: Tensor, positive: Tensor, envelope: bool) -> Tensor:
    """AP of rows. Every positive sample is a threshold v, in ascending order: precision(v) = positives >= v / samples >= v."""
    on_cpu = scores.device.type == 'cpu'  # numpy sorts values alone there, in less than half of the time
    ordered = torch.from_numpy(np.sort(scores.numpy(), axis=1)) if on_cpu else scores.sort(dim=1).values
    thresholds = scores[:, positive].sort(dim=1).values
    above = scores.shape[1] - torch.searchsorted(ordered, thresholds)
    positives_above = len(positive) - torch.searchsorted(thresholds, thresholds)
    precision = positives_above.double() / above
    if envelope:  # at a recall, the best precision at this or a higher recall, which is a lower threshold
        precision = precision.cummax(dim=1).values
    return precision.mean(1)


def check_labels(labels: Tensor) -> None:
    """Refuse labels that mean nothing.

    Raises:
        DataError: a label that is not 1, 0 or -1.
    """
    known = (labels == POSITIVE) | (labels == NEGATIVE) | (labels == DIFFICULT)
    if not bool(known.all()):
        raise DataError(f'Label {labels[~known][0].item()} is none of 1 (positive), 0 (negative), -1 (difficult).')
