"""The loader of one section of the runner config."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial
from typing import Annotated, Any

import torch
from torch.utils.data import DataLoader

from ... import distributed as dist
from ...arguments import Count, Part, ShareBelowOne, held
from ...errors import ConfigError, did_you_mean
from ...prefetch import Prefetch, read_prefetch
from ...registry import DATASETS, SAMPLERS
from ..cache import CacheSettings
from ..decoding import Backend
from ..pipelines.channels import check_length
from ..robust import MAX_BAD_SHARE, allow_unreadable
from ..wrappers import build_dataset, use_backend, use_cache, view_channels
from .agreement import check_ranks_agree
from .device import DeviceLoader, Normalize
from .samplers import EpochSampler
from .seeded import SeededDataset, collate
from .sharing import share_steps, statistics
from .window import sampler_for, say_order
from .workers import Workers, allow_open_files, number_of_workers, start_worker


@held
@dataclass(frozen=True, kw_only=True)
class LoaderSettings:
    """One section of the runner config: how a dataset is read.

    Args:
        batch_size: samples per process and iteration, counted before views.
        num_workers: loader workers per process; 0 loads in the training process; 'auto': by the cores.
        dataset: dict(type='ContrastiveDataset', ...) or a dataset.
        sampler: dict, perhaps without a type: `EpochSampler`'s arguments.
        drop_last: leave out the last, smaller global batch.
        prefetch: hand over uint8 images and normalise on the device; a dict has the device do more, see `selfsup.prefetch`.
        img_norm_cfg: `mean` and `std` of `Normalize`; needed with `prefetch` where the pipelines do not end in one.
        pin_memory: copy batches through page-locked memory; on CUDA only.
        persistent_workers: keep the workers between epochs.
        prefetch_factor: batches that each worker prepares ahead.
        max_unreadable: share of the images that may be unreadable before an error lists them.
        pipeline_backend: how images are decoded and steps computed: 'fast', or 'reference' with PIL and torchvision.
        cache: size and place of a cache of decoded, smaller images; None: files are decoded each time.
    """

    batch_size: Count
    num_workers: Workers = 0
    dataset: Annotated[dict | object, Part(DATASETS)]
    sampler: dict | None = None
    drop_last: bool = False
    prefetch: bool | Prefetch = False
    img_norm_cfg: dict | None = None
    pin_memory: bool = True
    persistent_workers: bool = True
    prefetch_factor: Count = 2
    max_unreadable: ShareBelowOne = MAX_BAD_SHARE
    pipeline_backend: Backend = 'reference'
    cache: CacheSettings | None = None


LOADER_KEYS = tuple(field.name for field in fields(LoaderSettings))


def build_loader(cfg: dict, *, seed: int, device: torch.device, rank: int = 0, world_size: int = 1) -> DeviceLoader:
    """Loader of one section of the runner config.

    Args:
        cfg: batch_size (per process) and dataset (dict or object); optional num_workers (0), sampler (dict, default
            EpochSampler), drop_last (False), prefetch (False), img_norm_cfg (mean, std; needed with prefetch where the pipelines do
            not end in Normalize), pin_memory (True on CUDA), persistent_workers (True with workers), prefetch_factor (2 batches per
            worker).
        seed: run seed, >= 0.
        device: where batches go.
        rank: this process.
        world_size: number of processes; where the process group has as many, all of them call, see `check_ranks_agree`.

    Raises:
        ConfigError: an unknown or missing key, or settings that contradict each other.
        DataError: the dataset gives no batch, or is not the same in all processes.
    """
    settings = _settings(cfg)
    prefetch = read_prefetch(settings.prefetch)
    dataset = build_dataset(settings.dataset, prefetch.on)
    if bool(getattr(dataset, 'prefetch', False)) != prefetch.on:
        raise ConfigError(
            f'prefetch={prefetch.on} of the loader and prefetch={not prefetch.on} of its {type(dataset).__name__} contradict each '
            'other. Set one of them, at the top level of the config.'
        )
    use_backend(dataset, settings.pipeline_backend)
    allow_unreadable(dataset, settings.max_unreadable)
    together = world_size == dist.world_size()
    if together:
        check_ranks_agree(dataset)
    if settings.cache is not None:
        use_cache(dataset, settings.cache, together)
    asked = {'type': 'EpochSampler', **(settings.sampler or {})}
    chosen = sampler_for(asked, dataset)
    sampler = _build_sampler(
        chosen,
        dataset,
        seed=seed,
        rank=rank,
        world_size=world_size,
        batch_size=settings.batch_size,
        drop_last=settings.drop_last,
    )
    say_order(sampler, dataset)
    workers = number_of_workers(settings.num_workers, sampler.num_batches, together)
    if workers:
        allow_open_files()
    normalize = _normalize(dataset, settings.img_norm_cfg, device) if prefetch.on else None
    augment = share_steps(dataset, workers, device, images=prefetch.images) if prefetch.augment else None
    loader = DataLoader(
        SeededDataset(dataset, seed),
        batch_size=settings.batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=partial(collate, ragged=getattr(dataset, 'ragged', ())),
        pin_memory=device.type == 'cuda' and settings.pin_memory,
        persistent_workers=workers > 0 and settings.persistent_workers,
        prefetch_factor=settings.prefetch_factor if workers else None,
        worker_init_fn=start_worker,
        generator=torch.Generator(),  # one of its own: iterating must not draw from torch's
    )
    return DeviceLoader(loader, device, normalize, augment)


def _normalize(dataset: Any, img_norm_cfg: dict | None, device: torch.device) -> Normalize:
    """What normalises on the device, for as many channels as the views have."""
    mean, std = statistics(dataset, img_norm_cfg)
    channels = view_channels(dataset)
    if channels is not None:
        check_length(mean, std, channels, 'img_norm_cfg')
    return Normalize(mean, std, device)


def _settings(cfg: dict) -> LoaderSettings:
    for key in cfg:
        if key not in LOADER_KEYS:
            raise ConfigError(f"'{key}' is not a setting of a loader.{did_you_mean(key, LOADER_KEYS)}")
    for key in ('batch_size', 'dataset'):
        if key not in cfg:
            raise ConfigError(f"A loader needs '{key}'; got {', '.join(cfg) or 'nothing'}.")
    return LoaderSettings(**cfg)


def _build_sampler(cfg: dict, dataset: Any, **settings: Any) -> EpochSampler:
    kind = SAMPLERS.get(cfg['type'])
    if not hasattr(kind, 'set_position'):
        raise ConfigError(
            f"sampler type='{cfg['type']}' cannot continue in the middle of an epoch. Use type='EpochSampler', with "
            'shuffle and replace.'
        )
    return SAMPLERS.build(cfg, dataset, **settings)
