"""What the heads of a linear-classification config read, extracted once: training and test features in two caches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...datasets.robust import mark_unreadable
from ...errors import ConfigError
from ...provenance import sha256
from ..features import evaluating, evaluation_loader
from ..labelled import deterministic, labelled_loaders
from .feature_cache import Draw, FeatureCache, cached


def draws_of(
    model: Any,
    section: dict,
    *,
    views: int = 0,
    flip: bool = False,
    batch_size: int,
    num_workers: int,
    device: torch.device,
    seed: int = 0,
) -> list[Draw]:
    """Draws of images for `cached`.

    Args:
        model: algorithm with `extract` and a `head` with `pool`.
        section: loader section of the data.
        views: draws of its pipeline, the first being what a run of tools/train.py with this seed sees in its first epoch, and so
            on; 0 is one of a pipeline without randomness.
        flip: each draw mirrored too.
        batch_size, num_workers, device, seed: see `evaluation_loader`.
    """

    def open_loader(view: int) -> Any:
        loader = evaluation_loader(section, batch_size=batch_size, num_workers=num_workers, device=device, seed=seed)
        loader.set_position(view)
        return loader

    def forward(mirrored: bool, img: Tensor) -> list[Tensor]:
        with evaluating(model):
            maps = model.extract(img.flip(-1) if mirrored else img)
            return model.head.pool(model.neck(maps))

    return [
        Draw(partial(open_loader, view), partial(forward, mirrored))
        for view in range(max(1, views))
        for mirrored in ((False, True) if flip else (False,))
    ]


def both_caches(
    model: nn.Module,
    compiled: dict[str, Any],
    folder: Path,
    *,
    weights: str,
    views: int = 0,
    flip: bool = False,
    dtype: str = 'float16',
    seed: int = 0,
    device: torch.device,
    force: bool = False,
) -> tuple[FeatureCache | None, FeatureCache | None, Callable]:
    """Training and test features of a config of linear classification, in `folder`/train and `folder`/test.

    Args:
        model: algorithm with the weights.
        compiled: runner config with `data.train` and `data.val`.
        folder: of both caches.
        weights: file of the backbone, or 'random'; its SHA-256 tells whether a cache fits.
        force: replace caches of other features.

    For the others see `draws_of` and `cached`.

    Returns:
        Both caches (None on ranks other than 0), and `accuracy(scores, name)`: the test set's `evaluate` of scores for the images
        that the test cache holds.

    Raises:
        ConfigError: no data.val, a head that cannot be trained on cached features, or `views` < 0.
        DataError: see `cached` and `check_classes`.
    """
    train, val = compiled['train_dataloader'], compiled['val_dataloader']
    if not val:
        raise ConfigError('The config has no data.val to test on; add it, or give it with --cfg-options.')
    if views < 0 or not hasattr(getattr(model, 'head', None), 'classify'):
        raise ConfigError(
            f'views={views}, head {type(getattr(model, "head", None)).__name__}: training on cached features needs 0 or more '
            'views, and ClsHead or MultiClsHead.'
        )
    loading = {
        'batch_size': val['batch_size'],
        'num_workers': val.get('num_workers', 0),
        'device': device,
        'seed': seed,
    }
    sections = {'train': (train if views else deterministic(train, val), views, flip), 'test': (val, 0, False)}
    loaders = labelled_loaders([section for section, *_ in sections.values()], **loading)
    images = {name: loader.dataset for name, loader in zip(sections, loaders, strict=True)}
    digest = f'random, seed {seed}' if weights == 'random' else sha256(weights)
    body = {k: v for k, v in compiled['model'].items() if k != 'head'}
    key = {'weights': digest, 'model': body, 'head': _pooling(compiled['model']['head'])}
    caches: dict[str, FeatureCache | None] = {}
    for name, (section, draws, mirrored) in sections.items():
        of_images = {
            **key,
            'data': section['dataset'],
            **_unlike_earlier(section),
            'images': _digest(images[name]),
            'views': draws,
            'flip': mirrored,
            'seed': seed if draws else None,
        }
        caches[name] = cached(
            folder / name, of_images, draws_of(model, section, views=draws, flip=mirrored, **loading), dtype, force
        )
    return caches['train'], caches['test'], partial(_accuracy, images['test'], caches['test'])


def _unlike_earlier(section: dict[str, Any]) -> dict[str, Any]:
    """How the images are read, where that is not as it was before there was a choice: caches of that time fit still."""
    backend = section.get('pipeline_backend', 'reference')
    return {} if backend == 'reference' else {'pipeline_backend': backend}


def _accuracy(dataset: Any, cache: FeatureCache | None, scores: Tensor, name: str) -> dict[str, float]:
    """What `dataset.evaluate` says of scores (M, K) of the images that the cache could read."""
    if cache is not None and len(cache) < len(dataset):
        mark_unreadable(dataset, np.setdiff1d(np.arange(len(dataset)), cache.readable).tolist())
        scores, known = scores.new_zeros(len(dataset), *scores.shape[1:]), scores
        scores[torch.from_numpy(cache.readable)] = known
    return dataset.evaluate(scores, name)


def _pooling(head: dict[str, Any]) -> dict[str, Any]:
    """What in a head's config decides about its pooling."""
    settings: dict[str, Any] = {
        k: head[k] for k in ('type', 'with_avg_pool', 'pool_type', 'in_indices', 'with_last_layer_unpool') if k in head
    }
    if settings.get('with_last_layer_unpool') is True:
        # Caches that say True were written when the unpooled map replaced the last input.
        settings['with_last_layer_unpool'] = 'added'
    return settings


def _digest(dataset: Any) -> str:
    """SHA-256 of the names and labels of all images: a list file may change while its path does not."""
    digest = hashlib.sha256(dataset.labels.tobytes())
    for index in range(len(dataset)):
        digest.update(dataset.data_source.describe(index).encode(errors='surrogateescape') + b'\n')
    return digest.hexdigest()
