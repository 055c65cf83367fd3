"""The loader of one section of the runner config."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial
from typing import Annotated, Any

import torch
from torch.utils.data import DataLoader

from ... import distributed as dist
from ...arguments import Count, Part, ShareBelowOne, Whole, held
from ...errors import ConfigError, did_you_mean
from ...registry import DATASETS, SAMPLERS
from ..cache import CacheSettings
from ..decoding import Backend
from ..robust import MAX_BAD_SHARE, allow_unreadable
from ..wrappers import build_dataset, use_backend, use_cache
from .agreement import check_ranks_agree
from .device import DeviceLoader, Normalize
from .samplers import EpochSampler
from .seeded import SeededDataset, collate
from .window import sampler_for, say_order


@held
@dataclass(frozen=True, kw_only=True)
class LoaderSettings:
    """One section of the runner config: how a dataset is read.

    Args:
        batch_size: samples per process and iteration, counted before views.
        num_workers: loader workers per process; 0 loads in the training process.
        dataset: dict(type='ContrastiveDataset', ...) or a dataset.
        sampler: dict, perhaps without a type: `EpochSampler`'s arguments.
        drop_last: leave out the last, smaller global batch.
        prefetch: hand over uint8 images and normalise on the device.
        img_norm_cfg: `mean` and `std` of `Normalize`; needed with `prefetch`.
        pin_memory: copy batches through page-locked memory; on CUDA only.
        persistent_workers: keep the workers between epochs.
        prefetch_factor: batches that each worker prepares ahead.
        max_unreadable: share of the images that may be unreadable before an error lists them.
        pipeline_backend: how images are decoded and steps computed: 'fast', or 'reference' with PIL and torchvision.
        cache: size and place of a cache of decoded, smaller images; None: files are decoded each time.
    """

    batch_size: Count
    num_workers: Whole = 0
    dataset: Annotated[dict | object, Part(DATASETS)]
    sampler: dict | None = None
    drop_last: bool = False
    prefetch: bool = False
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
            EpochSampler), drop_last (False), prefetch (False), img_norm_cfg (mean, std; needed with prefetch), pin_memory
            (True on CUDA), persistent_workers (True with workers), prefetch_factor (2 batches per worker).
        seed: run seed, >= 0.
        device: where batches go.
        rank: this process.
        world_size: number of processes; where the process group has as many, all of them call, see `check_ranks_agree`.

    Raises:
        ConfigError: an unknown or missing key, or settings that contradict each other.
        DataError: the dataset gives no batch, or is not the same in all processes.
    """
    settings = _settings(cfg)
    prefetch, dataset = settings.prefetch, build_dataset(settings.dataset, settings.prefetch)
    if getattr(dataset, 'prefetch', False) != prefetch:
        raise ConfigError(
            f'prefetch={prefetch} of the loader and prefetch={not prefetch} of its {type(dataset).__name__} contradict each '
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
    workers = settings.num_workers
    loader = DataLoader(
        SeededDataset(dataset, seed),
        batch_size=settings.batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=partial(collate, ragged=getattr(dataset, 'ragged', ())),
        pin_memory=device.type == 'cuda' and settings.pin_memory,
        persistent_workers=workers > 0 and settings.persistent_workers,
        prefetch_factor=settings.prefetch_factor if workers else None,
        worker_init_fn=_one_thread,
        generator=torch.Generator(),  # one of its own: iterating must not draw from torch's
    )
    return DeviceLoader(loader, device, Normalize(**(settings.img_norm_cfg or {}), device=device) if prefetch else None)


def _settings(cfg: dict) -> LoaderSettings:
    for key in cfg:
        if key not in LOADER_KEYS:
            raise ConfigError(f"'{key}' is not a setting of a loader.{did_you_mean(key, LOADER_KEYS)}")
    for key in ('batch_size', 'dataset'):
        if key not in cfg:
            raise ConfigError(f"A loader needs '{key}'; got {', '.join(cfg) or 'nothing'}.")
    settings = LoaderSettings(**cfg)
    if settings.prefetch and set(settings.img_norm_cfg or ()) != {'mean', 'std'}:
        raise ConfigError(
            f'prefetch=True needs img_norm_cfg=dict(mean=[...], std=[...]); got {settings.img_norm_cfg!r}.'
        )
    return settings


def _build_sampler(cfg: dict, dataset: Any, **settings: Any) -> EpochSampler:
    kind = SAMPLERS.get(cfg['type'])
    if not hasattr(kind, 'set_position'):
        raise ConfigError(
            f"sampler type='{cfg['type']}' cannot continue in the middle of an epoch. Use type='EpochSampler', with "
            'shuffle and replace.'
        )
    return SAMPLERS.build(cfg, dataset, **settings)


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
