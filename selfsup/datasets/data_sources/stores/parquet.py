"""Images in the column of Parquet files, as bytes or as paths."""

from __future__ import annotations

import glob
import json
import os
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....arguments import Count
from ....errors import DataError, SelfSupWarning
from ....registry import DATA_SOURCES
from ...decoding import Exif, ValueRange
from ..base import NameTable, PathLike
from .base import StoredSource, bytes_of, needed
from .columns import IMAGES, PATHS, likely_column, likely_label, named_column
from .labels import class_numbers, numbered

MUCH_MEMORY = 2**30  # bytes of row groups in each loader worker, above which a word is due


def table_files(files: PathLike | Sequence[PathLike]) -> list[str]:
    """Paths of Parquet files: `files` itself, those in the folders among them, those that patterns stand for; each of these sorted.

    Raises:
        DataError: there is no such file, or none in a folder.
    """
    paths: list[str] = []
    for given in [files] if isinstance(files, str | os.PathLike) else files:
        path = os.path.expanduser(given)
        inside = os.path.join(glob.escape(path), '**', '*.parquet') if os.path.isdir(path) else path
        found = [path] if os.path.isfile(path) else sorted(glob.glob(inside, recursive=True))
        if not found:
            what = (
                'is a folder without files ending in .parquet'
                if os.path.isdir(path)
                else 'stands for no file'
                if glob.has_magic(path)
                else 'does not exist'
            )
            raise DataError(f"files='{path}' {what}. Give a Parquet file, a folder of some, or a pattern.")
        paths += found
    return paths


