"""Samples drawn with random numbers of their own, and batches made of them.

Every sample is drawn with numbers that follow from (run seed, epoch, sample, repeat) alone; so the number of loader
workers, of ranks, or of restarts cannot change a view.
"""

from __future__ import annotations

import random
from collections.abc import Sequence, Sized
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate, get_worker_info

from ...errors import DataError, SelfSupError
from .samplers import Draw


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
        return len(cast(Sized, self.dataset))

    def __getitem__(self, draw: Draw | tuple[int, int, int]) -> Any:
        """Sample of `Draw(epoch, index, repeat)`; in a worker a `Failure` instead of a SelfSupError."""
        return self.__getitems__([draw])[0]

    def __getitems__(self, draws: Sequence[tuple[int, int, int]]) -> list:
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


def images_in(batch: dict[str, Any]) -> int:
    """Images of a batch, whatever the form of `img`: one tensor, one per size of views, or one per image (detection)."""
    img = batch['img']
    return len(img[0]) if _in_groups(img) else len(img)


def first_image(batch: dict[str, Any]) -> Tensor | list[Tensor]:
    """What `img` holds of the first image of a batch: (C, H, W), its views (V, C, H, W), or a list of such groups of views."""
    img = batch['img']
    return [group[0] for group in img] if _in_groups(img) else img[0]


def _in_groups(img: Tensor | list[Tensor]) -> bool:
    """True for views of several sizes, tensors (B, V, C, H, W); the list of a ragged batch holds a tensor (C, H, W) per image."""
    return isinstance(img, list) and img[0].dim() == 5


def shapes_of(img: Any) -> str:
    """Shape of a tensor, or of the groups of views in a list."""
    return ' and '.join(str(tuple(group.shape)) for group in (img if isinstance(img, list) else [img]))


def collate(samples: list, ragged: tuple[str, ...] = ()) -> Any:
    """Sample dicts -> batch dict; a `Failure` among them, or samples that do not fit together, give a `Failure`.

    Views of several sizes, a list of tensors (V, C, H, W) in a sample, become a list of tensors (B, V, C, H, W).

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
        shapes = sorted({shapes_of(s['img']) for s in samples if isinstance(s, dict) and 'img' in s})
        if len(shapes) < 2:
            raise
        return Failure(
            DataError(
                f'The images of a batch differ in size: {", ".join(shapes[:5])}. '
                'End the pipeline with a RandomResizedCrop or CenterCrop, or read with batch_size=1.'
            )
        )
