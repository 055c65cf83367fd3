"""What all datasets share: a data source read robustly, and pipelines that end in tensors of one kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence, Sized
from functools import partial
from itertools import groupby
from operator import itemgetter
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
from .decoding import Backend, Decoder, in_unit_range
from .pipelines import Compose, Steps, build_view_pipeline, to_uint8
from .pipelines.channels import follow_channels
from .pipelines.forms import FastPipeline, Unfinished, as_array, planes, stack
from .pipelines.forms.batch import DeviceShare, HostShare, StoredImage, StoredImages
from .robust import UNREADABLE, RobustReader

Source = Annotated[dict | str | object, Part(DATA_SOURCES)]


class ImageDataset(Dataset):
    """Base of the task datasets: a subclass turns `self.read` and `self.view` into the sample dict of its task.

    Args:
        data_source: dict(type='ImageFolder', ...), an address such as 'folder:/photos', or an object with `__len__` and `get_sample`.
        prefetch: True: views are uint8 and the loader normalises them on the device; False: the pipelines do. With True, a ToTensor and
            a Normalize at the end of a pipeline are the loader's.
        pipelines: name of the argument -> list of steps.

    Attributes:
        channels: of the views, or None where the data source or a step does not tell.

    Raises:
        ConfigError: a pipeline that does not fit `prefetch` or the channels of the images, or something else than a data source.
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
        self._shares: dict[str, HostShare] = {}
        self._stored: StoredImages | None = None
        if not hasattr(self.data_source, 'get_sample'):
            raise ConfigError(f"A data source is written dict(type='ImageFolder', ...); got {data_source!r}.")
        if len(self.data_source) == 0:
            raise DataError(f'The data source {type(self.data_source).__name__} has no samples.')
        self.reader = RobustReader(self.data_source)
        self.channels = self.follow_channels()

    def follow_channels(self) -> int | None:
        """Channels of the views; None where nobody can tell, or where they differ.

        Raises:
            ConfigError: a step does not work on images of as many channels as the data source has.
        """
        given = source_channels(self.data_source)
        made = {follow_channels(steps.steps, given, name) for name, steps in self.pipelines.items()}
        return made.pop() if len(made) == 1 else None

    def __len__(self) -> int:
        return len(self.data_source)

    def use_backend(self, backend: Backend) -> None:
        """How images are decoded and steps computed from now on; the draws are the same. See `pipeline_backend` in docs/configs.md."""
        self.backend = backend
        self._fast = {name: FastPipeline(steps) for name, steps in self.pipelines.items()} if backend == 'fast' else {}
        if hasattr(self.data_source, 'use_backend'):
            self.data_source.use_backend(backend)

    def share_with(self, device: DeviceShare, stored: StoredImages | None = None) -> None:
        """Leave to the device what it can do of the pipelines of `sample`; the draws are the same.

        Args:
            device: what runs the steps there.
            stored: the images wait there: nothing is read any more, a sample holds draws alone.

        Raises:
            ConfigError: the images wait on the device, and a pipeline holds a step that runs in a worker.
        """
        self._stored = stored
        self._shares = {
            name: HostShare(steps, device, self.backend, name, resizing=stored is not None)
            for name, steps in self.pipelines.items()
        }

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
        if self._stored is not None:
            return self._stored.read(index)
        sample, taken = self.reader.read(index)
        image, label = sample if isinstance(sample, tuple) else (sample, None)
        try:
            return as_image(image, self.data_source), label, taken
        except ValueError as error:
            raise DataError(f'{self.reader.describe(taken)}: {error}.') from None

    def view(self, image: Image.Image, taken: int, pipeline: str = 'pipeline') -> Tensor:
        """One draw of a pipeline.

        Args:
            image: from `read`.
            taken: its number, for messages.
            pipeline: which one.

        Returns:
            (C, H, W), float; uint8 with prefetch, where the source gives 8 bits.

        Raises:
            DataError: a step refuses the image, or the pipeline ends in something else.
        """
        if isinstance(image, StoredImage):
            raise ConfigError(
                f'{type(self).__name__} makes more of an image than the device can: prefetch=dict(images_on_device=True) does not go with '
                'it. Leave images_on_device out.'
            )
        finish = as_uint8 if self.prefetch and not _deep(image) else as_float
        return self.run(lambda x: finish(self.steps(pipeline)(x)), image, taken)

    def sample(
        self, image: Any, taken: int, pipelines: str | Sequence[str] = 'pipeline', several_sizes: bool = False
    ) -> dict[str, Any]:
        """What a sample holds of its views. A dataset of one's own that takes its views from here has them made on the device too.

        Args:
            image: from `read`.
            taken: its number, for messages.
            pipelines: name of the pipeline of one view, or a list of names.
            several_sizes: whether views may differ in size.

        Returns:
            `img` (C, H, W), or (V, C, H, W) of several views, or a list of such tensors: views of one size that follow each other stand in
            one of them. Where the device makes the rest, `draws` too, float32 with P numbers in the place of C, H, W, for it; where the
            images wait there, `draws` alone.

        Raises:
            DataError: a step refuses the image, or the views differ in size.
        """
        if isinstance(pipelines, str):
            return self._parts(image, taken, pipelines)[1]
        views = [self._parts(image, taken, name, together=True) for name in pipelines]
        groups = [[parts for _, parts in same] for _, same in groupby(views, key=itemgetter(0))]
        if len(groups) > 1 and not several_sizes:
            self._same_size([shape for shape, _ in views], taken)
        stacked = [{key: stack([parts[key] for parts in group]) for key in group[0]} for group in groups]
        return stacked[0] if len(stacked) == 1 else {key: [group[key] for group in stacked] for key in stacked[0]}

    def _parts(self, image: Any, taken: int, pipeline: str, together: bool = False) -> tuple[tuple[int, ...], dict]:
        """Shape of one view, and what a sample holds of it: its pixels, draws for the device, or both.

        With `together`, pixels may be `Unfinished`, for `stack`.
        """
        fast = self._fast.get(pipeline)
        own_view = type(self).view is not ImageDataset.view
        if together and fast is not None and not self._shares and not self.prefetch and not own_view:
            view = self.run(lambda x: as_view(fast.begin(x)), image, taken)
            return tuple(view.shape), {'img': view}
        if not self._shares:
            view = self.view(image, taken, pipeline)
            return tuple(view.shape), {'img': view}
        share = self._shares[pipeline]
        if isinstance(image, StoredImage):
            channels, *size = image.shape
            row = self.run(lambda size: share.row(size, image.number), (size[0], size[1]), taken)
            return (channels, *share.size_after((size[0], size[1]))), {'draws': row}
        view, row = self.run(partial(share.view, finish=as_float if _deep(image) else as_uint8), image, taken)
        return tuple(view.shape), {'img': view, 'draws': row}

    def run(self, steps: Callable[[Any], Any], image: Any, taken: int) -> Any:
        """`steps(image)`; a DataError says which sample it met."""
        try:
            return steps(image)
        except DataError as error:
            raise DataError(f'{self.reader.describe(taken)}: {error}') from error.__cause__

    def views(self, image: Image.Image, taken: int, pipelines: Sequence[str]) -> Tensor:
        """(V, C, H, W): one view per named pipeline."""
        views = [self.view(image, taken, name) for name in pipelines]
        self._same_size([tuple(view.shape) for view in views], taken)
        return torch.stack(views)

    def _same_size(self, shapes: Sequence[tuple[int, ...]], taken: int) -> None:
        if len(set(shapes)) > 1:
            raise DataError(
                f'{self.reader.describe(taken)}: its views differ in size: {", ".join(map(str, sorted(set(shapes))))}. '
                'Give the pipelines a RandomResizedCrop or CenterCrop of one size.'
            )

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


