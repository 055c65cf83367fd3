"""Images in an LMDB."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from ....arguments import Count
from ....errors import DataError
from ....registry import DATA_SOURCES
from ...decoding import Exif, ValueRange
from ..base import ByteTable, PathLike
from ..list_files import read_list
from .base import StoredSource, needed
from .labels import class_numbers, numbered
from .lmdb_layouts import RESERVED, how_packed, taken_apart


@DATA_SOURCES.register_module()
class LMDB(StoredSource):
    """Images in an LMDB: the values of all its keys in sorted order, or those of a list.

    Layouts: encoded images under any keys (as LSUN has them); `image-000000001` with `label-000000001` and `num-samples`; pickled
    `(image, label)` with or without `__len__` and `__keys__`, of which only what holds plain bytes and numbers is read; Caffe's Datum.
    Which one it is, the first values tell. Where all keys are `class/name`, the classes are the parts before the slash, as in
    `ImageFolder`.

    The data base is opened for each image and closed again (0.05 ms), so nothing is shared with forked workers, and several sources can
    read it.

    Args:
        path: the folder with data.mdb, or a file.
        list_file: names the keys that are images, one `key` or `key label` per line; None: all keys.
        image_key: pattern of numbered keys, such as 'image-{:09d}', counted from `first`; None: as the layout says.
        label_key: pattern of the keys of labels, whose values are texts; None: as the layout says.
        first: number of the first image in these patterns.
        labels_inside: take the labels that are packed with the images, for which all values are read once, at the start.
        return_label: hand out labels where there are any.
        channels: of the images, see `Decoder`.
        value_range: see `Decoder`.
        exif: see `Decoder`.

    Raises:
        DataError: the package is missing, there is no such data base, a key is not there, or the values are no images.
    """

    def __init__(
        self,
        path: PathLike,
        list_file: PathLike | None = None,
        image_key: str | None = None,
        label_key: str | None = None,
        first: Literal[0, 1] = 1,
        labels_inside: bool = False,
        return_label: bool = True,
        channels: Count = 3,
        value_range: ValueRange | None = None,
        exif: Exif = 'ignore',
    ) -> None:
        super().__init__(return_label, channels, value_range, exif)
        needed('lmdb', 'LMDB')
        self.path = os.path.expanduser(path)
        if not os.path.exists(os.path.join(self.path, 'data.mdb') if os.path.isdir(self.path) else self.path):
            what = 'has no data.mdb' if os.path.isdir(self.path) else 'does not exist'
            raise DataError(f"path='{self.path}' {what}. Give the folder or the file of an LMDB.")
        with self._transaction() as transaction:
            if image_key is None and list_file is None and transaction.get(b'num-samples') is not None:
                image_key, label_key = 'image-{:09d}', label_key or 'label-{:09d}'
            if list_file is not None:
                self._take_list(transaction, os.path.expanduser(list_file))
            else:
                self._keys = ByteTable(
                    self._all_keys(transaction) if image_key is None else self._numbered(transaction, image_key, first)
                )
            if not len(self._keys):
                raise DataError(
                    f"path='{self.path}' holds no {'images' if image_key is None else f'key {image_key!r}'}."
                )
            self._look_at_values(transaction)
            if self.labels is None:
                self._find_labels(transaction, label_key, first, labels_inside)

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        lmdb = needed('lmdb', 'LMDB')
        try:
            environment = lmdb.open(
                self.path,
                subdir=os.path.isdir(self.path),
                readonly=True,
                lock=False,
                readahead=False,
                meminit=False,
                create=False,
            )
        except lmdb.Error as error:
            raise DataError(f"path='{self.path}' cannot be opened as an LMDB: {error}.") from None
        with environment, environment.begin(buffers=False) as transaction:
            yield transaction

    @staticmethod
    def _all_keys(transaction: Any) -> Iterator[bytes]:
        return (key for key in transaction.cursor().iternext(keys=True, values=False) if key not in RESERVED)

    def _numbered(self, transaction: Any, pattern: str, first: int) -> list[bytes]:
        """Keys of a pattern, up to the first that is not there, or as many as `num-samples` says."""
        said = transaction.get(b'num-samples')
        total = int(said) if said is not None and said.strip().isdigit() else None
        keys: list[bytes] = []
        while total is None or len(keys) < total:
            key = _filled(pattern, first + len(keys), 'image_key')
            if total is None and transaction.get(key) is None:
                break
            keys.append(key)
        return keys

    def _take_list(self, transaction: Any, list_file: str) -> None:
        names, labels = read_list(list_file, lambda name: transaction.get(os.fsencode(name)) is not None)
        missing = [name for name in names if transaction.get(os.fsencode(name)) is None]
        if missing:
            raise DataError(
                f"list_file='{list_file}': {len(missing)} of its {len(names)} keys are not in '{self.path}', such as "
                f"'{missing[0]}'. Its first key is {_shown(next(self._all_keys(transaction), b''))}."
            )
        self._keys = ByteTable(os.fsencode(name) for name in names)
        self.labels = None if labels is None else np.asarray(labels, dtype=np.int64)

    def _look_at_values(self, transaction: Any) -> None:
        """Find the layout by some values: a broken one must not decide."""
        found = []
        for index in np.unique(np.linspace(0, len(self) - 1, 8).astype(int)).tolist():
            found.append(how_packed(transaction.get(self._keys[index]) or b''))
        kinds = [kind for kind in found if kind is not None]
        if not kinds:
            key = self._keys[0]
            value = transaction.get(key) or b''
            raise DataError(
                f"path='{self.path}': the value of {_shown(key)} is no encoded image ({len(value)} bytes that begin with "
                f'{value[:8]!r}). Name the keys of images as image_key= or list_file=.'
            )
        self.packed = max(dict.fromkeys(kinds), key=kinds.count)

    def _find_labels(self, transaction: Any, label_key: str | None, first: int, inside: bool) -> None:
        where = f"path='{self.path}'"
        if label_key is not None:
            values = [transaction.get(_filled(label_key, first + i, 'label_key')) for i in range(len(self))]
            texts: dict[str | None, int] = {}
            which = [texts.setdefault(None if v is None else v.decode(errors='replace'), len(texts)) for v in values]
            self.labels, self.classes = numbered(list(texts), np.array(which), f'{where}, label_key={label_key!r}')
        elif self.packed != 'no' and not inside:
            self.no_labels = (
                'they are packed with the images: labels_inside=True reads all values for them, once at the start.'
            )
        elif self.packed != 'no':
            self.labels = class_numbers(self._labels_inside(transaction, where), where)
        elif all(b'/' in self._keys[index] for index in range(len(self))):
            folders: dict[str | None, int] = {}
            which = [
                folders.setdefault(os.fsdecode(self._keys[i].split(b'/', 1)[0]), len(folders)) for i in range(len(self))
            ]
            names = sorted(map(str, folders))
            places = np.array([names.index(str(folder)) for folder in folders], dtype=np.int64)
            self.labels, self.classes = places[np.array(which)], names
        else:
            self.no_labels = 'its values are images alone, and its keys name no classes; give list_file= or label_key=.'

    def _labels_inside(self, transaction: Any, where: str) -> np.ndarray:
        logging.getLogger('selfsup').info(f'{where}: {len(self):,} values are read for their labels.')
        labels = np.zeros(len(self), dtype=np.int64)
        for index in range(len(self)):
            try:
                label = taken_apart(transaction.get(self._keys[index]) or b'', self.packed).label
            except ValueError:
                continue  # a broken image: reading it says so
            if label is None:
                raise DataError(f'{self.describe(index)} has no label that is a whole number; leave out labels_inside.')
            labels[index] = label
        return labels

    def __len__(self) -> int:
        return len(self._keys)

    def name(self, index: int) -> str:
        return os.fsdecode(self._keys[index])

    def describe(self, index: int) -> str:
        return f'{self.path}: {self.name(index)}'

    def read_bytes(self, index: int) -> bytes:
        with self._transaction() as transaction:
            try:
                value = transaction.get(self._keys[index])
            except needed('lmdb', 'LMDB').Error as error:
                raise ValueError(f'its value cannot be read: {error}') from None
        if value is None:
            raise ValueError('there is no such key')
        return taken_apart(value, self.packed).image


def _filled(pattern: str, number: int, argument: str) -> bytes:
    try:
        return os.fsencode(pattern.format(number))
    except (ValueError, IndexError, KeyError):
        raise DataError(f"{argument}='{pattern}' is no pattern of keys: write it as 'image-{{:09d}}'.") from None


def _shown(key: bytes) -> str:
    return f"'{key.decode(errors='backslashreplace')}'"
