"""Which samples an epoch holds and in which order, as a function of (run seed, epoch) alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ...arguments import Count, Whole
from ...errors import ConfigError, DataError
from ...registry import SAMPLERS
from .uniform import UniformEpoch, check_labels, uniform_order

CHUNK = 2**16  # samples that are numbers of Python at a time: those of a whole epoch take 40 bytes each
ORDER_STREAM = (0, 0, 1)  # sets the draw of an order apart from those of samples, which have three numbers fewer


class Draw(NamedTuple):
    """One sample of an epoch: what the sampler yields and `SeededDataset` takes."""

    epoch: int
    index: int  # type: ignore[assignment]  # it hides the method `index` of tuples, which nobody calls
    repeat: int  # earlier occurrences of `index` in this epoch


@SAMPLERS.register_module()
class EpochSampler:
    """Samples of one rank, epoch by epoch, as `Draw`s.

    An epoch has one global order, a function of (seed, epoch). It is padded with its own front until all ranks get
    equally many, then cut into global batches of `batch_size * world_size`; rank r takes the r-th slice of each. So for
    one global batch size, iteration i holds the same samples for any number of ranks (up to the padding, which is in the
    last batch only). Iterating the sampler tells which sample each row of this rank's batches is: with it, evaluation
    puts the rows of all ranks into the order of the dataset.

    The order may be cut anew in the middle of an epoch: what follows on its first `start` samples is cut into batches of another size, or
    for another number of ranks, and no sample is left out or seen twice (but for padding and `drop_last`, at the end).

    Args:
        dataset: anything with a length, or the length N >= 1.
        shuffle: False keeps the order of the dataset.
        replace: draw N samples with replacement; those drawn again get other views.
        seed: run seed, >= 0.
        rank: this process, in [0, world_size).
        world_size: number of processes.
        batch_size: samples per process and iteration.
        drop_last: leave out the last, smaller global batch instead of padding it.

    Raises:
        ConfigError: `replace` without `shuffle`.
        DataError: `drop_last` leaves no batch.
    """

    # The order of an epoch does not depend on the batch or the ranks, so that it can be cut into others. False: it does.
    recuts = True

    def __init__(
        self,
        dataset: Sized | Count,
        shuffle: bool = True,
        replace: bool = False,
        *,
        seed: Whole = 0,
        rank: Whole = 0,
        world_size: Count = 1,
        batch_size: Count = 1,
        drop_last: bool = False,
    ) -> None:
        if replace and not shuffle:
            raise ConfigError('sampling with replacement (replace=True) is random: it needs shuffle=True.')
        self.size = len(dataset) if isinstance(dataset, Sized) else dataset
        self.shuffle, self.replace = shuffle, replace
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.batch_size, self.drop_last = batch_size, drop_last
        self.epoch = self.skip_batches = self.start = 0
        self._uniform: UniformEpoch | None = None
        self.samples = self._samples()  # of an epoch, before it is padded or its end is left out
        self.total = self._total()

    def _samples(self) -> int:
        return self.size

    def _total(self) -> int:
        """Samples of an epoch over all ranks."""
        if self.drop_last and self.samples < self.global_batch:
            raise DataError(
                f'{self.samples} samples give no batch of {self.global_batch} ({self.batch_size} on each of {self.world_size} '
                'processes), and drop_last=True leaves out smaller ones: nothing would be read. Lower imgs_per_gpu or set '
                'drop_last=False.'
            )
        return self._end(0)

    @property
    def global_batch(self) -> int:
        """Samples of an iteration, of all ranks."""
        return self.batch_size * self.world_size

    def _end(self, start: int) -> int:
        """Where the global order ends, padded or cut, if it is cut into batches from `start` on."""
        left, unit = self.samples - start, self.global_batch if self.drop_last else self.world_size
        return start + (left // unit if self.drop_last else -(-left // unit)) * unit

    def __len__(self) -> int:
        """Samples of this rank in a whole epoch."""
        return self.total // self.world_size

    @property
    def num_batches(self) -> int:
        """Batches of a whole epoch."""
        return -(-len(self) // self.batch_size)

    def batches_left(self, start: int) -> int:
        """Batches of an epoch that is cut anew after its first `start` samples."""
        return -(-self.rest(start) // self.batch_size)

    def rest(self, start: int) -> int:
        """Samples of this rank in an epoch that is cut anew after its first `start` samples."""
        return (self._end(start) - start) // self.world_size

    def batches_of(self, global_batch: int) -> int:
        """Batches of a whole epoch in batches of that many samples of all ranks."""
        return self.samples // global_batch if self.drop_last else -(-self.samples // global_batch)

    def set_position(self, epoch: int, skip_batches: int = 0, start: int = 0) -> None:
        """The next iteration runs through `epoch` from batch `skip_batches` on.

        Args:
            epoch: its number, from 0.
            skip_batches: batches that are left out, counted from `start`.
            start: samples of the global order that other batches have held: only what follows is cut into batches.

        Raises:
            DataError: the epoch is shorter.
        """
        if not 0 <= start <= self.samples:
            raise DataError(f'An epoch has {self.samples} samples, so it cannot go on after {start}.')
        if not 0 <= skip_batches <= self.batches_left(start):
            raise DataError(
                f'An epoch has {self.batches_left(start)} batches, so it cannot start at batch {skip_batches}: '
                'the dataset or the batch size is not that of the run to be resumed.'
            )
        self.epoch, self.skip_batches, self.start = epoch, skip_batches, start
        self._bind()

    def _bind(self) -> None:
        """A uniform epoch that waits for its number gets the current one."""
        if self._uniform is not None and self._uniform.epoch is None:
            self._uniform = self._uniform._replace(epoch=self.epoch)

    def set_uniform_indices(self, labels: np.ndarray | Tensor | Sequence[int], num_classes: int) -> None:
        """Sample the next epoch, and only it, uniformly by class; see `uniform_order`.

        "Next" is the epoch that `set_position` names next, or the current one if that is iterated first. A resumed run calls
        this again with the same labels.

        Args:
            labels: (N,) whole numbers in [0, num_classes), one per sample of the dataset.
            num_classes: number of classes.

        Raises:
            DataError: another number of labels than of samples, or a label out of range.
        """
        self._uniform = UniformEpoch(check_labels(labels, num_classes, self.size), num_classes)

    def order(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Global order of an epoch, from its first sample on, whatever `start` is.

        Returns:
            Sample numbers and their repeats, int64 each; as many as the epoch has, padded or cut.
        """
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, epoch, *ORDER_STREAM]))
        drawn = np.resize(self._draw(rng, epoch), self._end(self.start))  # cut, or padded from the front
        order = self._arranged(drawn)
        return order, count_repeats(order)

    def _arranged(self, order: np.ndarray) -> np.ndarray:
        """The global order, int64, with the same samples in each global batch from `start` on."""
        return order

    def _draw(self, rng: np.random.Generator, epoch: int) -> np.ndarray:
        """Sample numbers of an epoch, before they are cut or padded."""
        if self._uniform is not None and epoch == self._uniform.epoch:
            return uniform_order(self._uniform.labels, self._uniform.num_classes, rng)
        if self.replace:
            return rng.integers(0, self.size, size=self.size)
        return rng.permutation(self.size) if self.shuffle else np.arange(self.size)

    def positions(self) -> np.ndarray:
        """Places of this rank's samples in the global order from `start` on, int64 (rest(start),), in the order of its batches."""
        full, rest = divmod(self._end(self.start) - self.start, self.global_batch)
        body = np.arange(full)[:, None] * self.global_batch + self.rank * self.batch_size + np.arange(self.batch_size)
        share = rest // self.world_size
        last = full * self.global_batch + self.rank * share + np.arange(share)
        return self.start + np.concatenate([body.ravel(), last])

    def __iter__(self) -> Iterator[Draw]:
        self._bind()
        epoch, mine = self.epoch, self.positions()[self.skip_batches * self.batch_size :]
        order, repeats = self.order(epoch)
        for first in range(0, len(mine), CHUNK):
            part = mine[first : first + CHUNK]
            for index, repeat in zip(order[part].tolist(), repeats[part].tolist(), strict=True):
                yield Draw(epoch, index, repeat)


