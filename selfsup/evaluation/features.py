"""One vector per image of a data set, in the order of the data set, from one or many processes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import distributed as dist
from ..datasets.loaders import DeviceLoader, build_loader
from ..datasets.robust import share_unreadable, unreadable
from ..errors import DataError
from ..heartbeat import awaiting
from ..prefetch import read_prefetch

# What an evaluation takes over from a loader section: which images, and how they are read.
READ = ('dataset', 'prefetch', 'img_norm_cfg', 'pipeline_backend', 'max_unreadable')


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Evaluation mode without gradients; on leaving, every module gets back the very mode it had.

    `model.train()` would not do: it also wakes modules that were frozen on purpose.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield model
    finally:
        for module, mode in modes:
            module.training = mode


def evaluation_loader(
    cfg: dict, *, batch_size: int, num_workers: int, device: torch.device, seed: int = 0
) -> DeviceLoader:
    """Loader that gives every sample once and in order, shared between the ranks; to be closed after use.

    Args:
        cfg: a loader section of the runner config; of it, those of `READ` are read.
        batch_size: images per process at once.
        num_workers: loader workers per process.
        device: where batches go.
        seed: of the data set's random numbers.
    """
    read = {key: cfg[key] for key in READ if key in cfg}
    read['prefetch'] = read_prefetch(read.get('prefetch')).on  # nothing is drawn here, and every image is read once
    if read['prefetch'] and isinstance(read['dataset'], dict):
        read['dataset'] = {**read['dataset'], 'prefetch': True}
    section = {
        **read,
        'batch_size': batch_size,
        'num_workers': num_workers,
        'sampler': {'type': 'EpochSampler', 'shuffle': False},
        'persistent_workers': False,
    }
    return build_loader(section, seed=seed, device=device, rank=dist.rank(), world_size=dist.world_size())


def extract_features(model: nn.Module, loader: Any, *, distributed: bool = True) -> tuple[Tensor, Tensor | None]:
    """Features and labels of a whole data set.

    Args:
        model: an algorithm; `model.features(img)` gives (B, D). A DDP wrapper is looked through.
        loader: yields batches (`img`, perhaps `gt_label`) on the model's device, every sample once, unshuffled; see
            `collect` for what is asked of it.
        distributed: the ranks share the work and all of them get everything; every rank must call. False: this process
            does all that its loader gives.

    Returns:
        features (N, D) float32 and labels (N,) int64, both on the CPU in the data set's order; labels None without `gt_label`.
        Images that cannot be read have no row, see `left_out`.

    Raises:
        DataError: the loader left samples out.
    """
    algorithm: Any = getattr(model, 'module', model)

    def forward(batch: dict) -> dict[str, Tensor]:
        rows = {'features': algorithm.features(batch['img']).float()}
        return {**rows, 'labels': batch['gt_label'].long()} if 'gt_label' in batch else rows

    with evaluating(algorithm):
        of_images = collect(forward, loader, distributed=distributed)
    rows = readable_rows(loader.dataset)
    return of_images['features'][rows], of_images['labels'][rows] if 'labels' in of_images else None


def left_out(dataset: Any) -> int:
    """How many images of a data set that `collect` went through cannot be read; rank 0 says so. The same on every rank.

    In the rows of `collect` a neighbour stands in for each of them; a measure must not count it.
    """
    count = len(unreadable(dataset))
    if count and dist.is_main():
        logging.getLogger('selfsup').warning(
            f'{count:,} of {len(dataset):,} images cannot be read: the evaluation leaves them out and '
            f'counts the other {len(dataset) - count:,}.'
        )
    return count


def readable_rows(dataset: Any) -> Tensor | slice:
    """Which rows of `collect` are to be counted: all, or the numbers (M,) of those that `left_out` does not count."""
    if not left_out(dataset):
        return slice(None)
    return torch.from_numpy(np.setdiff1d(np.arange(len(dataset)), unreadable(dataset)))


def collect(
    forward: Callable[[dict], dict[str, Tensor]],
    loader: Any,
    *,
    distributed: bool = True,
    main_only: bool = False,
    allocate: Callable[[str, tuple, torch.dtype], Tensor] | None = None,
) -> dict[str, Tensor]:
    """Run `forward` over a loader and put its rows into the order of the data set.

    The ranks' rows are gathered batch by batch, so that the device never holds more than one joined batch. Samples that
    the sampler repeated, to give every rank as many, are stored once, as they came first: the first draw of a
    random pipeline does not depend on the number of ranks, the others do.
    Afterwards every rank knows which images cannot be read, see `left_out`: their rows are those of a neighbour.

    Args:
        forward: batch -> dict of tensors (B, ...), the same keys and trailing shapes for every batch.
        loader: iterable of batches with `len(loader.dataset)` and a `loader.sampler` that, iterated, gives this rank's
            samples in the order of the batches, as `(epoch, index, repeat)` or plain indices; all ranks get equally many.
        distributed: see `extract_features`.
        main_only: the other ranks take part and get nothing: one copy in host memory instead of one per process.
        allocate: (key, shape, dtype) -> the tensor to fill, one on a memory-mapped file for example; None allocates in memory.

    Returns:
        key -> (N, ...) on the CPU.

    Raises:
        DataError: the loader left samples out, or too many cannot be read.
    """
    total = len(loader.dataset)
    order = sample_numbers(loader)
    several = distributed and dist.world_size() > 1
    stored: dict[str, Tensor] = {}
    seen = torch.zeros(total, dtype=torch.bool)
    done = 0
    for batch in loader:
        rows = forward(batch)
        first = next(iter(rows.values()))
        index = torch.tensor(order[done : done + len(first)], dtype=torch.int64, device=first.device)
        done += len(first)
        if several:
            with awaiting():
                index = dist.gather_no_grad(index)
                rows = {key: dist.gather_no_grad(value) for key, value in rows.items()}
        index = index.cpu()
        first_draw = index >= 0
        index = index[first_draw]
        seen[index] = True
        for key, value in rows.items() if dist.is_main() or not main_only else ():
            if key not in stored:
                shape = (total, *value.shape[1:])
                stored[key] = allocate(key, shape, value.dtype) if allocate else torch.empty(shape, dtype=value.dtype)
            stored[key][index] = value.cpu()[first_draw]
    if not bool(seen.all()):
        raise DataError(
            f'The loader gave {int(seen.sum())} of {total} samples; evaluation needs all of them: '
            'build it with shuffle=False and drop_last=False.'
        )
    if several:
        share_unreadable(loader.dataset)
    return stored


def sample_numbers(loader: Any) -> list[int]:
    """Sample of each row that this rank's loader gives, in order; -1 for one that the sampler repeats to fill up the ranks."""
    return [
        (sample[1] if sample[2] == 0 else -1) if isinstance(sample, tuple | list) else int(sample)
        for sample in loader.sampler
    ]
