"""Features of frozen layers on the disk, read through the page cache: extracted once, used by as many heads as one likes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from ... import distributed as dist
from ...datasets.robust import unreadable
from ...errors import ConfigError, DataError
from ...files import only_process
from ..arrays import read_array
from ..features import collect, left_out

DTYPES = {'float16': torch.float16, 'float32': torch.float32}
KEY = 'cache.json'  # written last: a folder without it is incomplete
LEFT_OUT = 'unreadable.npy'
# The names of files of a cache; no others are ever removed.
_OWN = re.compile(r'cache\.json|labels\.npy|unreadable\.npy|layer\d+\.npy')


class FeatureCache:
    """What the heads read, of `views` draws of every image. Made by `cached`.

    The files have a row for each of N images; those that could not be read are left out of everything that the cache hands out, so
    that it is as long as the M others. (A cache of an earlier version does not say which they were: it counts all.)

    Attributes:
        layers: of each layer a memory-mapped array (views, N, ...).
        readable: (M,) int64 numbers of the rows that count, ascending.
        labels: (M,) int64.
    """

    def __init__(self, folder: Path) -> None:
        names = sorted(folder.glob('layer*.npy'), key=lambda p: int(p.stem.removeprefix('layer')))
        again = f'Remove {folder} and start again: it is filled anew.'
        self.layers = [read_array(name, again, 'r') for name in names]
        labels = read_array(folder / 'labels.npy', again)
        bad = read_array(folder / LEFT_OUT, again) if (folder / LEFT_OUT).exists() else np.zeros(0, dtype=np.int64)
        if (
            labels.dtype != np.int64
            or labels.ndim != 1
            or not names
            or any(layer.ndim < 2 or layer.shape[1] != len(labels) for layer in self.layers)
        ):
            raise DataError(f'{folder} is damaged: its arrays do not belong together. {again}')
        self.readable = np.setdiff1d(np.arange(len(labels)), bad)
        self.labels = torch.from_numpy(labels[self.readable] if len(bad) else labels)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def left_out(self) -> int:
        """Images that could not be read."""
        return self.layers[0].shape[1] - len(self)

    @property
    def views(self) -> int:
        """Draws of each image."""
        return len(self.layers[0])

    def rows(self, view: int, index: np.ndarray | slice, device: torch.device) -> list[Tensor]:
        """float32 (B, ...) of each layer, for the samples `index` (numbers or a slice of the M) in draw `view`."""
        index = self.readable[index] if self.left_out else index
        return [torch.from_numpy(np.array(layer[view][index], dtype=np.float32)).to(device) for layer in self.layers]


class Draw(NamedTuple):
    """How one draw of every image becomes features.

    Attributes:
        open_loader: opens a loader of batches of `img` and `gt_label`, see `collect`; it is closed after use.
        forward: images (B, C, H, W) -> what the heads read, one tensor (B, ...) per layer.
    """

    open_loader: Callable[[], Any]
    forward: Callable[[Tensor], list[Tensor]]


def cached(
    folder: str | os.PathLike, key: dict, draws: Sequence[Draw], dtype: str = 'float16', force: bool = False
) -> FeatureCache | None:
    """The cache in `folder`, extracted where it is not there yet.

    Args:
        folder: of this cache alone.
        key: JSON values that say what the features are of: weights, model, data, draws. The same key means the same features.
        draws: one or more, of the same data set.
        dtype: 'float16' or 'float32', on the disk.
        force: replace a cache of another key.

    Returns:
        The cache on rank 0; None on the others, which share the extraction.

    Raises:
        DataError: `folder` holds another cache and not `force`, or something that is no cache; another process is filling it; it
            cannot be written, or the disk is too small; a feature does not fit `dtype`.
        ConfigError: an unknown `dtype`.
    """
    if dtype not in DTYPES:
        raise ConfigError(f'dtype={dtype!r}: use {" or ".join(map(repr, DTYPES))}.')
    folder, key = Path(folder), json.loads(json.dumps({**key, 'dtype': dtype}, default=str))
    with _alone(folder) if dist.is_main() else contextlib.nullcontext():
        if not dist.broadcast_object(dist.is_main() and _usable(folder, key, force)):
            _extract(folder, key, draws, DTYPES[dtype])
        return FeatureCache(folder) if dist.is_main() else None


def _alone(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Keep other processes from filling `folder` at the same time: both would write into one partial folder."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f'{folder.parent} cannot hold a cache: {error.strerror}. Choose another --cache.') from None
    return only_process(
        folder.with_name(f'.{folder.name}.lock'),
        f'{folder} is being filled by {{owner}}. Start again when it is done: '
        'the cache is then used; or choose another --cache.',
        DataError,
    )


def _usable(folder: Path, key: dict, force: bool) -> bool:
    """True for a complete cache of this key, False where one is to be made."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        old_key = json.loads((folder / KEY).read_text())
    except (OSError, json.JSONDecodeError):
        old_key = None
    if old_key == key:
        return True
    strange = (
        [path.name for path in folder.iterdir() if not _OWN.fullmatch(path.name)] if folder.is_dir() else [folder.name]
    )
    if strange:
        raise DataError(
            f'{folder} holds files that are none of a cache ({strange[0]!r}), so --force does not replace it; choose another '
            '--cache.'
        )
    if not force:
        old_key = old_key if isinstance(old_key, dict) else None
        differing = (
            'no complete cache'
            if old_key is None
            else f'other {", ".join(k for k in key if old_key.get(k) != key[k]) or "settings"}'
        )
        raise DataError(f'{folder} exists and holds {differing}; give --force to replace it, or another --cache.')
    return False


