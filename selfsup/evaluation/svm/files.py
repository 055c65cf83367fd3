"""Files of the SVM protocols: features and labels in, arrays out.

Layout, all below a work directory WORK and a folder of labels LABELS (`data/VOCdevkit/VOC2007/SVMLabels`):

    WORK/features/voc07_{trainval,test}_{feat}.npy        tools/extract.py
    LABELS/{train,test}_labels.npy, test_images.npy       tools/prepare_data/create_voc_data_files.py
    LABELS/low_shot/labels/train_targets_sample{s}_k{k}.npy   tools/prepare_data/create_voc_low_shot_challenge_samples.py
    WORK/svm/{feat}/, WORK/svm_lowshot/{feat}/            results, one folder per layer
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ...errors import DataError
from ..arrays import read_array
from .average_precision import check_labels
from .voc07_labels import DIFFICULT, NEGATIVE, POSITIVE

EPSILON = 1e-5  # features are x / (||x|| + EPSILON)
SPLITS = {'train': 'trainval', 'test': 'test'}


def features_file(work_dir: Path, split: str, feature: str) -> Path:
    """Where tools/extract.py wrote the features of 'train' or 'test'."""
    return work_dir / 'features' / f'voc07_{SPLITS[split]}_{feature}.npy'


def read_features(work_dir: Path, split: str, feature: str) -> Tensor:
    """Normalised features of 'train' or 'test': (N, D) float64 of length about 1.

    Raises:
        DataError: no such file, not a matrix, or a number is not finite.
    """
    path = features_file(work_dir, split, feature)
    array = read_array(path, 'Extract them with tools/extract.py or tools/dist_extract.sh.')
    if array.ndim != 2 or not len(array) or array.dtype.kind != 'f':
        raise DataError(f'{path} holds {array.dtype} of shape {array.shape}; expected floats (images, numbers).')
    features = torch.from_numpy(array).double()
    if not bool(torch.isfinite(features).all()):
        bad = int((~torch.isfinite(features)).any(1).nonzero()[0])
        raise DataError(
            f'{path}: row {bad} is NaN or infinite: the network has diverged, or the extraction was cut short.'
        )
    return features / (features.norm(dim=1, keepdim=True) + EPSILON)


def read_labels(path: Path, rows: int | None = None, classes: int | None = None, of: str = 'images') -> Tensor:
    """Labels (N, classes) int64 of {1, 0, -1: difficult, or not in the sample}.

    Args:
        rows, classes: how many there must be; None: any number.
        of: what has `rows` rows, for the message.

    Raises:
        DataError: no such file, another size, another label, or a class without a positive.
    """
    array = read_array(path, 'Make it with tools/prepare_data/prepare_voc07_cls.sh.')
    if array.ndim != 2 or not len(array) or array.dtype.kind not in 'iuf':
        raise DataError(f'{path} holds {array.dtype} of shape {array.shape}; expected labels (images, classes).')
    if rows not in (None, len(array)):
        raise DataError(
            f'{path} labels {len(array)} images, but there are {rows} {of}. Both must come from the same list of images.'
        )
    if classes not in (None, array.shape[1]):
        raise DataError(f'{path} has {array.shape[1]} classes, the training labels have {classes}.')
    labels = torch.from_numpy(array)
    try:
        check_labels(labels)
    except DataError as error:
        raise DataError(f'{path}: {error}') from None
    missing = (~(labels == POSITIVE).any(0)).nonzero().flatten().tolist()
    if missing:
        raise DataError(
            f'{path}: no image shows class {", ".join(map(str, missing))} (columns, from 0), so it has no average precision.'
        )
    return labels.long()


def read_sample(path: Path, train_labels: Tensor) -> Tensor:
    """Labels of a low-shot sample: (N, classes) int64 of {1, 0, -1: not in the sample}.

    Args:
        train_labels: (N, classes), of which it is a part.

    Raises:
        DataError: see `read_labels`; a class has no negative image; or a label is not that of the training set.
    """
    sample = read_labels(path, len(train_labels), train_labels.shape[1], 'training labels')
    only = (~(sample == NEGATIVE).any(0)).nonzero().flatten().tolist()
    if only:
        raise DataError(f'{path}: class {", ".join(map(str, only))} (columns, from 0) has no negative image.')
    other = int(((sample != DIFFICULT) & (sample != train_labels)).sum())
    if other:
        raise DataError(
            f'{path}: {other} labels differ from those of train_labels.npy. The sample belongs to another list of images; '
            'draw it again with tools/prepare_data/create_voc_low_shot_challenge_samples.py.'
        )
    return sample


def read_names(path: Path, rows: int) -> list[str]:
    """Names of the test images, without folder and extension; row numbers where the file does not exist.

    Raises:
        DataError: another number of names.
    """
    if not path.exists():
        return [str(row) for row in range(rows)]
    names = [Path(str(name)).stem for name in read_array(path, '')]
    if len(names) != rows:
        raise DataError(f'{path} names {len(names)} images, but there are {rows} test features.')
    return names


def check_fit(train: Tensor, test: Tensor, train_labels: Tensor, test_labels: Tensor, feature: str) -> None:
    """Refuse features that do not belong to the labels or to each other.

    Raises:
        DataError: numbers of rows or widths differ.
    """
    for split, features, labels in (('train', train, train_labels), ('test', test, test_labels)):
        if len(features) != len(labels):
            raise DataError(
                f'voc07_{SPLITS[split]}_{feature}.npy has {len(features)} rows, {split}_labels.npy has {len(labels)}. '
                'Both must come from the same list of images.'
            )
    if train.shape[1] != test.shape[1]:
        raise DataError(
            f'{feature}: {train.shape[1]} numbers per training image, {test.shape[1]} per test image. '
            'The files come from different layers or networks; extract both again.'
        )
