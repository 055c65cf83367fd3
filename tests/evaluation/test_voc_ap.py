"""VOC's average precision: by hand, and against the challenge's own way of counting."""

from types import SimpleNamespace

import numpy as np
import pytest

from selfsup.evaluation.detection.voc_ap import voc_ap


def truth(*boxes, labels=None, difficult=None):
    number = len(boxes)
    return SimpleNamespace(
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        labels=np.array(labels or [0] * number),
        difficult=np.array(difficult or [False] * number, dtype=bool),
    )


def found(*rows):
    """Rows of (score, box)."""
    return SimpleNamespace(
        boxes=np.array([box for _, box in rows], dtype=np.float32).reshape(-1, 4),
        labels=np.zeros(len(rows), dtype=np.int64),
        scores=np.array([score for score, _ in rows], dtype=np.float32),
    )


A, B, FAR = (0, 0, 10, 10), (20, 20, 30, 30), (50, 50, 60, 60)


@pytest.mark.parametrize(
    ('rows', 'expected'),
    [
        ([(0.9, A), (0.8, B)], 100),
        ([], 0),
        ([(0.9, A)], 100 * 6 / 11),  # recall 0.5: precision 1 at 0, 0.1, ..., 0.5
        ([(0.9, A), (0.8, A), (0.7, B)], 100 * (6 + 5 * 2 / 3) / 11),  # the second hit of A is wrong
        ([(0.9, FAR), (0.8, A), (0.7, B)], 100 * 2 / 3),  # precision 0, 1/2, 2/3: its maximum to the right
        ([(0.9, (0, 0, 10, 5)), (0.8, B)], 100 * 6 / 11 / 2),  # IoU of exactly 0.5 is not above 0.5
    ],
)
def test_eleven_points_by_hand(rows, expected):
    np.testing.assert_allclose(voc_ap([truth(A, B)], [found(*rows)], 1, [0.5]), [[expected]])


def test_difficult_objects_and_classes_without_objects():
    marked = truth(A, B, difficult=[False, True])
    np.testing.assert_allclose(voc_ap([marked], [found((0.9, B), (0.8, B), (0.7, A))], 1, [0.5]), [[100]])
    values = voc_ap([truth(A)], [found((0.9, A))], 2, [0.5, 0.7])
    assert values.shape == (2, 2) and (values[:, 0] == 100).all() and np.isnan(values[:, 1]).all()


def devkit_ap(truths, detections, label, iou):
    """The challenge's measure in its own pixels, counted from 1 with both ends, one pair of boxes at a time, recall as a fraction."""

    def pixels(box):
        return [float(box[0]) + 1, float(box[1]) + 1, float(box[2]), float(box[3])]

    def area(x1, y1, x2, y2):
        return max(x2 - x1 + 1, 0) * max(y2 - y1 + 1, 0)

    objects = [
        [(pixels(b), bool(d)) for b, k, d in zip(t.boxes, t.labels, t.difficult, strict=True) if k == label]
        for t in truths
    ]
    positives = sum(not difficult for row in objects for _, difficult in row)
    rows = sorted(
        (
            (-float(s), i, n)
            for i, d in enumerate(detections)
            for n, (s, k) in enumerate(zip(d.scores, d.labels, strict=True))
            if k == label
        )
    )
    taken, hits, seen, points = set(), 0, 0, []
    for _, image, number in rows:
        box, best, chosen = pixels(detections[image].boxes[number]), 0.0, None
        for place, (other, _) in enumerate(objects[image]):
            both = area(
                *(max(a, b) for a, b in zip(box[:2], other[:2], strict=True)),
                *(min(a, b) for a, b in zip(box[2:], other[2:], strict=True)),
            )
            share = both / (area(*box) + area(*other) - both)
            if share > best:
                best, chosen = share, place
        if best > iou and objects[image][chosen][1]:
            continue
        seen += 1
        if best > iou and (image, chosen) not in taken:
            hits += 1
            taken.add((image, chosen))
        points.append((hits, hits / seen))
    return 100 * sum(max((p for hits, p in points if 10 * hits >= n * positives), default=0.0) for n in range(11)) / 11


def scene(rng, classes=3):
    """Objects of a few images on whole pixels, as VOC's, and detections around them; equal scores are common."""
    truths, detections = [], []
    for _ in range(6):
        corners = rng.integers(0, 50, (4, 2))
        boxes = np.concatenate([corners, corners + rng.integers(4, 30, (4, 2))], axis=1)
        labels = rng.integers(0, classes, 4)
        truths.append(truth(*boxes, labels=labels.tolist(), difficult=(rng.random(4) < 0.3).tolist()))
        near = np.repeat(boxes, 2, axis=0) + rng.integers(-3, 4, (8, 4)) + [0, 0, 4, 4]
        kinds = np.where(rng.random(8) < 0.8, np.repeat(labels, 2), rng.integers(0, classes, 8))
        detections.append(
            SimpleNamespace(
                boxes=near.astype(np.float32), labels=kinds, scores=rng.integers(1, 9, 8).astype(np.float32) / 8
            )
        )
    return truths, detections


@pytest.mark.parametrize('seed', range(4))
def test_the_measure_equals_that_of_the_challenge_in_its_own_pixels(seed):
    truths, detections = scene(np.random.default_rng(seed))
    ious = [0.5, 0.6, 0.75]
    expected = [[devkit_ap(truths, detections, label, iou) for label in range(3)] for iou in ious]
    np.testing.assert_allclose(voc_ap(truths, detections, 3, ious), expected, atol=1e-9)
    assert np.ptp(expected) > 5
