"""Which labelled images a protocol trains and tests on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..datasets.loaders import DeviceLoader
from ..distributed import is_main
from ..errors import ConfigError, DataError
from ..registry import DATA_SOURCES
from .class_names import compare, naming_of, shown
from .features import evaluation_loader
from .layer_features import read_data_file


def labelled_pair(compiled: dict[str, Any], path: str | None = None) -> tuple[dict, dict]:
    """Loader sections for labelled training and test images, both seen without augmentation.

    Args:
        compiled: runner config. Its `KNNHook` names both; else `data.val` is the test set, and its pipeline is used for the
            images of `data.train`.
        path: Python file with `train` and `test`, dataset configs; goes before the config.

    Raises:
        ConfigError: the file cannot be read or lacks one, or the config names no labelled images.
    """
    if path is not None:
        described = read_data_file(path)
        missing = [name for name in ('train', 'test') if not isinstance(described.get(name), dict)]
        if missing:
            raise ConfigError(
                f"{path} lacks {' and '.join(missing)}: write {missing[0]} = dict(type='ClassificationDataset', ...)."
            )
        return {'dataset': described['train']}, {'dataset': described['test']}
    for hook in compiled['custom_hooks']:
        if hook.get('type') == 'KNNHook':
            return {'dataset': hook['train']}, {'dataset': hook['test']}
    train, test = compiled['train_dataloader'], compiled['val_dataloader']
    if not train or not test or train['dataset']['type'] != test['dataset']['type']:
        raise ConfigError(
            'The config names no labelled images: give it a KNNHook, or data.train and data.val of one type, or pass '
            '--dataset-config.'
        )
    return deterministic(train, test), test


def deterministic(train: dict, val: dict) -> dict:
    """The loader section of `val` with the images of `train`."""
    return {**val, 'dataset': {**val['dataset'], 'data_source': train['dataset']['data_source']}}


def with_images(sections: Sequence[dict], addresses: Sequence[str | None]) -> list[dict]:
    """Loader sections that read other images.

    Args:
        sections: loader sections.
        addresses: one for each, such as 'folder:/photos'; None leaves its images.

    Raises:
        ConfigError: an address cannot be read.
    """
    return [
        section
        if address is None
        else {**section, 'dataset': {**section['dataset'], 'data_source': DATA_SOURCES.from_text(address)}}
        for section, address in zip(sections, addresses, strict=True)
    ]


def labelled_loaders(
    sections: Sequence[dict], *, batch_size: int, num_workers: int, device: torch.device, seed: int = 0
) -> tuple[DeviceLoader, DeviceLoader]:
    """Loaders of the training and the test images, which must have the same classes; see `evaluation_loader` for the arguments.

    Raises:
        ConfigError: a data set gives no labels.
        DataError: see `check_classes`.
    """
    train, test = (
        evaluation_loader(section, batch_size=batch_size, num_workers=num_workers, device=device, seed=seed)
        for section in sections
    )
    for dataset in (train.dataset, test.dataset):
        if not hasattr(dataset, 'evaluate') or dataset.labels is None:
            raise ConfigError(f"{type(dataset).__name__} gives no labels: use type='ClassificationDataset'.")
    line = check_classes(train.dataset, test.dataset)
    if line is not None and is_main():
        logging.getLogger('selfsup').warning(line)  # a tool has no log file: this goes to the terminal
    return train, test


def check_classes(train: Any, test: Any) -> str | None:
    """Refuse a training split that lacks a class of the test split, or that numbers its classes otherwise.

    Args:
        train, test: data sets with `labels`; what both sides know of the names of their classes must agree.

    Returns:
        One line, to be shown, where names cannot be compared; None where they agree.

    Raises:
        DataError: naming the classes.
    """
    line = compare(naming_of(train, 'the training images'), naming_of(test, 'the test images'))
    missing = sorted(set(np.unique(test.labels).tolist()) - set(np.unique(train.labels).tolist()))
    if missing:
        raise DataError(
            f'The test images have classes of which there is no training image: {shown(missing)}. Use lists or folders with '
            'the same classes.'
        )
    return line
