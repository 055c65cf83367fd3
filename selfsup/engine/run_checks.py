"""What can be checked only when model, data and the number of processes are known: before the first step, not after an epoch."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import torch
from torch import nn

from ..contracts import ChecksChannels, ChecksData, ChecksNormalization, KeepsAnswers
from ..datasets.fixed_views import describe_views, normalizations
from ..datasets.loaders.shared_memory import check_room
from ..datasets.wrappers import view_channels
from ..distributed import gather_objects, world_size
from ..errors import ConfigError


def check_run(model: nn.Module, loader: Any, max_iters: int) -> None:
    """Refuse a run whose data do not fit its method, its batch size or the machine. A collective.

    Args:
        model: an `Algorithm`, not wrapped; another module is asked nothing.
        loader: `DeviceLoader` of the training images.
        max_iters: length of the run in micro-batches.

    Raises:
        SelfSupError: a batch would hold too few images, a setting of the method does not fit the images, their channels or their classes,
            or the loader workers of this machine need more shared memory than there is.
    """
    sizes = batch_sizes(loader, max_iters)
    if isinstance(model, ChecksChannels):
        model.check_channels(view_channels(loader.dataset))
    if isinstance(model, ChecksNormalization):
        on_device = getattr(loader, 'normalize', None)
        model.check_normalization(
            [(on_device.mean.flatten().tolist(), on_device.std.flatten().tolist())]
            if on_device is not None
            else normalizations(loader.dataset)
        )
    if isinstance(model, KeepsAnswers):
        model.use_views(lambda: describe_views(loader.dataset, number_of_images(loader.dataset)))
    if isinstance(model, ChecksData):
        model.check_classes(getattr(loader.dataset, 'num_classes', None))
        model.check_data(number_of_images(loader.dataset), [size * world_size() for size in sizes])
        if 1 in sizes and not trains_on_one(model, loader):
            raise ConfigError(_lonely_message(type(model).__name__, loader, sizes))
    check_shared_memory(loader)


def check_rest(model: nn.Module, loader: Any, start: int) -> None:
    """Refuse an epoch that goes on after `start` samples if its last batch does not fit the method. A collective.

    Raises:
        SelfSupError: as `check_run`.
    """
    size = loader.sampler.rest(start) % loader.batch_size if hasattr(loader.sampler, 'rest') else 0
    if not size or size == len(loader.sampler) % loader.batch_size or not isinstance(model, ChecksData):
        return
    model.check_data(number_of_images(loader.dataset), [loader.batch_size * world_size(), size * world_size()])
    if size == 1 and not trains_on_one(model, loader):
        raise ConfigError(
            f'The last batch of the epoch that goes on would hold one image per process ({loader.sampler.rest(start)} are left for each '
            f'of {world_size()}, data.imgs_per_gpu={loader.batch_size}), and {type(model).__name__} cannot train on that: a batch norm '
            'would see one value per channel. Go on with another number of processes or another data.imgs_per_gpu.'
        )


def batch_sizes(loader: Any, max_iters: int) -> list[int]:
    """Different numbers of images per process that the batches of a run hold: the full one first, then that of an epoch's last batch.

    All processes have batches of the same sizes. A run that ends before its first epoch does may not come to the last batch.
    """
    full, samples = loader.batch_size, len(loader.sampler)
    sizes = [full] if samples >= full else []
    if samples % full and max_iters >= len(loader):
        sizes.append(samples % full)
    return sizes


def number_of_images(dataset: Any) -> int:
    """Images that `idx` counts: a data set that repeats another has those of the other."""
    return len(dataset) // getattr(dataset, 'times', 1)


def trains_on_one(model: Any, loader: Any) -> bool:
    """Whether the model can be trained on a batch of one image per process: torch refuses a batch norm that sees one value per channel.

    This is found by trying: the shapes that reach a norm follow from the method (how many views it joins), the network and the size of the
    images (a map may end as one position). Statistics and random numbers are as before. Called by all ranks.
    """
    batch = loader.peek(1)
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    training, devices = model.training, [loader.device] if loader.device.type == 'cuda' else []
    model.train()
    try:
        # Other errors are raised again at the first step, where they always came.
        with torch.no_grad(), torch.random.fork_rng(devices), contextlib.suppress(Exception):
            try:
                model.trial(batch)
            except ValueError as error:
                return 'more than 1 value per channel' not in str(error)
    finally:
        model.train(training)
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
    return True


def _lonely_message(method: str, loader: Any, sizes: list[int]) -> str:
    samples, full = len(loader.sampler), loader.batch_size
    images = f'{len(loader.dataset)} images' + (f' on {world_size()} processes' if world_size() > 1 else '')
    reason = f'{method} cannot train on that: a batch norm would see one value per channel'
    if full == 1 or samples == 1:
        what, remedy = (
            ('data.imgs_per_gpu=1', 'Set data.imgs_per_gpu to 2 or more') if full == 1 else (images, 'Give more images')
        )
        return f'The batches hold one image per process ({what}), and {reason}. {remedy}.'
    near = [
        size for step in range(1, samples) for size in (full - step, full + step) if size > 1 and samples % size != 1
    ]
    return (
        f'The last of the {len(loader)} batches of an epoch would hold one image per process ({images}, data.imgs_per_gpu={full}), '
        f'and {reason}. Set data.drop_last=True' + (f', or data.imgs_per_gpu={near[0]}.' if near else '.')
    )


def check_shared_memory(loader: Any) -> None:
    """Refuse loader workers that need more shared memory than the machine has free. A collective: processes of a machine share it.

    Raises:
        DataError: see `datasets.loaders.shared_memory.check_room`.
    """
    host = socket.gethostname()
    needs = [need for name, need in gather_objects((host, loader.shared_memory_needed())) if name == host]
    if any(needs):
        check_room(sum(needs), loader, processes=len(needs))
