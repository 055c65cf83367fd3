"""Average precision of detections as the VOC2007 challenge defined it (Everingham et al. 2010, section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

RECALLS = np.linspace(0, 1, 11)


def voc_ap(truth: Sequence[Any], detections: Sequence[Any], num_classes: int, ious: Sequence[float]) -> np.ndarray:
    """11-point average precision of each class.

    A detection, the best score first, takes the object of its class that it overlaps most. It is right if their IoU exceeds the
    threshold and the object was not taken before; difficult objects count neither for nor against it.

    Boxes run from edge to edge. VOC's own code counts pixels from 1 and both ends, (x1 + 1, y1 + 1, x2, y2), and adds 1 to each
    side: the same areas.

    Args:
        truth: per image an object with `boxes` (N, 4), of positive area, `labels` (N,) and `difficult` (N,).
        detections: per image an object with `boxes` (M, 4), `labels` (M,) and `scores` (M,).
        num_classes: K.
        ious: T thresholds in (0, 1); the challenge's is 0.5.

    Returns:
        (T, K) in percent; NaN for a class without objects.
    """
    return (
        np.array([_class_ap(truth, detections, label, ious) for label in range(num_classes)]).reshape(num_classes, -1).T
    )


def _class_ap(truth: Sequence[Any], detections: Sequence[Any], label: int, ious: Sequence[float]) -> list[float]:
    difficult = [one.difficult[one.labels == label] for one in truth]
    positives = sum(int((~marks).sum()) for marks in difficult)
    if positives == 0:
        return [float('nan')] * len(ious)
    rows: list[tuple] = []  # score, image, object overlapped most, its IoU
    for image, (one, detected) in enumerate(zip(truth, detections, strict=True)):
        chosen = detected.labels == label
        best, overlap = _most_overlapped(detected.boxes[chosen], one.boxes[one.labels == label])
        rows += zip(detected.scores[chosen].tolist(), [image] * len(best), best, overlap, strict=True)
    rows.sort(key=lambda row: -row[0])
    return [_eleven_points(rows, difficult, positives, iou) for iou in ious]


def _most_overlapped(boxes: np.ndarray, objects: np.ndarray) -> tuple[list[int], list[float]]:
    """For each of the boxes (M, 4) the number of the object (N, 4) with the largest IoU, and that IoU; -1 and 0 without objects."""
    from torchvision.ops import box_iou

    if not len(objects):
        return [-1] * len(boxes), [0.0] * len(boxes)
    overlap, best = box_iou(torch.from_numpy(boxes), torch.from_numpy(objects)).max(dim=1)
    return best.tolist(), overlap.tolist()


def _eleven_points(rows: Sequence[tuple], difficult: Sequence[np.ndarray], positives: int, iou: float) -> float:
    taken: set[tuple[int, int]] = set()
    right = []
    for _, image, best, overlap in rows:
        hit = overlap > iou
        if hit and difficult[image][best]:
            continue
        right.append(hit and (image, best) not in taken)
        if hit:
            taken.add((image, best))
    hits = np.cumsum(right)
    recall, precision = hits / positives, hits / np.arange(1, len(hits) + 1)
    return 100 * float(np.mean([precision[recall >= level - 1e-9].max(initial=0.0) for level in RECALLS]))