def count_repeats(values: np.ndarray) -> np.ndarray:
    """For each element, how many equal ones come before it: [7, 3, 7, 7] -> [0, 0, 1, 2]. `values` are whole numbers >= 0."""
    seen = np.zeros(values.max(initial=-1) + 1, dtype=bool)
    seen[values] = True
    if np.count_nonzero(seen) == len(
        values
    ):  # each once, as a rule: sorting takes 40 bytes per sample, and 20 times as long
        return np.zeros(len(values), dtype=np.int64)
    by_value = np.argsort(values, kind='stable')
    ordered = values[by_value]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[starts, len(values)])
    counts = np.empty_like(by_value)
    counts[by_value] = np.arange(len(values)) - np.repeat(starts, lengths)
    return counts


@SAMPLERS.register_module()
class UniformSampler(EpochSampler):
    """Every epoch is drawn uniformly by class, from the labels of the dataset: for sets with rare classes.

    Args:
        dataset: with `labels`, one per sample.
        seed, rank, world_size, batch_size, drop_last: see `EpochSampler`.

    Raises:
        ConfigError: the dataset has no labels.
    """

    def __init__(
        self,
        dataset: Sized,
        *,
        seed: Whole = 0,
        rank: Whole = 0,
        world_size: Count = 1,
        batch_size: Count = 1,
        drop_last: bool = False,
    ) -> None:
        super().__init__(
            dataset, seed=seed, rank=rank, world_size=world_size, batch_size=batch_size, drop_last=drop_last
        )
        labels = getattr(dataset, 'labels', None)
        if labels is None:
            raise ConfigError(
                f'UniformSampler needs the classes of the samples, but {type(dataset).__name__} has none here. Use a list '
                "with 'path label' lines or a folder with one subfolder per class."
            )
        self.num_classes = int(np.max(labels)) + 1
        self.labels = check_labels(labels, self.num_classes, self.size)

    def _draw(self, rng: np.random.Generator, epoch: int) -> np.ndarray:
        return uniform_order(self.labels, self.num_classes, rng)


