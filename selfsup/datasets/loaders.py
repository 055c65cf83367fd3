"""Samples seen with which random numbers, and how they reach the device. With `samplers.py`, all randomness of the data.

Every sample is drawn with numbers that follow from (run seed, epoch, sample, repeat) alone; so the number of loader
workers, of ranks, or of restarts cannot change a view.
"""

from __future__ import annotations

import copy
import errno
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import islice
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from annotated_types import Ge, Gt, Len
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info

from .. import distributed as dist
from ..arguments import Part, held
from ..errors import ConfigError, DataError, SelfSupError, ShapeError, did_you_mean, explain_worker
from ..registry import DATASETS, SAMPLERS
from .agreement import check_ranks_agree
from .pipelines import check_statistics
from .samplers import Draw, EpochSampler
from .shared_memory import check_room, tensor_bytes

Channels = Annotated[Sequence[float], Len(1)]
Spreads = Annotated[Sequence[Annotated[float, Gt(0)]], Len(1)]


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
    """

    batch_size: Annotated[int, Ge(1)]
    num_workers: Annotated[int, Ge(0)] = 0
    dataset: Annotated[dict | object, Part(DATASETS)]
    sampler: dict | None = None
    drop_last: bool = False
    prefetch: bool = False
    img_norm_cfg: dict | None = None
    pin_memory: bool = True
    persistent_workers: bool = True
    prefetch_factor: Annotated[int, Ge(1)] = 2


LOADER_KEYS = tuple(field.name for field in fields(LoaderSettings))


class Failure(NamedTuple):
    """Takes the place of a sample or batch whose worker met an error that the user can mend."""

    error: SelfSupError


class SeededDataset(Dataset):
    """Runs `dataset[index]` with python's, numpy's and torch's generators seeded from (seed, epoch, index, repeat).

    In the training process their former state comes back afterwards; a loader worker has no other use of them.

    Args:
        dataset: the dataset.
        seed: run seed, >= 0.
    """

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, draw: Draw | tuple[int, int, int]) -> Any:
        """Sample of `Draw(epoch, index, repeat)`; in a worker a `Failure` instead of a SelfSupError."""
        return self.__getitems__([draw])[0]

    def __getitems__(self, draws: list[tuple[int, int, int]]) -> list:
        """Samples of a batch; `DataLoader` calls it, so that keeping the state (60 microseconds) is paid once per batch."""
        if get_worker_info() is not None:
            return [self._in_worker(draw) for draw in draws]
        python, numpy, default = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
        try:
            return [self._sample(draw) for draw in draws]
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
            torch.default_generator.set_state(default)

    def _in_worker(self, draw: tuple[int, int, int]) -> Any:
        try:
            return self._sample(draw)
        except SelfSupError as error:
            return Failure(error)

    def _sample(self, draw: tuple[int, int, int]) -> Any:
        epoch, index, repeat = draw
        words = np.random.SeedSequence([self.seed, epoch, index, repeat]).generate_state(3).tolist()
        random.seed(words[0])
        np.random.seed(words[1])
        torch.default_generator.manual_seed(words[2])  # not torch.manual_seed: that reseeds CUDA too
        return self.dataset[index]


def collate(samples: list, ragged: tuple[str, ...] = ()) -> Any:
    """Sample dicts -> batch dict; a `Failure` among them, or samples that do not fit together, give a `Failure`.

    Args:
        samples: of a batch.
        ragged: keys whose tensors differ in size from sample to sample: they stay lists.
    """
    for sample in samples:
        if isinstance(sample, Failure):
            return sample
    lists = {key: [sample[key] for sample in samples] for key in ragged if key in samples[0]}
    if lists:
        samples = [{key: value for key, value in sample.items() if key not in lists} for sample in samples]
        return {**lists, **(default_collate(samples) if samples[0] else {})}
    try:
        return default_collate(samples)
    except RuntimeError:
        shapes = sorted(
            {str(tuple(s['img'].shape)) for s in samples if isinstance(s, dict) and isinstance(s.get('img'), Tensor)}
        )
        if len(shapes) < 2:
            raise
        return Failure(
            DataError(
                f'The images of a batch differ in size: {", ".join(shapes[:5])}. '
                'End the pipeline with a RandomResizedCrop or CenterCrop, or read with batch_size=1.'
            )
        )


class DeviceLoader:
    """Batches of a `DataLoader` on the device; the loader of everything in this package.

    With `normalize`, images arrive as uint8 and become floats on the device; on CUDA that happens on a stream of its own,
    one batch ahead of the training step.

    Args:
        loader: over a `SeededDataset`, with an `EpochSampler`.
        device: where batches go.
        normalize: uint8 images on the device -> floats; None: the dataset made floats.
    """

    def __init__(
        self, loader: DataLoader, device: torch.device, normalize: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self._loader: DataLoader | None = loader
        self.device = device
        self.normalize = normalize
        self.sampler = loader.sampler
        self.dataset = loader.dataset.dataset
        self.batch_size = loader.batch_size
        self._sample_bytes: int | None = None
        self._started = False  # the workers were started, with room for their batches
        self._stream = torch.cuda.Stream(device) if normalize and device.type == 'cuda' else None

    def __len__(self) -> int:
        """Batches of a whole epoch, wherever the next iteration starts."""
        return self.sampler.num_batches

    def set_position(self, epoch: int, skip_batches: int = 0) -> None:
        """The next iteration runs through `epoch` from batch `skip_batches` on, without loading what is skipped."""
        self.sampler.set_position(epoch, skip_batches)

    def peek(self, images: int | None = None) -> dict[str, Tensor]:
        """This rank's first batch of epoch 0, read in this process; where the next iteration starts stays as it was.

        Args:
            images: how many of them; None: a batch.

        Raises:
            DataError: the images cannot be read or do not fit together.
        """
        return self._to_device(self._first(images or self.batch_size))

    def _first(self, images: int) -> dict[str, Tensor]:
        """The first samples of this rank in epoch 0 as a batch, in host memory."""
        sampler = copy.copy(
            self.sampler
        )  # what waits for the next epoch (uniform sampling) must not take this one for it
        sampler.set_position(0)
        draws = list(islice(sampler, images))
        batch = self._open_loader().collate_fn(self._open_loader().dataset.__getitems__(draws))
        if isinstance(batch, Failure):
            raise batch.error
        return batch

    def shared_memory_needed(self) -> int:
        """Bytes of shared memory that the batches of the workers take: those read ahead, and the one that is worked on.

        Measured on one sample; 0 without workers.
        """
        loader = self._open_loader()
        if not loader.num_workers or not len(self.sampler):
            return 0
        if self._sample_bytes is None:
            self._sample_bytes = tensor_bytes(self._first(1))
        batches = min(loader.num_workers * loader.prefetch_factor + 1, len(self))
        return self._sample_bytes * min(self.batch_size, len(self.sampler)) * batches

    def describe_sharing(self) -> str:
        """What `shared_memory_needed` counts, for a message."""
        loader = self._open_loader()
        return (
            f'{loader.num_workers} workers (workers_per_gpu) with {loader.prefetch_factor} batches each (prefetch_factor), batches of '
            f'{self.batch_size} (imgs_per_gpu) with {(self._sample_bytes or 0) / 2**20:.2g} MB per image'
        )

    def close(self) -> None:
        """End the loader workers. The loader cannot be iterated afterwards."""
        self._loader = None  # the last reference to the persistent workers' iterator

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        if self._stream is None:
            for batch in self._host_batches():
                yield self._to_device(batch)
            return
        ahead = None
        for batch in self._host_batches():
            with torch.cuda.stream(self._stream):
                staged = self._to_device(batch), self._stream.record_event()
            if ahead is not None:
                yield self._hand_over(*ahead)
            ahead = staged
        if ahead is not None:
            yield self._hand_over(*ahead)

    def _open_loader(self) -> DataLoader:
        if self._loader is None:
            raise DataError('This loader was closed; build another.')
        return self._loader

    def _host_batches(self) -> Iterator[dict[str, Tensor]]:
        """Batches in host memory; raises the error that a worker met."""
        if not self._started and (needed := self.shared_memory_needed()):
            check_room(needed, self)
        self._started = True
        try:
            batches = iter(self._open_loader())
        except OSError as error:  # the queues to the workers lie there too
            if error.errno != errno.ENOSPC:
                raise
            raise explain_worker(f'no queue to a worker fits into shared memory(shm): {error}') from error
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except (RuntimeError, OSError) as error:
                explained = explain_worker(str(error))
                if explained is None:
                    raise
                raise explained from error
            finally:
                self.sampler.skip_batches = 0  # read by now; holds for one iteration
            if isinstance(batch, Failure):
                raise batch.error
            yield batch

    def _to_device(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        batch = {key: _each(value, lambda x: x.to(self.device, non_blocking=True)) for key, value in batch.items()}
        if self.normalize is not None:
            batch['img'] = _each(batch['img'], self.normalize)
        return batch

    def _hand_over(self, batch: dict[str, Tensor], ready: torch.cuda.Event) -> dict[str, Tensor]:
        """Make the training stream wait for a staged batch, and keep its memory while that stream uses it."""
        stream = torch.cuda.current_stream(self.device)
        stream.wait_event(ready)
        for value in batch.values():
            _each(value, lambda x: x.record_stream(stream))
        return batch


def _each(value: Tensor | list[Tensor], function: Callable[[Tensor], Any]) -> Any:
    """`function` of a tensor, or of every tensor of a list."""
    return [function(x) for x in value] if isinstance(value, list) else function(value)


@held
class Normalize:
    """uint8 images (..., C, H, W) -> (x / 255 - mean) / std, float32; the operations of ToTensor and Normalize in their order.

    Args:
        mean: per channel, of images in [0, 1].
        std: per channel, > 0.
        device: where the images are.
    """

    def __init__(self, mean: Channels, std: Spreads, device: torch.device) -> None:
        if len(mean) != len(std):
            raise ConfigError(f'img_norm_cfg needs a mean and a std for each channel; got mean={mean}, std={std}.')
        check_statistics(mean, std, 'img_norm_cfg')
        self.mean = torch.tensor(mean, dtype=torch.float32, device=device).view(-1, 1, 1)
        self.std = torch.tensor(std, dtype=torch.float32, device=device).view(-1, 1, 1)

    def __call__(self, images: Tensor) -> Tensor:
        if len(self.mean) not in (1, images.shape[-3]):
            raise ShapeError(f'img_norm_cfg is for {len(self.mean)} channels; the images have {images.shape[-3]}.')
        return images.to(torch.float32).div_(255).sub_(self.mean).div_(self.std)


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
    prefetch, dataset = settings.prefetch, settings.dataset
    if isinstance(dataset, dict):
        dataset = DATASETS.build({'prefetch': True, **dataset} if prefetch else dataset)
    if getattr(dataset, 'prefetch', False) != prefetch:
        raise ConfigError(
            f'prefetch={prefetch} of the loader and prefetch={not prefetch} of its {type(dataset).__name__} contradict each '
            'other. Set one of them, at the top level of the config.'
        )
    if world_size == dist.world_size():
        check_ranks_agree(dataset)
    sampler = _build_sampler(
        {'type': 'EpochSampler', **(settings.sampler or {})},
        dataset,
        seed=seed,
        rank=rank,
        world_size=world_size,
        batch_size=settings.batch_size,
        drop_last=settings.drop_last,
    )
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
        generator=torch.Generator(),
    )  # a generator of its own: iterating must not draw from torch's
    return DeviceLoader(loader, device, Normalize(**settings.img_norm_cfg, device=device) if prefetch else None)


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


def _build_sampler(cfg: dict, dataset: Dataset, **settings: Any) -> EpochSampler:
    kind = SAMPLERS.get(cfg['type'])
    if not hasattr(kind, 'set_position'):
        raise ConfigError(
            f"sampler type='{cfg['type']}' cannot continue in the middle of an epoch. Use type='EpochSampler', with "
            'shuffle and replace.'
        )
    return SAMPLERS.build(cfg, dataset, **settings)


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
