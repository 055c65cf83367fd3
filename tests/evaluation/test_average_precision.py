"""Average precision of many rankings against its definition, one threshold at a time."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from selfsup.errors import DataError, ShapeError
from selfsup.evaluation.svm import average_precision as ap


def by_definition(scores: np.ndarray, positive: np.ndarray) -> float:
    """Monotone precision, area over all changes of recall."""
    recall, precision = [0.0], [0.0]
    for threshold in sorted(set(scores.tolist()), reverse=True):
        found = scores >= threshold
        recall.append((found & positive).sum() / positive.sum())
        precision.append((found & positive).sum() / found.sum())
    return sum((recall[i] - recall[i - 1]) * max(precision[i:]) for i in range(1, len(recall)))


def make(rows: int = 4, samples: int = 60, ties: bool = False):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(rows, samples, generator=generator)
    labels = torch.randint(-1, 2, (samples,), generator=generator)
    return (scores * 3).round() if ties else scores, labels


@pytest.mark.parametrize('ties', [False, True])
def test_both_definitions(ties):
    scores, labels = make(ties=ties)
    used = (labels != -1).numpy()
    positive = labels.numpy()[used] == 1
    expected = [by_definition(row[used], positive) for row in scores.numpy()]
    assert ap.average_precision(scores, labels).tolist() == pytest.approx(expected, abs=1e-12)
    expected = [average_precision_score(positive, row[used]) for row in scores.numpy()]
    assert ap.average_precision(scores, labels, envelope=False).tolist() == pytest.approx(expected, abs=1e-12)


def test_difficult_images_do_not_count():
    scores = torch.tensor([[3.0, 2.0, 1.0]])
    assert ap.average_precision(scores, torch.tensor([-1, 1, 0])).item() == 1
    assert ap.average_precision(scores, torch.tensor([0, 1, 0])).item() == 0.5


def test_a_split_into_blocks_changes_nothing(monkeypatch):
    scores, labels = make(rows=7)
    whole = ap.average_precision(scores, labels)
    monkeypatch.setattr(ap, 'SCORES_AT_ONCE', 1)
    assert torch.equal(ap.average_precision(scores, labels), whole)


@pytest.mark.parametrize(
    ('scores', 'labels', 'error', 'message'),
    [
        (torch.zeros(2, 3), torch.zeros(4), ShapeError, 'expected'),
        (torch.zeros(2, 3), torch.zeros(3), DataError, 'no positive'),
        (torch.zeros(2, 3), torch.tensor([1, 0, 2]), DataError, 'Label 2 is none of'),
        (torch.full((1, 3), float('nan')), torch.tensor([1, 0, 0]), DataError, 'NaN'),
    ],
)
def test_what_cannot_be_judged(scores, labels, error, message):
    with pytest.raises(error, match=message):
        ap.average_precision(scores, labels)
