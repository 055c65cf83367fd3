"""The order of an epoch for images that are read much faster block by block than here and there: tar shards, row groups, streams."""

from __future__ import annotations

import logging
from collections.abc import Sized
from typing import Any

import numpy as np

from ... import distributed as dist
from ...arguments import Count, Whole
from ...errors import ConfigError
from ...registry import SAMPLERS
from ..digest import sources_below
from ..robust import readers
from .samplers import EpochSampler

WINDOW = 16  # blocks
# Of what is stored in no blocks, beside a source that is: so many images count as one.
PLAIN_BLOCK = 1000


def blocks_of(dataset: Any) -> np.ndarray | None:
    """Numbers of the first sample of each block of a data set, perhaps one made of others; None where no source below has blocks."""
    return _of_sources(dataset, 'blocks')


def locality_of(dataset: Any) -> np.ndarray | None:
    """The same of a data set with a source that is slow at anything but blocks; None where none is."""
    return _of_sources(dataset, 'locality')


def keeps_order(dataset: Any) -> bool:
    """Whether a source below a data set can be read in the order of its blocks alone."""
    return any(getattr(source, 'in_order', False) for source in sources_below(dataset))


def _of_sources(dataset: Any, name: str) -> np.ndarray | None:
    if hasattr(dataset, 'datasets'):
        parts = list(dataset.datasets)
        found = [_of_sources(part, name) for part in parts]
        return None if all(starts is None for starts in found) else _joined(parts, found)
    if hasattr(dataset, 'data_source'):
        return getattr(dataset.data_source, name, None)
    inner = getattr(dataset, 'dataset', None)
    if inner is None or not len(inner):
        return getattr(dataset, name, None)
    starts = _of_sources(inner, name)
    times = len(dataset) // len(inner)
    return None if starts is None else _joined([inner] * times, [starts] * times)


def _joined(parts: list[Any], found: list[np.ndarray | None]) -> np.ndarray:
    """Blocks of data sets in a row."""
    firsts, first = [], 0
    for part, starts in zip(parts, found, strict=True):
        firsts.append(first + (np.arange(0, len(part), PLAIN_BLOCK) if starts is None else np.asarray(starts)))
        first += len(part)
    return np.concatenate(firsts).astype(np.int64)


def sampler_for(cfg: dict[str, Any], dataset: Any) -> dict[str, Any]:
    """The sampler of a config; in place of a plain shuffle, `WindowSampler` where the data set likes to be read block by block.

    Args:
        cfg: of the sampler, with its type.
        dataset: whose order it says.
    """
    if cfg['type'] == 'WindowSampler':
        return {'window': WINDOW, **cfg}
    plain = cfg['type'] == 'EpochSampler' and cfg.get('shuffle', True) and not cfg.get('replace', False)
    if not plain or locality_of(dataset) is None:
        return cfg
    return {'window': WINDOW, 'type': 'WindowSampler'}


def say_order(sampler: EpochSampler, dataset: Any) -> None:
    """Log that images are shuffled by blocks, and where the sources of a data set keep too few of them at hand (`blocks_kept`)."""
    if isinstance(sampler, WindowSampler) and dist.is_main():
        for reader, _ in readers(dataset):
            kept = getattr(reader.source, 'blocks_kept', None)
            if kept is not None and kept < sampler.window:
                logging.getLogger('selfsup').warning(
                    f'cache_bytes of {type(reader.source).__name__} holds about {kept} of the {sampler.window} blocks that are read at a '
                    'time: they will be fetched again and again. Raise it, or lower the window of the sampler.'
                )
        blocks = len(sampler.starts)
        logging.getLogger('selfsup').info(
            f'{sampler.size:,} images are read block by block: their {blocks:,} blocks '
            f'{"come in their order" if sampler.in_order else "are shuffled"}, and the images of '
            f"{min(sampler.window, blocks)} blocks at a time. data.sampler=dict(type='WindowSampler', window={sampler.window}) says "
            'the same; another window is set there.'
        )


@SAMPLERS.register_module()
class WindowSampler(EpochSampler):
    """Blocks in random order, and random order of the images within a window of blocks; so only a few blocks are read at once.

    An epoch shuffles the blocks, takes `window` of them after the other, and shuffles the images of those. As in `EpochSampler` there is
    one order for all ranks, which follows from (seed, epoch) alone. In each global batch the images stand in the order of their blocks:
    the batch holds the same images for any number of ranks, and rank r of R finds its own in about window / R of the blocks, the same
    ones for the whole window; so machines that fetch shards each fetch a part of them.

    How well it shuffles: two images of different blocks meet in a window with probability (window - 1) / (blocks - 1), in a full shuffle
    always. Where the images of a block are alike (of one class, say), batches hold at most `window` kinds, and one rank's share of a
    batch fewer still: write shards in random order, as tools/make_shards.py does. With a window of all blocks it is a full shuffle but
    for the order within a batch.

    Of a stream (`in_order`) the blocks come in their order, and windows of them are shuffled alone.

    Args:
        dataset: made of sources with `blocks`.
        window: blocks whose images are shuffled together, >= 1.
        seed, rank, world_size, batch_size, drop_last: see `EpochSampler`.

    Raises:
        ConfigError: the images are stored in no blocks.
    """

    def __init__(
        self,
        dataset: Sized,
        window: Count = WINDOW,
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
        starts = blocks_of(dataset)
        if starts is None:
            raise ConfigError(
                f'WindowSampler reads blocks of images, but {type(dataset).__name__} has none here: use EpochSampler, or a source '
                'that is stored in blocks, such as WebDataset.'
            )
        self.window = window
        self.starts = np.asarray(starts, dtype=np.int64)
        self.in_order = keeps_order(dataset)

    def _arranged(self, order: np.ndarray) -> np.ndarray:
        """Each global batch is sorted by the places of its blocks in the epoch."""
        place = np.empty(len(self.starts), dtype=np.int64)
        blocks = self._block(order)
        seen, first = np.unique(blocks, return_index=True)
        place[seen] = np.argsort(np.argsort(first))
        batch = (np.arange(len(order)) - self.start) // self.global_batch
        return order[np.lexsort((place[blocks], batch))]  # stable

    def _draw(self, rng: np.random.Generator, epoch: int) -> np.ndarray:
        if self._uniform is not None and epoch == self._uniform.epoch:
            return super()._draw(rng, epoch)
        ends = np.append(self.starts[1:], self.size)
        blocks = len(self.starts)
        shuffled = np.arange(blocks) if self.in_order else rng.permutation(blocks)
        windows = []
        for first in range(0, len(shuffled), self.window):
            chosen = shuffled[first : first + self.window]
            images = np.concatenate([np.arange(self.starts[b], ends[b]) for b in chosen])
            windows.append(rng.permutation(images))
        return np.concatenate(windows)

    def _block(self, images: np.ndarray) -> np.ndarray:
        """Block of each image."""
        return np.searchsorted(self.starts, images, side='right') - 1
