"""Average precision of detections as the VOC2007 challenge defined it (Everingham et al. 2010, section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

RECALLS = np.linspace(0, 1, 11)


def voc_ap(truth: Sequence[Any], detections: Sequence[Any], num_classes: int, iou: float) -> np.ndarray:
    """11-point average precision of each class.

    A detection, the best score first, takes the object of its class that it overlaps most. It is right if their IoU exceeds `iou` and
    the object was not taken before; difficult objects count neither for nor against it.

    Args:
        truth: per image an object with `boxes` (N, 4), `labels` (N,) and `difficult` (N,).
        detections: per image an object with `boxes` (M, 4), `labels` (M,) and `scores` (M,).
        num_classes: K.
        iou: threshold in (0, 1); the challenge's 0.5.

    Returns:
        (K,) in percent; NaN for a class without objects.
    """
    return np.array([_class_ap(truth, detections, label, iou) for label in range(num_classes)])


def _class_ap(truth: Sequence[Any], detections: Sequence[Any], label: int, iou: float) -> float:
    objects = [one.boxes[one.labels == label] for one in truth]
    difficult = [one.difficult[one.labels == label] for one in truth]
    positives = sum(int((~marks).sum()) for marks in difficult)
    if positives == 0:
        return float('nan')
    rows = [(float(score), image, box) for image, found in enumerate(detections)
            for score, box in zip(found.scores[found.labels == label], found.boxes[found.labels == label], strict=True)]
    rows.sort(key=lambda row: -row[0])
    taken = [np.zeros(len(boxes), dtype=bool) for boxes in objects]
    right = np.zeros(len(rows), dtype=bool)
    counted = np.ones(len(rows), dtype=bool)
    for number, (_, image, box) in enumerate(rows):
        if not len(objects[image]):
            continue
        overlaps = box_iou(box, objects[image])
        best = int(overlaps.argmax())
        if overlaps[best] > iou:
            counted[number] = not difficult[image][best]
            right[number] = counted[number] and not taken[image][best]
            taken[image][best] = True
    hits = right[counted].cumsum()
    recall, precision = hits / positives, hits / np.arange(1, len(hits) + 1)
    return 100 * float(np.mean([precision[recall >= level - 1e-9].max(initial=0.) for level in RECALLS]))


def box_iou(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of one box (4,) with others (N, 4); x1, y1, x2, y2 from edge to edge."""
    corner = np.maximum(box[:2], others[:, :2])
    inner = (np.minimum(box[2:], others[:, 2:]) - corner).clip(0).prod(axis=1)
    outer = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - inner
    return inner / np.maximum(outer, 1e-9)
