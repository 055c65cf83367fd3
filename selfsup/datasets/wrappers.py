"""Datasets made of datasets: several in a row, or one several times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from annotated_types import Len
from torch import Tensor
from torch.utils.data import Dataset

from ..arguments import Count, Part
from ..errors import ConfigError
from ..registry import DATASETS
from .base import one_each
from .cache import CacheSettings
from .decoding import Backend
from .robust import unreadable

Data = Annotated[dict | object, Part(DATASETS)]


def build_dataset(dataset: Data, prefetch: bool) -> Any:
    """The dataset that a dict describes, read with `prefetch` where the dict says nothing; a dataset is returned as it is."""
    if not isinstance(dataset, dict):
        return dataset
    return DATASETS.build({'prefetch': True, **dataset} if prefetch else dataset)


def parts_of(dataset: Any) -> list[Any]:
    """The data sets that one consists of, perhaps made of others; each once, itself where it is made of none."""
    if hasattr(dataset, 'data_source'):
        return [dataset]
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    parts = [part for one in inner if one is not None for part in parts_of(one)] or [dataset]
    return list({id(part): part for part in parts}.values())


def use_backend(dataset: Any, backend: Backend) -> None:
    """Tell a dataset, perhaps one made of others, how to decode images and compute steps; one that knows no backend stays as it is."""
    for part in parts_of(dataset):
        if hasattr(part, 'use_backend'):
            part.use_backend(backend)


def use_cache(dataset: Any, cache: CacheSettings, together: bool = False) -> None:
    """Let the images below a dataset, perhaps one made of others, come from a cache.

    Args:
        dataset: after `use_backend`, as the backend decodes what is stored.
        cache: size and place.
        together: all processes of the group call, see `cache.cached`.

    Raises:
        ConfigError: a dataset or a data source that knows no cache.
        DataError: the cache does not fit, or cannot be built.
    """
    for part in parts_of(dataset):
        if not hasattr(part, 'use_cache'):
            raise ConfigError(
                f'{type(part).__name__} cannot be cached: derive it from selfsup.datasets.ImageDataset, or leave out cache.'
            )
        part.use_cache(cache, together)


def view_channels(dataset: Any) -> int | None:
    """Channels of the views of a dataset, perhaps one made of others; None where it does not tell, or where they differ."""
    made = {getattr(part, 'channels', None) for part in parts_of(dataset)}
    return made.pop() if len(made) == 1 else None


@DATASETS.register_module()
class ConcatDataset(Dataset):
    """Datasets of one kind in a row.

    Sample: as theirs; `idx` counts through all of them.

    Args:
        datasets: list of dicts or datasets, all of one type.
        prefetch: for those given as dicts, see `ImageDataset`.

    Raises:
        ConfigError: they are of several types, or they differ in `prefetch`.
    """

    def __init__(self, datasets: Annotated[Sequence[Data], Len(1)], prefetch: bool = False) -> None:
        self.datasets = [build_dataset(dataset, prefetch) for dataset in datasets]
        kinds = sorted({type(dataset).__name__ for dataset in self.datasets})
        if len(kinds) > 1 or len({bool(dataset.prefetch) for dataset in self.datasets}) > 1:
            raise ConfigError(
                f'ConcatDataset holds {" and ".join(kinds)}, with prefetch={[d.prefetch for d in self.datasets]}: '
                'one type and one prefetch are needed.'
            )
        self.prefetch = bool(self.datasets[0].prefetch)
        self.ragged = getattr(self.datasets[0], 'ragged', ())
        self.starts = np.cumsum([0, *(len(dataset) for dataset in self.datasets)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def labels(self) -> np.ndarray | None:
        """int64 (N,) classes of all samples; None where one dataset has none."""
        labels = [dataset.labels for dataset in self.datasets]
        return None if any(part is None for part in labels) else np.concatenate(labels)

    @property
    def num_classes(self) -> int | None:
        """Number of classes; None where one dataset has no labels."""
        numbers = [dataset.num_classes for dataset in self.datasets]
        return None if None in numbers else max(numbers)

    def __getitem__(self, index: int) -> dict[str, Tensor | int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = int(np.searchsorted(self.starts, index, side='right')) - 1
        sample = self.datasets[part][index - int(self.starts[part])]
        return {**sample, 'idx': sample['idx'] + int(self.starts[part])} if 'idx' in sample else sample

    def assign_labels(self, labels: Tensor | np.ndarray | Sequence[int]) -> None:
        """Pseudo labels (N,) for all samples, in their order; see `DeepClusterDataset`."""
        labels = one_each(self, labels)
        for dataset, start in zip(self.datasets, self.starts[:-1].tolist(), strict=True):
            dataset.assign_labels(labels[start : start + len(dataset)])

    def evaluate(self, scores: Tensor, keyword: str, **kwargs: Any) -> dict[str, float]:
        """Means of what the datasets give for their rows of `scores` (N, K), weighted by the images that each can read."""
        totals: dict[str, float] = {}
        readable = [len(dataset) - len(unreadable(dataset)) for dataset in self.datasets]
        for dataset, start, count in zip(self.datasets, self.starts[:-1].tolist(), readable, strict=True):
            for key, value in dataset.evaluate(scores[start : start + len(dataset)], keyword, **kwargs).items():
                totals[key] = totals.get(key, 0.0) + value * count / sum(readable)
        return totals


@DATASETS.register_module()
class RepeatDataset(Dataset):
    """A dataset several times in an epoch, with other views each time: longer epochs for small sets.

    Sample: as the dataset's; `idx` is the number in it, so a memory bank has one entry per image.

    Args:
        dataset: dict or dataset.
        times: >= 1.
        prefetch: for a dict, see `ImageDataset`.
    """

    def __init__(self, dataset: Data, times: Count, prefetch: bool = False) -> None:
        self.dataset, self.times = build_dataset(dataset, prefetch), times
        self.prefetch = bool(self.dataset.prefetch)
        self.ragged = getattr(self.dataset, 'ragged', ())

    def __len__(self) -> int:
        return len(self.dataset) * self.times

    @property
    def labels(self) -> np.ndarray | None:
        """int64 (N * times,) classes of all samples, or None."""
        return None if self.dataset.labels is None else np.tile(self.dataset.labels, self.times)

    @property
    def num_classes(self) -> int | None:
        """Number of classes; None without labels."""
        return self.dataset.num_classes

    def __getitem__(self, index: int) -> dict[str, Tensor | int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.dataset[index % len(self.dataset)]

    def assign_labels(self, labels: Tensor | np.ndarray | Sequence[int]) -> None:
        """Pseudo labels for the images of the repeated dataset, one each; see `DeepClusterDataset`."""
        self.dataset.assign_labels(labels)
