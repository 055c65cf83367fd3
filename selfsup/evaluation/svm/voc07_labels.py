"""Lists and labels of VOC2007 for classification, and samples of them for low-shot learning.

A folder VOC2007 has `ImageSets/Main/{class}_{trainval,test}.txt` with lines `000005 -1`: 1 shown, -1 not shown, 0 shown but
difficult to see. Here: 1, 0, and -1 for difficult.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import DataError

POSITIVE, NEGATIVE, DIFFICULT = 1, 0, -1
MEANING = {'1': POSITIVE, '-1': NEGATIVE, '0': DIFFICULT}
NEGATIVES_PER_POSITIVE = 19


def class_names(folder: Path, partition: str) -> list[str]:
    """Classes that have a list for a partition ('trainval', 'test', 'train', 'val'), sorted.

    Raises:
        DataError: there is none.
    """
    names = sorted(path.stem.rpartition('_')[0] for path in (folder / 'ImageSets' / 'Main').glob(f'*_{partition}.txt'))
    if not names:
        raise DataError(
            f'{folder}/ImageSets/Main has no file CLASS_{partition}.txt. Give the folder VOC2007 of an unpacked VOCdevkit.'
        )
    return names


def read_partition(folder: Path, partition: str) -> tuple[list[str], list[str], np.ndarray]:
    """Images and labels of a partition.

    Args:
        folder: VOC2007.

    Returns:
        Class names, image names in the order of `{partition}.txt` (the order that features have), labels (N, classes) int32.

    Raises:
        DataError: a list is missing, does not have the same images as the others, or has a line that means nothing.
    """
    classes = class_names(folder, partition)
    main = folder / 'ImageSets' / 'Main'
    images = [words[0] for words in _lines(main / f'{partition}.txt', 1)]
    row = {image: i for i, image in enumerate(images)}
    labels = np.full((len(images), len(classes)), DIFFICULT, np.int32)
    for column, name in enumerate(classes):
        path = main / f'{name}_{partition}.txt'
        lines = _lines(path, 2)
        if {image for image, _ in lines} != row.keys() or len(lines) != len(images):
            raise DataError(
                f'{path} lists {len(lines)} images, {partition}.txt {len(images)}, and they must be the same ones.'
            )
        for number, (image, value) in enumerate(lines, 1):
            if value not in MEANING:
                raise DataError(f"{path}:{number}: '{image} {value}': the label must be 1, -1 or 0.")
            labels[row[image], column] = MEANING[value]
    return classes, images, labels


def _lines(path: Path, words: int) -> list[list[str]]:
    """Words of each line that is not empty."""
    try:
        lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise DataError(f'{path} cannot be read: {error.strerror}.') from None
    wrong = next((number for number, line in enumerate(lines, 1) if len(line) != words), None)
    if not lines or wrong:
        raise DataError(f'{path}: ' + (f'line {wrong} should have {words} words.' if wrong else 'the file is empty.'))
    return lines


def low_shot_labels(labels: np.ndarray, k: int, generator: np.random.Generator) -> np.ndarray:
    """Labels of a low-shot sample: per class k positives and 19 k negatives keep 1 and 0, all others get -1.

    Args:
        labels: (N, classes) of {1, 0, -1}.
        k: positives per class, >= 1.

    Returns:
        (N, classes), the type of `labels`.

    Raises:
        DataError: a class has fewer than k positives or 19 k negatives.
    """
    chosen = np.full_like(labels, DIFFICULT)
    for column in range(labels.shape[1]):
        for value, number in ((POSITIVE, k), (NEGATIVE, NEGATIVES_PER_POSITIVE * k)):
            rows = np.flatnonzero(labels[:, column] == value)
            if len(rows) < number:
                raise DataError(
                    f'k={k} needs {number} images with label {value} of class {column} (from 0); there are {len(rows)}.'
                )
            chosen[generator.choice(rows, number, replace=False), column] = value
    return chosen


def draw_samples(
    labels: np.ndarray, k_values: Sequence[int], samples: int, seed: int
) -> dict[tuple[int, int], np.ndarray]:
    """(sample from 1 on, k) -> labels of that sample. Each is a function of (seed, sample, k) alone.

    Raises:
        DataError: see `low_shot_labels`; k or the number of samples is below 1, or the seed below 0.
    """
    if samples < 1 or not k_values or min(k_values) < 1 or seed < 0:
        raise DataError(
            f'num_samples={samples}, k_values={list(k_values)}, seed={seed}: numbers must be at least 1, the seed 0.'
        )
    return {
        (s, k): low_shot_labels(labels, k, np.random.default_rng([seed, s, k]))
        for s in range(1, samples + 1)
        for k in k_values
    }
