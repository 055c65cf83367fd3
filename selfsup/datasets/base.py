"""What all datasets share: a data source read robustly, and pipelines that end in tensors of one kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from typing import Annotated, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ..arguments import Part
from ..errors import ConfigError, DataError
from ..registry import DATA_SOURCES
from .cache import CacheSettings, cached
from .decoding import Backend, in_unit_range
from .pipelines import Compose, Steps, build_view_pipeline, to_uint8
from .pipelines.forms import FastPipeline, as_pil
from .robust import RobustReader

Source = Annotated[dict | str | object, Part(DATA_SOURCES)]


class ImageDataset(Dataset):
    """Base of the task datasets: a subclass turns `self.read` and `self.view` into the sample dict of its task.

    Args:
        data_source: dict(type='ImageFolder', ...), an address such as 'folder:/photos', or an object with `__len__` and `get_sample`.
        prefetch: True: views are uint8 and the loader normalises them on the device; False: the pipelines do.
        pipelines: name of the argument -> list of steps.

    Raises:
        ConfigError: a pipeline that does not fit `prefetch`, or something else than a data source.
        DataError: the data source has no samples.
    """

    def __init__(self, data_source: Source, prefetch: bool = False, **pipelines: Steps) -> None:
        self.pipelines = {name: build_view_pipeline(steps, name, prefetch) for name, steps in pipelines.items()}
        self.data_source: Any = data_source
        if isinstance(data_source, dict | str):
            self.data_source = DATA_SOURCES.build(data_source)
        self.prefetch = prefetch
        self.backend: Backend = 'reference'
        self._fast: dict[str, FastPipeline] = {}
        if not hasattr(self.data_source, 'get_sample'):
            raise ConfigError(f"A data source is written dict(type='ImageFolder', ...); got {data_source!r}.")
        if len(self.data_source) == 0:
            raise DataError(f'The data source {type(self.data_source).__name__} has no samples.')
        self.reader = RobustReader(self.data_source)

    def __len__(self) -> int:
        return len(self.data_source)

    def use_backend(self, backend: Backend) -> None:
        """How images are decoded and steps computed from now on; the draws are the same. See `pipeline_backend` in docs/configs.md."""
        self.backend = backend
        self._fast = {name: FastPipeline(steps) for name, steps in self.pipelines.items()} if backend == 'fast' else {}
        if hasattr(self.data_source, 'use_backend'):
            self.data_source.use_backend(backend)

    def use_cache(self, cache: CacheSettings, together: bool = False) -> None:
        """Take the images from a cache from now on; see `cached`."""
        self.data_source = cached(self.data_source, cache, self.backend, together)
        self.reader.source = self.data_source

    def steps(self, pipeline: str) -> Compose:
        """The pipeline of that name, as the backend computes it."""
        return self._fast.get(pipeline) or self.pipelines[pipeline]

    @property
    def labels(self) -> np.ndarray | None:
        """int64 (N,) classes of all samples, or None."""
        return getattr(self.data_source, 'labels', None)

    @property
    def num_classes(self) -> int | None:
        """Number of classes of the images, or of the objects in them; None without labels."""
        return getattr(self.data_source, 'num_classes', None)

    def read(self, index: int) -> tuple[Any, Any, int]:
        """Image, its label or None (in detection, its objects), and the number of the sample: a neighbour's when `index` is unreadable.

        The image is 8-bit RGB, a PIL image or an array (H, W, 3); or, of a source with other channels or a value range, a tensor (C, H, W),
        uint8 or float32 in [0, 1].

        Raises:
            DataError: see `RobustReader.read`; floats come from a source that states no range.
        """
        sample, taken = self.reader.read(index)
        image, label = sample if isinstance(sample, tuple) else (sample, None)
        return (self._as_tensor(image, taken) if isinstance(image, np.ndarray) else image), label, taken

    def _as_tensor(self, image: np.ndarray, taken: int) -> np.ndarray | Tensor:
        """A tensor (C, H, W) of an array of that shape; 8-bit RGB stays as it is."""
        channels, value_range = (getattr(self.data_source, name, None) for name in ('channels', 'value_range'))
        if image.dtype == np.uint8 and image.shape[-1] == 3 and channels in (None, 3) and value_range is None:
            return image
        try:
            return torch.from_numpy(np.require(in_unit_range(image, value_range), requirements=['C', 'W']))
        except ValueError as error:
            raise DataError(f'{self.reader.describe(taken)}: {error}.') from None

    def view(self, image: Image.Image, taken: int, pipeline: str = 'pipeline') -> Tensor:
        """One draw of a pipeline.

        Args:
            image: from `read`.
            taken: its number, for messages.
            pipeline: which one.

        Returns:
            (C, H, W), float; uint8 with prefetch.

        Raises:
            DataError: a step refuses the image, or the pipeline ends in something else.
        """
        finish = as_uint8 if self.prefetch else as_float
        return self.run(lambda x: finish(self.steps(pipeline)(x)), image, taken)

    def run(self, steps: Callable[[Any], Any], image: Any, taken: int) -> Any:
        """`steps(image)`; a DataError says which sample it met."""
        try:
            return steps(image)
        except DataError as error:
            raise DataError(f'{self.reader.describe(taken)}: {error}') from error.__cause__

    def views(self, image: Image.Image, taken: int, pipelines: Sequence[str]) -> Tensor:
        """(V, C, H, W): one view per named pipeline."""
        views = [self.view(image, taken, name) for name in pipelines]
        shapes = {tuple(v.shape) for v in views}
        if len(shapes) > 1:
            raise DataError(
                f'{self.reader.describe(taken)}: its views differ in size: {", ".join(map(str, sorted(shapes)))}. '
                'Give the pipelines a RandomResizedCrop or CenterCrop of one size.'
            )
        return torch.stack(views)

    def needs_labels(self) -> None:
        """Raise a ConfigError when the data source hands out no labels."""
        if self.labels is None:
            reason = getattr(self.data_source, 'no_labels', '')
            raise ConfigError(
                f'{type(self).__name__} needs labels, but {type(self.data_source).__name__} has none here'
                + (
                    f': {reason}'
                    if reason
                    else ". Use a list with 'path label' lines or a folder with one subfolder per class."
                )
            )
        if not getattr(self.data_source, 'return_label', True):
            raise ConfigError(f'{type(self).__name__} needs labels: set data_source.return_label=True.')


def one_each(dataset: Sized, labels: Tensor | np.ndarray | Sequence[int]) -> Tensor:
    """Pseudo labels (N,) as a tensor, one for each sample.

    Raises:
        DataError: another number of labels than of samples.
    """
    labels = torch.as_tensor(labels)
    if tuple(labels.shape) != (len(dataset),):
        raise DataError(
            f'{type(dataset).__name__} has {len(dataset)} samples; assign_labels got labels of shape {tuple(labels.shape)}: '
            'the data set that was clustered must be the one that is trained on.'
        )
    return labels


def as_float(view: Any) -> Tensor:
    """The view itself when it is a float tensor (C, H, W), else a DataError."""
    if not isinstance(view, Tensor):
        raise DataError(
            f"the pipeline ends in {type(view).__name__}, not in a tensor. End it with dict(type='ToTensor')."
        )
    if not view.is_floating_point():
        raise DataError(
            f"the pipeline ends in {view.dtype}, not in floats. End it with dict(type='ToTensor'), or set prefetch=True."
        )
    return view


def as_uint8(view: Any) -> Tensor:
    """PIL image or uint8 tensor -> uint8 tensor (C, H, W)."""
    view = as_pil(view)
    if isinstance(view, Image.Image):
        return to_uint8(view)
    if not isinstance(view, Tensor) or view.dtype != torch.uint8:
        kind = view.dtype if isinstance(view, Tensor) else type(view).__name__
        raise DataError(
            f'with prefetch=True the pipeline must end in an 8-bit image, not in {kind}. Leave normalisation to the loader.'
        )
    return view
