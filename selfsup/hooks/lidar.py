"""LiDAR during a run: several views of some images, and the effective rank of what tells the images apart."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

import numpy as np
from annotated_types import Ge
from torch import Tensor
from torch.utils.data import Dataset

from ..arguments import Count, Part, Whole, held
from ..datasets.fixed_views import random_steps
from ..datasets.wrappers import build_dataset
from ..engine import Run, unwrap
from ..errors import ConfigError, DataError
from ..evaluation.effective_rank import lidar, lidar_name
from ..evaluation.features import collect, evaluating
from ..registry import DATASETS
from .evaluation_hook import EvaluationHook, ordered_loader


class LiDAR(TypedDict, total=False):
    """What `CollapseHook(lidar=...)` takes.

    Attributes:
        dataset: config of images with random views, such as an `ExtractDataset` with the pipeline of the run; needed.
        images: n, which lie evenly in the data set (1,000, as in the paper).
        views: q of each (50, as in the paper).
        interval: epochs between two measurements (10); the end of the run is always measured.
        imgs_per_gpu: views per process at once (256).
        workers_per_gpu: loader workers per process (0).
    """

    dataset: Annotated[dict, Part(DATASETS)]
    images: Annotated[int, Ge(2)]
    views: Annotated[int, Ge(2)]
    interval: Count
    imgs_per_gpu: Count
    workers_per_gpu: Whole


class SeveralViews(Dataset):
    """Some images of a data set, each several times in a row: with numbers of its own each time, so another view.

    Args:
        dataset: with random views.
        images: how many, evenly from the first to the last.
        views: of each.

    Raises:
        DataError: it has fewer images.
        ConfigError: its views are always the same.
    """

    def __init__(self, dataset: Any, images: int, views: int) -> None:
        if len(dataset) < images:
            raise DataError(
                f'CollapseHook lidar: the data set has {len(dataset)} images, fewer than images={images}: set it lower.'
            )
        if not random_steps(dataset):
            raise ConfigError(
                'CollapseHook lidar: the pipeline of its data set draws nothing at random, so all views of an image are equal. '
                'Give it that of data.train.'
            )
        self.dataset, self.views = dataset, views
        self.chosen = np.linspace(0, len(dataset) - 1, images).round().astype(int).tolist()
        self.prefetch = bool(getattr(dataset, 'prefetch', False))

    def __len__(self) -> int:
        return len(self.chosen) * self.views

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.dataset[self.chosen[index // self.views]]


@held
class LiDARMeasure(EvaluationHook):
    """Logs LiDAR of the average-pooled features of the backbone as `lidar_n{images}_q{views}`. A part of `CollapseHook`.

    Args:
        dataset, images, views, interval, imgs_per_gpu, workers_per_gpu: see `LiDAR`.

    Raises:
        ConfigError: no data set, or one whose samples hold several views or are always the same.
        DataError: it has fewer images.
    """

    def __init__(
        self,
        dataset: dict | None = None,
        images: Annotated[int, Ge(2)] = 1000,
        views: Annotated[int, Ge(2)] = 50,
        interval: Count = 10,
        imgs_per_gpu: Count = 256,
        workers_per_gpu: Whole = 0,
    ) -> None:
        super().__init__(interval, initial=False)
        if dataset is None:
            raise ConfigError(
                "CollapseHook lidar needs a dataset with random views: lidar=dict(dataset=dict(type='ExtractDataset', data_source=..., "
                'pipeline=...)).'
            )
        self.dataset, self.images, self.views = dataset, images, views
        self.loading = (imgs_per_gpu, workers_per_gpu)

    def check(self, runner: Run) -> None:
        self._several()

    def evaluate(self, runner: Run) -> dict[str, float]:
        algorithm: Any = unwrap(runner.model)

        def forward(batch: dict) -> dict[str, Tensor]:
            return {'features': algorithm.features(batch['img']).float()}

        with ordered_loader(runner, self._several(), *self.loading) as loader, evaluating(algorithm):
            # An image that cannot be read is another one instead: it has as many views.
            features = collect(forward, loader)['features']
        value = lidar(features.to(runner.device).unflatten(0, (self.images, self.views)))
        return {lidar_name(self.images, self.views): value}

    def _several(self) -> Any:
        return SeveralViews(build_dataset(self.dataset, prefetch=False), self.images, self.views)