@SAMPLERS.register_module()
class RepeatAugSampler(EpochSampler):
    """Repeated augmentation (arXiv:1901.09847; DeiT, arXiv:2012.12877): every image comes several times, each time with another view.

    An epoch is as long as without it, so it holds 1 / num_repeats of the images. The global order is timm's: a, a, a, b, b, b, ... of
    shuffled images, dealt to the ranks one by one, so that the views of an image lie in one global batch (in two where one ends
    among them), on different ranks where there are enough. timm rounds an epoch down to a multiple of 256 images; here `drop_last`
    decides about its end.

    Args:
        dataset: anything with a length, or the length N >= 1.
        num_repeats: views per image, >= 1 (DeiT, SparK: 3).
        shuffle: False keeps the order of the dataset.
        seed, rank, world_size, batch_size, drop_last: see `EpochSampler`.
    """

    def __init__(
        self,
        dataset: Sized | Count,
        num_repeats: Count = 3,
        shuffle: bool = True,
        *,
        seed: Whole = 0,
        rank: Whole = 0,
        world_size: Count = 1,
        batch_size: Count = 1,
        drop_last: bool = False,
    ) -> None:
        self.num_repeats = num_repeats
        super().__init__(
            dataset, shuffle, seed=seed, rank=rank, world_size=world_size, batch_size=batch_size, drop_last=drop_last
        )

    def _draw(self, rng: np.random.Generator, epoch: int) -> np.ndarray:
        return np.repeat(super()._draw(rng, epoch), self.num_repeats)

    def positions(self) -> np.ndarray:
        """Every world_size-th place of the global order, from the rank's own after `start` on, int64 (rest(start),)."""
        return np.arange(self.start + self.rank, self._end(self.start), self.world_size)


@SAMPLERS.register_module(name=['GivenIterationSampler', 'DistributedGivenIterationSampler'])
class GivenIterationSampler(EpochSampler):
    """An "epoch" of a given number of iterations: the dataset repeated to that length and shuffled once as a whole.

    Args:
        dataset: anything with a length, or the length N >= 1.
        total_iter: batches per epoch, >= 1.
        seed, rank, world_size, batch_size: see `EpochSampler`.
        drop_last: has no effect, all batches are full.
    """

    recuts = False  # all its samples are shuffled as one, and how many there are follows from the batch

    def __init__(
        self,
        dataset: Sized | Count,
        total_iter: Count,
        *,
        seed: Whole = 0,
        rank: Whole = 0,
        world_size: Count = 1,
        batch_size: Count = 1,
        drop_last: bool = False,
    ) -> None:
        self.total_iter = total_iter
        super().__init__(dataset, seed=seed, rank=rank, world_size=world_size, batch_size=batch_size)

    def _samples(self) -> int:
        return self.total_iter * self.global_batch

    def _draw(self, rng: np.random.Generator, epoch: int) -> np.ndarray:
        # Those that get one turn more are drawn too.
        return rng.permutation(np.resize(rng.permutation(self.size), self.samples))
