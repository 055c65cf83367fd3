"""Open a data set of the `datasets` library, and say which of its columns hold images and labels."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from typing import Any

from ....errors import DataError
from .base import needed
from .columns import IMAGES, PATHS, likely_column, likely_label, named_column

SAVED = ('state.json', 'dataset_dict.json')  # what `save_to_disk` leaves in a folder
WHO = 'HFDataset'


def load(path: str, name: str | None, split: str | None, revision: str | None, streaming: bool) -> Any:
    """A `datasets.Dataset`, or with `streaming` a `datasets.IterableDataset`.

    Args:
        path: a folder of `save_to_disk`, Parquet files (one, or a pattern), another folder of data, or a name on the hub.
        name: of the configuration.
        split: None: 'train', or the only one.
        revision: of the data set on the hub.
        streaming: read it forwards, and keep nothing on disk.

    Raises:
        DataError: it cannot be loaded, or has no such split.
    """
    datasets = needed('datasets', WHO)
    local = os.path.expanduser(path)
    saved = any(os.path.isfile(os.path.join(local, file)) for file in SAVED)
    parquet = local.endswith('.parquet')
    if parquet and not glob.glob(local):
        raise DataError(f"path='{path}': there is no such Parquet file.")
    try:
        if saved:
            found = datasets.load_from_disk(local)
        elif parquet:
            found = datasets.load_dataset('parquet', data_files=sorted(glob.glob(local)), streaming=streaming)
        else:
            folder = os.path.isdir(local)
            found = datasets.load_dataset(
                local if folder else path, name, revision=None if folder else revision, split=split, streaming=streaming
            )
    except Exception as error:  # of the library, of the hub, of the network: there is no list of them
        raise DataError(_refusal(path, name, split, error)) from None
    if hasattr(found, 'keys'):  # a dict of splits
        found = found[_split(list(found), split, path)]
    elif split is not None and (saved or parquet) and str(found.split) != split:
        raise DataError(
            f"path='{path}' holds one data set, of split '{found.split}', and no split='{split}'. Leave out split."
        )
    return found.to_iterable_dataset() if streaming and saved else found


def _refusal(path: str, name: str | None, split: str | None, error: Exception) -> str:
    given = ', '.join(f"{key}='{value}'" for key, value in (('path', path), ('name', name), ('split', split)) if value)
    reason = f'{type(error).__name__}: {" ".join(str(error).split())}'
    local = os.path.exists(os.path.expanduser(path)) or path.startswith(('/', '.', '~'))
    advice = (
        'Give a folder of save_to_disk, Parquet files, or a name on the hub.'
        if local
        else 'Check the name and the network; without one, load it where there is one, and give the folder that its save_to_disk '
        'writes.'
    )
    return f'{given} cannot be loaded ({reason[:300]}). {advice}'


def _split(splits: Sequence[str], split: str | None, path: str) -> str:
    if split is None and (len(splits) == 1 or 'train' in splits):
        return splits[0] if len(splits) == 1 else 'train'
    if split in splits:
        return str(split)
    raise DataError(f"path='{path}' has no split='{split or 'train'}'; it has {', '.join(splits)}.")


def image_column(features: Any, image: str | None, path: str) -> tuple[str, bool]:
    """The column of images, and whether it is one of the library's type `Image`.

    Raises:
        DataError: there is no such column, or several could be meant.
    """
    datasets = needed('datasets', WHO)
    where = f"path='{path}'"
    if features is None:
        raise DataError(f'{where}: its columns are not known before it is read; load it without streaming=True.')
    pictures = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    if image is None:
        stored = [name for name, f in features.items() if getattr(f, 'dtype', '') in ('binary', 'large_binary')]
        texts = [name for name, f in features.items() if getattr(f, 'dtype', '') in ('string', 'large_string')]
        image = likely_column(pictures or stored, IMAGES)
        if image is None and not pictures and not stored:
            image = likely_column(texts, PATHS)
        if image is None:
            columns = ', '.join(f'{name} ({type(f).__name__})' for name, f in features.items())
            raise DataError(
                f'{where}: which column holds the images cannot be told; name it as image=. It has {columns}.'
            )
    return named_column(list(features), image, 'image', where), image in pictures


def label_column(features: Any, image: str, label: str | None, path: str) -> tuple[str | None, str]:
    """The column of labels or None, and why there is none."""
    datasets = needed('datasets', WHO)
    others = [name for name in features if name != image]
    if label is not None:
        return named_column(others, label, 'label', f"path='{path}'"), ''
    classes = [name for name in others if isinstance(features[name], datasets.ClassLabel)]
    if len(classes) == 1:
        return classes[0], ''
    chosen = likely_label(classes or others)
    if chosen is None and classes:
        return None, f'several of its columns hold labels ({", ".join(classes)}); name one as label=.'
    return chosen, f'none of its columns ({", ".join(features)}) is called as labels are; name one as label=.'