def source_channels(source: Any) -> int | None:
    """Channels of the images of a data source, as it says in `channels`; None where it does not say."""
    channels = getattr(source, 'channels', None)
    return channels if isinstance(channels, int) else None


def as_image(image: Any, source: Any) -> Any:
    """An image as steps take it: an array (C, H, W) of a data source becomes a tensor, 8-bit RGB stays as it is.

    Raises:
        ValueError: floats of a source that states no range.
    """
    if not isinstance(image, np.ndarray):
        return image
    channels, value_range = (getattr(source, name, None) for name in ('channels', 'value_range'))
    if image.dtype == np.uint8 and image.shape[-1] == 3 and channels in (None, 3) and value_range is None:
        return image
    return torch.from_numpy(np.require(in_unit_range(image, value_range), requirements=['C', 'W']))


def open_like(path: str | os.PathLike, source: Mapping[str, Any]) -> Any:
    """The image in a file that the user named, as the dataset of a config reads its own; see `ImageDataset.read`.

    Args:
        path: the file.
        source: config of the data source, of which `channels`, `value_range` and `exif` count.

    Raises:
        DataError: it cannot be read as such an image.
    """
    decoder = Decoder(**{key: source[key] for key in ('channels', 'value_range', 'exif') if key in source})
    try:
        with open(path, 'rb') as file:
            return as_image(decoder(file.read(), lambda: str(path)), decoder)
    except UNREADABLE as error:
        raise DataError(f'{path} cannot be read as an image: {error}') from None


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


def _deep(image: Any) -> bool:
    """Whether an image has more than 8 bits, which it keeps with prefetch."""
    return isinstance(image, Tensor) and image.is_floating_point()


def as_view(view: Any) -> Tensor | Unfinished:
    """`as_float` of a view that need not be finished."""
    return view if isinstance(view, Unfinished) else as_float(view)


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
    """PIL image, uint8 array (H, W, 3) or uint8 tensor -> uint8 tensor (C, H, W)."""
    view = as_array(view)
    if isinstance(view, np.ndarray):
        return planes(view)
    if isinstance(view, Image.Image):
        return to_uint8(view)
    if not isinstance(view, Tensor) or view.dtype != torch.uint8:
        kind = view.dtype if isinstance(view, Tensor) else type(view).__name__
        raise DataError(
            f'with prefetch=True the pipeline must end in an 8-bit image, not in {kind}. Leave normalisation to the loader.'
        )
    return view
