"""Which labelled images a protocol trains and tests on, and their features."""

from __future__ import annotations

import runpy
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, DataError
from .features import evaluation_loader, extract_features


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
        try:
            found = runpy.run_path(path)
        except Exception as error:  # the file is a program: anything may be wrong with it
            raise ConfigError(f'{path} cannot be read: {type(error).__name__}: {error}.') from None
        missing = [name for name in ('train', 'test') if not isinstance(found.get(name), dict)]
        if missing:
            raise ConfigError(f"{path} lacks {' and '.join(missing)}: write {missing[0]} = dict(type='ClassificationDataset', ...).")
        return {'dataset': found['train']}, {'dataset': found['test']}
    for hook in compiled['custom_hooks']:
        if hook.get('type') == 'KNNHook':
            return {'dataset': hook['train']}, {'dataset': hook['test']}
    train, test = compiled['train_dataloader'], compiled['val_dataloader']
    if not train or not test or train['dataset']['type'] != test['dataset']['type']:
        raise ConfigError('The config names no labelled images: give it a KNNHook, or data.train and data.val of one type, or pass '
                          '--dataset-config.')
    return deterministic(train, test), test


def deterministic(train: dict, val: dict) -> dict:
    """The loader section of `val` with the images of `train`."""
    return {**val, 'dataset': {**val['dataset'], 'data_source': train['dataset']['data_source']}}


def labelled_features(model: nn.Module, cfg: dict, *, batch_size: int, num_workers: int, device: torch.device,
                      seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pooled features (N, D) and labels (N,) of a labelled data set, on every rank; see `evaluation_loader` for the arguments.

    Raises:
        ConfigError: the data set gives no labels.
    """
    loader = evaluation_loader(cfg, batch_size=batch_size, num_workers=num_workers, device=device, seed=seed)
    features, labels = extract_features(model, loader)
    loader.close()
    if labels is None:
        raise ConfigError(f"{type(loader.dataset).__name__} gives no labels: use type='ClassificationDataset'.")
    return features, labels


def check_classes(train: Tensor, test: Tensor) -> None:
    """Refuse a training split that lacks a class of the test split, whose images could never be right.

    Args:
        train: (N,) int64 labels.
        test: (M,) int64.

    Raises:
        DataError: naming the classes.
    """
    missing = sorted(set(test.unique().tolist()) - set(train.unique().tolist()))
    if missing:
        shown = ', '.join(map(str, missing[:10])) + (', ...' if len(missing) > 10 else '')
        raise DataError(f'The test images have classes of which there is no training image: {shown} ({len(missing)} in all). '
                        'Use lists or folders with the same classes.')
