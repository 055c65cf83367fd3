"""How batches reach the device, and what is normalised there."""

from __future__ import annotations

import copy
import errno
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Annotated, Any, cast

import torch
from annotated_types import Len
from torch import Tensor
from torch.utils.data import DataLoader

from ...arguments import Positive, held
from ...errors import ConfigError, DataError, ShapeError, explain_worker
from ...heartbeat import BATCH, beat
from ..pipelines import check_statistics
from ..pipelines.forms.batch import DeviceShare
from .samplers import EpochSampler
from .seeded import Failure, SeededDataset, images_in
from .shared_memory import check_room, tensor_bytes
from .workers import no_file_came

Channels = Annotated[Sequence[float], Len(1)]
Spreads = Annotated[Sequence[Positive], Len(1)]


class DeviceLoader:
    """Batches of a `DataLoader` on the device; the loader of everything in this package.

    With `normalize`, images arrive as uint8 and become floats on the device; with `augment`, it runs steps of the pipelines before that.
    On CUDA both happen on a stream of their own, one batch ahead of the training step.

    Args:
        loader: over a `SeededDataset`, with an `EpochSampler`.
        device: where batches go.
        normalize: uint8 images on the device -> floats; None: the dataset made floats.
        augment: the device's share of the pipelines, for batches that hold `draws`; they do not reach the caller.
    """

    def __init__(
        self,
        loader: DataLoader,
        device: torch.device,
        normalize: Callable[[Tensor], Tensor] | None = None,
        augment: DeviceShare | None = None,
    ) -> None:
        self._loader: DataLoader | None = loader
        self.device = device
        self.normalize = normalize
        self.augment = augment
        self.sampler = cast(EpochSampler, loader.sampler)
        self.dataset: Any = cast(SeededDataset, loader.dataset).dataset
        self.batch_size = cast(int, loader.batch_size)
        self._sample_bytes: int | None = None
        self.before_batch: Callable[[], None] | None = None  # called before each batch is handed out
        self._started = False  # the workers were started, with room for their batches
        self._stream = torch.cuda.Stream(device) if normalize and device.type == 'cuda' else None

    def __len__(self) -> int:
        """Batches of a whole epoch, wherever the next iteration starts."""
        return self.sampler.num_batches

    def set_position(self, epoch: int, skip_batches: int = 0, start: int = 0) -> None:
        """The next iteration runs through `epoch` from batch `skip_batches` on, without loading what is skipped.

        Args:
            epoch: its number, from 0.
            skip_batches: batches that are left out, counted from `start`.
            start: samples of the epoch that batches of another size have held, see `EpochSampler`.
        """
        if start:  # a sampler of the user's own need not know it
            self.sampler.set_position(epoch, skip_batches, start)
        else:
            self.sampler.set_position(epoch, skip_batches)

    def peek(self, images: int | None = None) -> dict[str, Tensor]:
        """This rank's first batch of epoch 0, read in this process; where the next iteration starts stays as it was.

        Args:
            images: how many of them; None: a batch.

        Raises:
            DataError: the images cannot be read or do not fit together.
        """
        return self._to_device(self._first(images or self.batch_size))

    def read_first(self, images: int) -> int:
        """Read the first images of this rank in epoch 0 in this process, as a worker would, and drop them; how many there were."""
        return images_in(self._first(images))

    def _first(self, images: int) -> dict[str, Tensor]:
        """The first samples of this rank in epoch 0 as a batch, in host memory."""
        # A copy: what waits for the next epoch (uniform sampling) must not take this pass for it.
        sampler = copy.copy(self.sampler)
        sampler.set_position(0)
        draws = list(islice(sampler, images))
        loader = self._open_loader()
        batch = loader.collate_fn(cast(SeededDataset, loader.dataset).__getitems__(draws))
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
        batches = min(loader.num_workers * (loader.prefetch_factor or 0) + 1, len(self))
        return self._sample_bytes * min(self.batch_size, len(self.sampler)) * batches

    def describe_sharing(self) -> str:
        """What `shared_memory_needed` counts, for a message."""
        loader = self._open_loader()
        return (
            f'{loader.num_workers} workers (workers_per_gpu) with {loader.prefetch_factor} batches each (prefetch_factor), batches of '
            f'{self.batch_size} (imgs_per_gpu) with {(self._sample_bytes or 0) / 2**20:.2g} MB per image'
        )

    @property
    def num_workers(self) -> int:
        """Loader workers of this process."""
        return self._open_loader().num_workers

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
            what = 'no queue to a worker fits into shared memory(shm): ' if error.errno == errno.ENOSPC else ''
            raise explain_worker(f'{what}{error}') or error from error
        while True:
            try:
                beat(BATCH)
                batch = next(batches)
                beat('working on a batch')
            except StopIteration:
                return
            except (RuntimeError, OSError, EOFError) as error:
                explained = explain_worker('too many open files' if no_file_came(error) else str(error))
                if explained is None:
                    raise
                raise explained from error
            finally:
                self.sampler.skip_batches = self.sampler.start = 0  # read by now; holds for one iteration
            if isinstance(batch, Failure):
                raise batch.error
            if self.before_batch is not None:
                self.before_batch()
            yield batch

    def _to_device(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        draws = batch.get('draws') if self.augment else None  # they stay in host memory, see `BatchForm.apply`
        batch = {
            key: _each(value, lambda x: x.to(self.device, non_blocking=True))
            for key, value in batch.items()
            if draws is None or key != 'draws'
        }
        if self.augment and draws is not None:
            batch['img'] = self.augment.views(batch.get('img'), draws)
        if self.normalize is not None:
            batch['img'] = _each(batch['img'], self.normalize)
        return batch

    def _hand_over(self, batch: dict[str, Tensor], ready: torch.Event) -> dict[str, Tensor]:
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

    Floats, which sources of more than 8 bits give, are in [0, 1] already: (x - mean) / std.

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
        scaled = images if images.is_floating_point() else images.to(torch.float32).div_(255)
        return scaled.sub(self.mean).div_(self.std)