def _extract(folder: Path, key: dict, draws: Sequence[Draw], dtype: torch.dtype) -> None:
    """Fill a folder beside `folder` and give it that name when it is complete."""
    partial = folder.with_name(f'.{folder.name}.partial')
    if dist.is_main():
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    arrays: dict[str, np.memmap] = {}
    labels, bad = torch.empty(0), np.zeros(0, dtype=np.int64)
    for view, draw in enumerate(draws):

        def allocate(name: str, shape: tuple, kind: torch.dtype, view: int = view) -> Tensor:
            if name == 'labels':
                return torch.empty(shape, dtype=kind)
            if name not in arrays:
                arrays[name] = _create(partial / f'{name}.npy', (len(draws), *shape), kind)
            return torch.from_numpy(arrays[name][view])

        def layers(batch: dict[str, Tensor], draw: Draw = draw) -> dict[str, Tensor]:
            maps = {f'layer{i}': _convert(x, dtype) for i, x in enumerate(draw.forward(batch['img']))}
            return {**maps, 'labels': batch['gt_label'].long()}

        loader = draw.open_loader()
        labels = collect(layers, loader, main_only=True, allocate=allocate).get('labels', labels)
        left_out(loader.dataset)
        bad = np.union1d(bad, unreadable(loader.dataset))
        loader.close()
    if not dist.is_main():
        return
    for array in arrays.values():
        array.flush()
    np.save(partial / 'labels.npy', labels.numpy())
    np.save(partial / LEFT_OUT, bad)
    (partial / KEY).write_text(json.dumps(key, indent=1) + '\n')
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _create(path: Path, shape: tuple, dtype: torch.dtype) -> np.memmap:
    needed, free = int(np.prod(shape)) * dtype.itemsize, shutil.disk_usage(path.parent).free
    if needed > free:
        raise DataError(
            f'{path.parent}: {needed:,} bytes are needed for {path.name} alone, {free:,} are free. Choose another --cache, '
            'fewer views or float16.'
        )
    return open_memmap(path, 'w+', dtype=np.dtype(str(dtype).removeprefix('torch.')), shape=shape)


def _convert(x: Tensor, dtype: torch.dtype) -> Tensor:
    x = x.detach().to(dtype)
    if not bool(x.isfinite().all()):
        raise DataError(
            f'Some features are not finite as {dtype}: use --dtype float32; if it persists, the network has diverged.'
        )
    return x