@DATA_SOURCES.register_module()
class Parquet(StoredSource):
    """Rows of Parquet files: a column of encoded images, or of their paths, and perhaps one of labels.

    Of encoded images a row group is the unit of reading, and only the column of images is read. So training goes through the rows by
    `WindowSampler`: row groups are shuffled, and rows among those of a window, all of which each loader worker keeps in memory. Small row
    groups (100 images) make that cheap; `locality` says where they begin. A column of paths is read once, and needs no such order.

    Args:
        files: a file, a folder searched for `*.parquet`, a pattern, or a list of these; rows are numbered in the sorted order of the files.
        image: column of images: binary, paths, or a struct of `bytes` and `path` as the `datasets` library writes it. None: the column that
            is binary or such a struct, or is called like one of images or paths.
        label: column of class numbers or names. None: one that is called `label`, `class`, ..., where there is one.
        root: folder that paths start from.
        return_label: hand out labels where there are any.
        channels: of the images, see `Decoder`.
        value_range: see `Decoder`.
        exif: see `Decoder`.
        cached_groups: row groups that each loader worker keeps in memory; at least the `window` of `WindowSampler`.

    Raises:
        DataError: no such file or column, files that are no Parquet, no rows, or labels that are none.
    """

    def __init__(
        self,
        files: PathLike | Sequence[PathLike],
        image: str | None = None,
        label: str | None = None,
        root: PathLike = '.',
        return_label: bool = True,
        channels: Count = 3,
        value_range: ValueRange | None = None,
        exif: Exif = 'ignore',
        cached_groups: Count = 16,
    ) -> None:
        super().__init__(return_label, channels, value_range, exif)
        needed('pyarrow', 'Parquet')
        import pyarrow.parquet as pq

        self.root, self.cached_groups = os.path.expanduser(root), cached_groups
        self.files = table_files(files)
        self._metadata = [_opened(pq.read_metadata, path) for path in self.files]
        schema = self._metadata[0].schema.to_arrow_schema()
        self.image = self._image_column(schema, image)
        self._find_groups()
        self._names = NameTable(self._column(self.image)[0]) if _is_text(schema.field(self.image).type) else None
        if self._names is None:
            self.blocks = self._starts
            self.locality = self._starts if len(self._starts) > 1 else None
            self._look_at_memory()
        self._find_labels(schema, label)
        self._cache: OrderedDict[int, Any] = OrderedDict()  # number of a row group -> its column of images

    def _image_column(self, schema: Any, image: str | None) -> str:
        where = f"files='{self.files[0]}'"
        if image is not None:
            return named_column(schema.names, image, 'image', where)
        holding = [field.name for field in schema if _holds_images(field.type)]
        chosen = likely_column(holding, IMAGES)
        if chosen is None and not holding:
            chosen = likely_column([field.name for field in schema if _is_text(field.type)], PATHS)
        if chosen is None:
            columns = ', '.join(f'{field.name} ({field.type})' for field in schema)
            raise DataError(
                f'{where}: which column holds the images cannot be told; name it as image=. It has {columns}.'
            )
        return chosen

    def _find_groups(self) -> None:
        """File and first row of each row group; groups of no rows are left out."""
        rows, groups = [], []
        for number, data in enumerate(self._metadata):
            if self.image not in data.schema.to_arrow_schema().names:
                raise DataError(f"'{self.files[number]}' has no column '{self.image}', which '{self.files[0]}' has.")
            for group in range(data.num_row_groups):
                if data.row_group(group).num_rows:
                    groups.append((number, group))
                    rows.append(data.row_group(group).num_rows)
        if not rows:
            raise DataError(f"files='{self.files[0]}'{' and the others have' if self.files[1:] else ' has'} no rows.")
        self._groups = np.array(groups, dtype=np.int64)  # (G, 2): number of the file, number of the group in it
        self._starts = np.cumsum([0, *rows[:-1]]).astype(np.int64)
        self._size = sum(rows)
        self._first_rows = np.cumsum([0, *(data.num_rows for data in self._metadata[:-1])]).astype(
            np.int64
        )  # of each file

    def _look_at_memory(self) -> None:
        largest = max(self._bytes_of_group(file, group) for file, group in self._groups.tolist())
        held = largest * min(self.cached_groups, len(self._groups))
        if held > MUCH_MEMORY:
            warnings.warn(
                f"files='{self.files[0]}': its row groups hold up to {largest / 2**20:,.0f} MiB of images, so each loader worker may take "
                f'{held / 2**30:.1f} GiB. Write smaller row groups (100 images each), or set cached_groups and the window of '
                'WindowSampler to less.',
                SelfSupWarning,
                stacklevel=4,
            )

    def _bytes_of_group(self, file: int, group: int) -> int:
        data = self._metadata[file].row_group(group)
        columns = [data.column(i) for i in range(data.num_columns)]
        return sum(c.total_uncompressed_size for c in columns if c.path_in_schema.split('.')[0] == self.image)

    def _column(self, name: str) -> tuple[list[Any], np.ndarray]:
        """Different values of a whole column (of texts) and which of them each row has; of numbers, no values and the numbers."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        parts = []
        for path in self.files:
            table = _opened(
                lambda file: pq.read_table(file, columns=[name], use_threads=False, partitioning=None), path
            )
            parts += table.column(name).chunks
        column = pa.chunked_array(parts)
        if column.null_count and not _is_text(column.type):
            first = int(np.flatnonzero(column.is_null().to_numpy())[0])
            raise DataError(f"column '{name}' of '{self.files[0]}': row {first} is empty. Fill in all rows or none.")
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if not _is_text(column.type):
            return [], column.to_numpy()
        if name == self.image:
            return column.to_pylist(), np.zeros(0)
        encoded = column.dictionary_encode(null_encoding='encode').combine_chunks()
        encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
        return encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False)

    def _find_labels(self, schema: Any, label: str | None) -> None:
        where, others = f"files='{self.files[0]}'", [name for name in schema.names if name != self.image]
        chosen = likely_label(others) if label is None else named_column(schema.names, label, 'label', where)
        if chosen is None:
            self.no_labels = (
                f'none of its columns ({", ".join(schema.names)}) is called as labels are; name one as label=.'
            )
            return
        named = f"column '{chosen}' of '{self.files[0]}'"
        classes = _class_names(schema, chosen)
        try:
            texts, values = self._column(chosen)
            if classes is not None and len(values) and (np.asarray(values) == -1).all():
                self.no_labels = f'{named} is -1 throughout, which stands for labels that are not given.'
                return
            if texts:
                self.labels, self.classes = numbered(texts, values, named)
            else:
                self.labels, self.classes = class_numbers(values, named), classes
        except DataError as error:
            if label is not None:
                raise
            self.no_labels = str(error)

    def __len__(self) -> int:
        return self._size

    def name(self, index: int) -> str:
        if self._names is not None:
            return self._names[index]
        file, row = self._place(index)
        return f'{os.path.basename(self.files[file])}: row {row}'

    def describe(self, index: int) -> str:
        if self._names is not None:
            return os.path.join(self.root, self._names[index])
        file, row = self._place(index)
        return f'{self.files[file]}: row {row}'

    def _place(self, index: int) -> tuple[int, int]:
        """Number of the file, and of the row in it."""
        file = int(np.searchsorted(self._first_rows, index, side='right')) - 1
        return file, index - int(self._first_rows[file])

    def content_hint(self) -> str | None:
        return super().content_hint() if self._names is None else None

    def read_bytes(self, index: int) -> bytes:
        if self._names is not None:
            return bytes_of(self._names[index], self.root)
        number = int(np.searchsorted(self._starts, index, side='right')) - 1
        return bytes_of(self._group(number)[index - int(self._starts[number])].as_py(), self.root)

    def _group(self, number: int) -> Any:
        """The column of images of a row group, from the memory of this process where it is there."""
        import pyarrow.parquet as pq

        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        file, group = self._groups[number].tolist()
        with pq.ParquetFile(self.files[file], metadata=self._metadata[file]) as opened:
            # without threads: those of a parent process are not there in a forked worker
            column = opened.read_row_group(group, columns=[self.image], use_threads=False).column(self.image)
        while len(self._cache) >= self.cached_groups:
            self._cache.popitem(last=False)
        self._cache[number] = column
        return column

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_cache': OrderedDict()}


def _opened(read: Any, path: str) -> Any:
    """`read(path)`; what pyarrow raises becomes one clear line."""
    try:
        return read(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are these
        reason = ' '.join(str(error).split())
        raise DataError(f"'{path}' cannot be read as Parquet: {reason}") from None


def _is_text(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _holds_images(kind: Any) -> bool:
    """True for a column of bytes, or of structs that have some."""
    import pyarrow.types as types

    if types.is_struct(kind):
        return any(field.name == 'bytes' for field in kind)
    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)


def _class_names(schema: Any, column: str) -> list[str] | None:
    """Names of the classes, where the `datasets` library wrote them beside the table."""
    try:
        feature = json.loads((schema.metadata or {})[b'huggingface'])['info']['features'][column]
        names = feature['names']
    except (KeyError, TypeError, ValueError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None
