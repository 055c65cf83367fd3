"""kNN against a slow reference written out in numpy, and few-shot accuracy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from selfsup.errors import ConfigError, DataError, ShapeError
from selfsup.evaluation.few_shot import nearest_mean_accuracy
from selfsup.evaluation.knn import knn_accuracy, knn_predict


def _data(seed=0, n=60, m=25, d=5, classes=4, noise=1.0):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, d, generator=generator)
    train_labels = torch.arange(n) % classes
    test_labels = torch.arange(m) % classes
    train = centres[train_labels] + noise * torch.randn(n, d, generator=generator)
    test = centres[test_labels] + noise * torch.randn(m, d, generator=generator)
    return train, train_labels, test, test_labels


def _slow(train, train_labels, test, k, temperature, weighted):
    predicted = []
    for row in test.double().numpy():
        similarity = [
            float(row @ other / np.linalg.norm(row) / np.linalg.norm(other)) for other in train.double().numpy()
        ]
        nearest = sorted(range(len(similarity)), key=lambda i: -similarity[i])[:k]
        votes = {}
        for i in nearest:
            label = int(train_labels[i])
            votes[label] = votes.get(label, 0) + (
                math.exp(similarity[i] / temperature) if weighted else 1 + 1e-6 * similarity[i]
            )
        predicted.append(max(votes, key=votes.get))
    return predicted


@pytest.mark.parametrize('weighted', [True, False])
@pytest.mark.parametrize('k, temperature', [(1, 0.07), (5, 0.07), (20, 0.07), (20, 1.0), (60, 0.2)])
def test_against_slow_reference(k, temperature, weighted):
    train, train_labels, test, _ = _data()
    found = knn_predict(train, train_labels, test, (k,), temperature, weighted)[k].tolist()
    assert found == _slow(train, train_labels, test, k, temperature, weighted)


def test_chunks_and_several_k_change_nothing():
    train, train_labels, test, test_labels = _data(1)
    whole = knn_predict(train, train_labels, test, (1, 7, 20))
    for chunk in (1, 4, 1000):
        parts = knn_predict(train, train_labels, test, (20, 7, 1), chunk=chunk)
        assert all(torch.equal(whole[k], parts[k]) for k in (1, 7, 20))
    assert torch.equal(whole[7], knn_predict(train, train_labels, test, (7,))[7])
    accuracy = knn_accuracy(train, train_labels, test, test_labels, (7, 20))
    assert (
        accuracy[7] == pytest.approx(100 * float((whole[7] == test_labels).float().mean())) and 30 < accuracy[20] < 100
    )


def test_scale_half_precision_and_tiny_temperature():
    train, train_labels, test, test_labels = _data(2, noise=0.1)
    assert knn_accuracy(train * 1e4, train_labels, test * 1e-4, test_labels) == {20: 100.0}
    assert knn_accuracy(train.bfloat16(), train_labels, test.half(), test_labels, temperature=1e-4) == {20: 100.0}
    with torch.autocast('cpu', dtype=torch.bfloat16):
        exact = knn_predict(*_data(3)[:3])[20]
    assert torch.equal(exact, knn_predict(*_data(3)[:3])[20])


@pytest.mark.parametrize(
    'change, kind, message',
    [
        ({'k': (61,)}, ShapeError, 'must be in [1, 60]'),
        ({'k': (0,)}, ShapeError, 'must be in [1, 60]'),
        ({'k': ()}, ShapeError, 'k=[]'),
        ({'train_labels': torch.zeros(3).long()}, ShapeError, 'labels of shape (3,)'),
        ({'train_labels': -torch.ones(60).long()}, DataError, 'negative'),
        ({'test_features': torch.ones(25, 6)}, ShapeError, '5 dimensions, test features 6'),
        ({'test_features': torch.full((25, 5), math.nan)}, DataError, 'diverged'),
        ({'train_features': torch.ones(0, 5)}, ShapeError, 'at least one row'),
        ({'temperature': 0.0}, ConfigError, 'temperature=0.0: must be a number > 0'),
        ({'temperature': -1}, ConfigError, 'temperature=-1: must be a number > 0'),
    ],
)
def test_bad_input(change, kind, message):
    train, train_labels, test, test_labels = _data()
    args = {
        'train_features': train,
        'train_labels': train_labels,
        'test_features': test,
        'test_labels': test_labels,
        **change,
    }
    with pytest.raises(kind) as error:
        knn_accuracy(**args)
    assert message in str(error.value)


def test_few_shot_by_hand():
    """Two classes on two axes, one misplaced training image: the draw decides."""
    train = torch.tensor([[1.0, 0], [0, 1], [0, 1]])
    labels = torch.tensor([3, 3, 7])
    test, test_labels = torch.tensor([[1.0, 0.1], [0.1, 1]]), torch.tensor([3, 7])
    mean, std = nearest_mean_accuracy(train, labels, test, test_labels, shots=1, draws=400, seed=0)
    # shot [1, 0]: both right; shot [0, 1]: the means are equal, the first class wins every time: one of two right
    assert mean == pytest.approx(75, abs=4) and std == pytest.approx(25, abs=1)
    assert nearest_mean_accuracy(train, labels, test, test_labels, draws=1)[1] == 0


def test_few_shot_seeded_and_better_with_more_shots():
    data = _data(4, n=200, m=100, noise=1.0)
    assert (
        nearest_mean_accuracy(*data, seed=1)
        == nearest_mean_accuracy(*data, seed=1)
        != nearest_mean_accuracy(*data, seed=2)
    )
    one, many = nearest_mean_accuracy(*data, shots=1), nearest_mean_accuracy(*data, shots=30)
    assert many[0] > one[0] + 5 and many[1] < one[1]


def test_few_shot_bad_input():
    train, train_labels, test, test_labels = _data()
    with pytest.raises(ShapeError, match=r'0 \(15\)'):
        nearest_mean_accuracy(train, train_labels, test, test_labels, shots=16)
    with pytest.raises(ShapeError, match=r'Test classes without a training image: \[3\]'):
        nearest_mean_accuracy(train, train_labels % 3, test, test_labels)
    with pytest.raises(ConfigError, match='draws=0: must be a whole number >= 1'):
        nearest_mean_accuracy(train, train_labels, test, test_labels, draws=0)
