"""Features of several layers, each pooled to about 9,000 numbers, for linear classifiers on frozen layers.

Goyal et al., "Scaling and Benchmarking Self-Supervised Visual Representation Learning", arXiv:1905.01235, appendix; the
window sizes are those of OpenSelfSup. For a ResNet-50 at 224 pixels the five layers give 9216, 9216, 8192, 9216, 8192.
"""

from __future__ import annotations

import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from ..datasets import ImageDataset
from ..datasets.robust import readers
from ..errors import ConfigError, DataError, ShapeError
from ..models.layers.pooling import LAYER_WINDOWS, pool_layer


def pool_layers(maps: Sequence[Tensor], indices: Sequence[int]) -> dict[str, Tensor]:
    """Pooled and flattened maps.

    A map of the side that a ResNet has at 224 pixels is pooled with that layer's window; any other is averaged into as
    many equal cells (fewer where the map itself has fewer).

    Args:
        maps: what the backbone returned, (B, C, H, W) each.
        indices: layer of each map, 0 to 4, 0 = stem.

    Returns:
        `feat1`, `feat2`, ... by position: (B, C * side * side), in the order C, H, W.

    Raises:
        ShapeError: as many maps as indices are needed, each a map, each index in [0, 4].
    """
    if len(maps) != len(indices):
        raise ShapeError(f'The backbone returned {len(maps)} maps for the {len(indices)} layers {list(indices)}.')
    features = {}
    for position, (x, index) in enumerate(zip(maps, indices, strict=True), 1):
        if x.ndim != 4 or not 0 <= index < len(LAYER_WINDOWS):
            raise ShapeError(
                f'Layer {index} gave shape {tuple(x.shape)}; expected a map (B, C, H, W) of a layer from 0 to 4.'
            )
        made_for, _, side = LAYER_WINDOWS[index]
        if x.shape[2] == x.shape[3] == made_for:
            pooled = pool_layer(x, index, adaptive=False)
        else:
            pooled = F.adaptive_avg_pool2d(x, (min(side, x.shape[2]), min(side, x.shape[3])))
        features[f'feat{position}'] = pooled.flatten(1)
    return features


def read_data_file(path: str) -> dict[str, Any]:
    """The variables of a Python file that describes data sets.

    Raises:
        ConfigError: it cannot be read or run.
    """
    try:
        return runpy.run_path(path)
    except Exception as error:  # the file is a program: anything may be wrong with it
        raise ConfigError(f'{path} cannot be read: {type(error).__name__}: {error}.') from None


def read_splits(path: str) -> tuple[dict, list[str], list[int]]:
    """Images and splits that a Python file describes.

    Args:
        path: file with `data` (a dict with `extract`, `imgs_per_gpu` and perhaps `workers_per_gpu`) and, for several splits,
            `split_name` and `split_at`.

    Returns:
        `data`, names of the splits, rows at which the second, third, ... split begins.

    Raises:
        ConfigError: the file cannot be read, or something is missing or does not fit together.
    """
    described = read_data_file(path)
    names, at = list(described.get('split_name', ['all'])), list(described.get('split_at', []))
    data = described['data'] if isinstance(described.get('data'), dict) else {}
    missing = [key for key in ('extract', 'imgs_per_gpu') if key not in data]
    if missing:
        raise ConfigError(
            f'{path}: `data` lacks {" and ".join(missing)}; write data = dict(imgs_per_gpu=32, extract=dict(...)).'
        )
    if len(names) != len(at) + 1 or at != sorted(set(at)) or (at and at[0] < 1):
        raise ConfigError(
            f'{path}: split_name has {len(names)} names, so split_at needs {len(names) - 1} increasing rows; got {at}.'
        )
    return data, names, at


def refuse_unreadable(dataset: ImageDataset) -> None:
    """A row of features is matched with labels by its number, so no other image may stand in for one that cannot be read.

    Raises:
        DataError: an image could not be read so far.
    """
    for reader, _ in readers(dataset):
        bad = reader.bad_indices()
        if len(bad):
            raise DataError(
                f'{reader.describe(int(bad[0]))} cannot be read, and its row cannot hold the features of another image. Repair '
                'it, or take it out of list and labels.'
            )


def save_splits(
    features: Mapping[str, Tensor], folder: Path, names: Sequence[str], at: Sequence[int]
) -> list[tuple[Path, tuple]]:
    """Write `{split}_{layer}.npy` for every split and layer.

    Args:
        features: layer -> (N, D).
        folder: made where it does not exist.
        names: of the splits, in the order of the rows.
        at: rows at which the second, third, ... split begins.

    Returns:
        Files and shapes.

    Raises:
        DataError: a split begins after the last row.
    """
    rows = len(next(iter(features.values())))
    if at and at[-1] >= rows:
        raise DataError(f'split_at={list(at)}, but there are only {rows} images: the last split would be empty.')
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for layer, values in features.items():
        for name, begin, end in zip(names, [0, *at], [*at, rows], strict=True):
            path = folder / f'{name}_{layer}.npy'
            np.save(path, values[begin:end].float().numpy())
            written.append((path, (end - begin, values.shape[1])))
    return written
