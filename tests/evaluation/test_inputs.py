"""What holds the same numbers gives the same result, whatever it is; what holds none is refused in one line."""

import numpy as np
import pytest
import torch

from selfsup.errors import DataError, ShapeError
from selfsup.evaluation.few_shot import nearest_mean_accuracy
from selfsup.evaluation.inputs import as_features, as_labels
from selfsup.evaluation.knn import knn_accuracy, knn_predict
from selfsup.evaluation.svm.batched import BatchedSolver
from selfsup.evaluation.svm.voc07 import full_protocol, low_shot_protocol

RNG = np.random.default_rng(0)
FEATURES = np.round(RNG.normal(size=(30, 4)) * 4)  # whole numbers: every type below holds them exactly
LABELS = np.arange(30) % 3
FEATURES[np.arange(30), LABELS] += 6


@pytest.mark.parametrize(
    'convert',
    [
        torch.from_numpy,
        lambda x: x,
        lambda x: x.tolist(),
        lambda x: x.astype(np.float16),
        lambda x: torch.from_numpy(x).half(),
        lambda x: x.astype('>f4'),
        lambda x: x.astype(np.int32),
        lambda x: np.asfortranarray(x)[::1],
        lambda x: torch.from_numpy(x).bfloat16(),
        lambda x: np.broadcast_to(x, x.shape),
    ],
    ids=['tensor', 'array', 'lists', 'half', 'half tensor', 'big endian', 'int', 'fortran', 'bfloat16', 'read-only'],
)
def test_features_of_any_kind(convert):
    train, test = FEATURES[:20], FEATURES[20:]
    expected = knn_accuracy(*(torch.from_numpy(x) for x in (train, LABELS[:20], test, LABELS[20:])), k=(1, 5))
    assert knn_accuracy(convert(train), LABELS[:20], convert(test), LABELS[20:], k=(1, 5)) == expected
    assert knn_predict(convert(train), LABELS[:20], convert(test), k=(1,))[1].dtype == torch.int64
    assert nearest_mean_accuracy(
        convert(train), LABELS[:20], convert(test), LABELS[20:], shots=2, draws=3
    ) == nearest_mean_accuracy(
        *(torch.from_numpy(x) for x in (train, LABELS[:20], test, LABELS[20:])), shots=2, draws=3
    )


@pytest.mark.parametrize(
    'convert',
    [
        lambda x: x.tolist(),
        lambda x: x.astype(np.uint8),
        lambda x: x.astype(np.float32),
        lambda x: torch.from_numpy(x).int(),
        lambda x: x.astype(np.uint64),
    ],
)
def test_labels_of_any_kind(convert):
    train = torch.from_numpy(FEATURES)
    assert knn_accuracy(train, convert(LABELS), train, convert(LABELS), k=(1,)) == {1: 100.0}
    assert as_labels(convert(LABELS), 'x').tolist() == LABELS.tolist()


def protocol_data(kind):
    """Features of 60 images, labels of two classes."""
    rng = np.random.default_rng(1)
    labels = (rng.random((60, 2)) < 0.4).astype(np.int64)
    labels[0] = -1
    features = rng.normal(size=(60, 6))
    features[:, :2] += 2 * labels
    features = features.astype(np.float16).astype(np.float64)
    return kind(features[:40]), kind(labels[:40]), kind(features[40:]), kind(labels[40:])


def test_the_svm_protocols_take_the_same():
    solver = BatchedSolver()
    expected, lists = (
        full_protocol(solver, *protocol_data(kind), costs=(0.1, 1.0))
        for kind in (torch.from_numpy, lambda x: x.tolist())
    )
    array = full_protocol(
        solver,
        *protocol_data(lambda x: x.astype(np.int16) if x.dtype == np.int64 else x.astype(np.float64)),
        costs=(0.1, 1.0),
    )
    for found in (lists, array):  # lists of Python's numbers are float64 as well
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)
    train, labels, test, other = protocol_data(lambda x: x)
    low = low_shot_protocol(solver, train, labels, {(1, 1): labels}, test, other, costs=(1.0,))
    assert low.test_ap.shape == (1, 1, 1) and 0 < low.test_ap[0, 0, 0] <= 1


@pytest.mark.parametrize(
    ('features', 'error', 'message'),
    [
        ([['a', 'b']], DataError, r'training features hold <U1, given as list; expected a tensor or array of numbers'),
        ([[1, 2], [3]], DataError, 'training features hold object'),
        (np.array([[1j]]), DataError, 'are complex numbers'),
        ({'feat5': 1}, DataError, r'hold object, given as dict'),
        (None, DataError, 'hold object, given as NoneType'),
        ([1.0, 2.0], ShapeError, r'have shape \(2,\)'),
    ],
)
def test_what_is_refused(features, error, message):
    with pytest.raises(error, match=message):
        knn_predict(features, [0], [[1.0, 2.0]], k=(1,))


@pytest.mark.parametrize(
    ('labels', 'message'),
    [
        ([0.5], 'no whole numbers'),
        (['cat'], 'training labels hold <U3'),
        ([float('nan')], 'no whole numbers'),
        ([-1], 'negative'),
        (np.array([2**63], np.uint64), 'no number of a class'),
    ],
)
def test_labels_that_are_none(labels, message):
    with pytest.raises(DataError, match=message):
        knn_predict([[1.0, 2.0]], labels, [[1.0, 2.0]], k=(1,))


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        (
            lambda d: d.__setitem__(1, d[1][:-1]),
            ShapeError,
            r'training features have shape \(40, 6\), their labels \(39, 2\)',
        ),
        (
            lambda d: d.__setitem__(2, d[2][:, :3]),
            ShapeError,
            'Training images have 6 features and 2 classes, test images 3 and 2',
        ),
        (lambda d: d[0].__setitem__((3, 1), np.inf), DataError, 'training features are NaN or infinite'),
        (lambda d: d[1].__setitem__((3, 1), 7), DataError, '7'),
    ],
)
def test_the_svm_protocols_refuse_what_does_not_fit(change, error, message):
    data = list(protocol_data(lambda x: x.copy()))
    change(data)
    with pytest.raises(error, match=message):
        full_protocol(BatchedSolver(), *data)


def test_half_precision_becomes_single_and_double_stays():
    assert as_features(torch.zeros(2, 2, dtype=torch.float16), 'x').dtype == torch.float32
    assert as_features(np.zeros((2, 2)), 'x').dtype == torch.float64
