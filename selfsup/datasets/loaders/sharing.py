"""What the device takes over from the pipelines of a data set: normalisation, steps, and the images themselves."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ... import distributed as dist
from ...errors import ConfigError, DataError
from ...machine import free_memory
from ..base import ImageDataset, as_uint8
from ..cache.progress import Progress
from ..pipelines.forms.batch import DeviceShare, StoredImages
from ..wrappers import parts_of

UNIT_RANGE = ([0.0], [1.0])  # mean and std that leave images in [0, 1]
CHANNELS = 3
MEMORY_SHARE = 0.8  # of what is free: the model and its batches need the rest
BATCH = 64  # images that a worker reads at once


def statistics(dataset: Any, img_norm_cfg: dict | None) -> tuple[list[float], list[float]]:
    """Mean and std of a loader with prefetch: those of the Normalize at the end of the pipelines, or `img_norm_cfg`.

    Args:
        dataset: built with prefetch.
        img_norm_cfg: dict(mean, std), or None.

    Raises:
        ConfigError: they differ, or nobody gives any.
    """
    named: dict[str, tuple[list[float], list[float]]] = {}
    floats = False  # a pipeline makes floats, so that it says all that is to be done
    for name, last in _last_steps(dataset):
        floats = floats or bool(last)
        if len(last) > 1:
            named[f'Normalize of {name}'] = _numbers(last[1].mean), _numbers(last[1].std)
    if img_norm_cfg is not None:
        if set(img_norm_cfg) != {'mean', 'std'}:
            raise ConfigError(f'prefetch needs img_norm_cfg=dict(mean=[...], std=[...]); got {img_norm_cfg!r}.')
        named['img_norm_cfg'] = _numbers(img_norm_cfg['mean']), _numbers(img_norm_cfg['std'])
    if not named and floats:
        return UNIT_RANGE
    if not named:
        raise ConfigError(
            'prefetch=True needs img_norm_cfg=dict(mean=[...], std=[...]); got None, and no pipeline ends in Normalize.'
        )
    (first, values), *others = named.items()
    for name, different in others:
        if different != values:
            raise ConfigError(
                f'{first} (mean={values[0]}, std={values[1]}) and {name} (mean={different[0]}, std={different[1]}) contradict each other: '
                'with prefetch the loader normalises all images alike. Keep one of them.'
            )
    return values


def _last_steps(dataset: Any) -> Iterator[tuple[str, list]]:
    for part in parts_of(dataset):
        for name, pipeline in getattr(part, 'pipelines', {}).items():
            yield name, getattr(pipeline, 'to_floats', [])


def _numbers(values: Any) -> list[float]:
    return [float(value) for value in (values if isinstance(values, (list, tuple, Tensor)) else [values])]


def share_steps(dataset: Any, workers: int, device: torch.device, images: bool) -> DeviceShare:
    """Divide the pipelines of a data set between its workers and the device.

    Args:
        dataset: built with prefetch, its backend chosen; from now on its samples hold `draws`.
        workers: processes that read the images, where they go to the device; 0: this one reads.
        device: what runs the steps.
        images: read all images now, and keep them on the device.

    Returns:
        What the device does with a batch.

    Raises:
        ConfigError: a data set that does not take its views from `ImageDataset.sample`, or a step that cannot run there.
        DataError: with `images`: they differ in size, or do not fit into the memory of the device.
    """
    parts = parts_of(dataset)
    share = DeviceShare()
    if not images:
        for part in parts:
            if isinstance(part, ImageDataset):
                part.share_with(share)
        return share
    stored: list[Tensor] = []
    first = 0
    for part in parts:
        if not isinstance(part, ImageDataset):
            raise ConfigError(
                f'{type(part).__name__} is no ImageDataset, so that prefetch=dict(images_on_device=True) cannot read it. '
                'Leave images_on_device out.'
            )
        pixels, labels, taken = read_all(part, workers, device, stored[0].shape[1:] if stored else None)
        stored.append(pixels)
        part.share_with(share, StoredImages(first, tuple(pixels.shape[1:]), labels, taken))
        first += len(pixels)
    share.stored = stored[0] if len(stored) == 1 else torch.cat(stored)
    return share


class _Images(Dataset):
    """Images of a data set as uint8 tensors (C, H, W), with their labels and the numbers of the samples that they are."""

    def __init__(self, dataset: ImageDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, Any, int] | Exception:
        try:
            image, label, taken = self.dataset.read(index)
            return image if isinstance(image, Tensor) else as_uint8(image), label, taken
        except DataError as error:  # a worker's traceback would hide it
            return error


def read_all(
    dataset: ImageDataset, workers: int, device: torch.device, shape: torch.Size | None
) -> tuple[Tensor, list[Any], np.ndarray]:
    """All images of a data set on the device.

    Args:
        dataset: what reads them; an unreadable image is replaced and named as anywhere.
        workers: processes that read.
        device: where they go.
        shape: (C, H, W) that they must have; None: that of the first.

    Returns:
        uint8 (N, C, H, W) on the device, labels, and the numbers (N,) of the samples that they are.

    Raises:
        DataError: they differ in size or type, or do not fit.
    """
    loader = DataLoader(_Images(dataset), batch_size=BATCH, num_workers=workers, collate_fn=list)
    pixels: Tensor | None = None
    labels: list[Any] = []
    taken = np.zeros(len(dataset), dtype=np.int64)
    progress = Progress('images for the device', len(dataset)) if dist.is_main() else None
    for samples in loader:
        for sample in samples:
            if isinstance(sample, Exception):
                raise sample
            image, label, number = sample
            if image.dtype != torch.uint8 or len(image) != CHANNELS:
                raise DataError(
                    f'{dataset.reader.describe(number)} has {len(image)} channels of {image.dtype}: '
                    'prefetch=dict(images_on_device=True) is for 8-bit RGB. Leave images_on_device out.'
                )
            if shape is not None and image.shape != shape:
                raise DataError(
                    f'{dataset.reader.describe(number)} has {_words(image.shape)}, the images before have {_words(shape)}: '
                    'prefetch=dict(images_on_device=True) needs images of one size. Leave images_on_device out.'
                )
            shape = image.shape
            if pixels is None:
                check_memory(len(dataset) * image.numel(), device)
                pixels = torch.empty((len(dataset), *image.shape), dtype=torch.uint8)
            taken[len(labels)] = number
            pixels[len(labels)] = image
            labels.append(label)
        if progress is not None:
            progress.show(len(labels))
    if progress is not None:
        progress.end()
    assert pixels is not None  # a data set has samples
    logging.getLogger('selfsup').info(f'{len(pixels):,} images on {device}: {pixels.numel() / 2**20:,.0f} MB')
    return pixels.to(device), labels, taken


def _words(shape: torch.Size) -> str:
    return ' x '.join(map(str, shape)) + ' values'


def check_memory(needed: int, device: torch.device) -> None:
    """Compare the bytes of all images with what the device has free.

    Raises:
        DataError: they need more than `MEMORY_SHARE` of it.
    """
    free = _free_memory(device)
    if free is not None and needed > MEMORY_SHARE * free:
        raise DataError(
            f'All images take {needed / 2**30:,.1f} GB, and {device} has {free / 2**30:,.1f} GB free, of which they may take '
            f'{MEMORY_SHARE:.0%}: prefetch=dict(images_on_device=True) is for small sets. Leave images_on_device out.'
        )


def _free_memory(device: torch.device) -> int | None:
    """Bytes that are free; None where nobody says."""
    if device.type == 'cuda':
        return torch.cuda.mem_get_info(device)[0]
    return free_memory() if device.type == 'cpu' else None
