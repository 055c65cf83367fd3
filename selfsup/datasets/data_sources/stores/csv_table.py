"""Images named by a table of text with a header: CSV as spreadsheets and notebooks write it."""

from __future__ import annotations

import csv
import io
import os
import warnings
from collections.abc import Sequence

import numpy as np

from ....arguments import Count
from ....errors import DataError, SelfSupWarning
from ....registry import DATA_SOURCES
from ...decoding import Exif, ValueRange
from ..base import FileSource, NameTable, PathLike
from ..list_files import SEPARATORS, label_warnings, read_text, why_missing
from ..missing_files import look_at_files
from .columns import PATHS, likely_column, likely_label, named_column
from .labels import numbered


@DATA_SOURCES.register_module()
class CSV(FileSource):
    """Rows of a text table with a line of column names: a column of paths, and perhaps one of labels.

    UTF-8, or UTF-16 with a byte order mark; quoted as in CSV. Labels that are whole numbers are class numbers; others are names, and
    numbered in sorted order. For a list without column names there is `ImageList`.

    Args:
        file: the table.
        path: column of paths. None: one that is called `path`, `file`, `image`, ...
        label: column of labels. None: one that is called `label`, `class`, ..., where there is one.
        root: folder that paths start from; None: the folder of the table.
        ending: added to each path, such as '.jpg' where the table names images without it.
        separator: between columns; None: the one of , ; tab and | that stands in the first line.
        return_label: hand out labels where there are any.
        channels: of the images, see `Decoder`.
        value_range: see `Decoder`.
        exif: see `Decoder`.

    Raises:
        DataError: the table cannot be used, or more than 1 % of its files are missing (of more than 1,000: 5 % of 1,000).
    """

    def __init__(
        self,
        file: PathLike,
        path: str | None = None,
        label: str | None = None,
        root: PathLike | None = None,
        ending: str = '',
        separator: str | None = None,
        return_label: bool = True,
        channels: Count = 3,
        value_range: ValueRange | None = None,
        exif: Exif = 'ignore',
    ) -> None:
        super().__init__(return_label, channels, value_range, exif)
        table = os.path.expanduser(file)
        self.root = os.path.expanduser(root) if root is not None else os.path.dirname(table) or '.'
        where = f"file='{table}'"
        columns, rows = _read(table, separator, where)
        self._check_header(columns, ending, where)
        chosen = likely_column(columns, PATHS) if path is None else named_column(columns, path, 'path', where)
        if chosen is None:
            raise DataError(
                f'{where}: which column holds the paths cannot be told; name it as path=. It has {", ".join(columns)}.'
            )
        place = columns.index(chosen)
        empty = next((number for number, row in rows if not row[place].strip()), None)
        if empty is not None:
            raise DataError(f"{table}:{empty}: column '{chosen}' is empty. Name a file in each row.")
        self._names = NameTable(row[place].strip() + ending for _, row in rows)
        look_at_files(self, where, lambda name: why_missing(self.root, name))
        self._find_labels(columns, rows, chosen, label, where)

    def _check_header(self, columns: Sequence[str], ending: str, where: str) -> None:
        named = next((c for c in columns if c and os.path.isfile(os.path.join(self.root, c + ending))), None)
        if named is not None:
            raise DataError(
                f"{where} has no line of column names: its first line names the file '{named}'. Put one above it, such as "
                "'path,label', or read it with ImageList(list_file=...)."
            )

    def _find_labels(self, columns: list[str], rows: list, path: str, label: str | None, where: str) -> None:
        others = [name for name in columns if name != path]
        chosen = likely_label(others) if label is None else named_column(columns, label, 'label', where)
        if chosen is None:
            self.no_labels = f'none of its columns ({", ".join(columns)}) is called as labels are; name one as label=.'
            return
        place = columns.index(chosen)
        texts: dict[str, int] = {}
        which = np.array([texts.setdefault(row[place], len(texts)) for _, row in rows], dtype=np.int64)
        try:
            self.labels, self.classes = numbered(list(texts), which, f"column '{chosen}' of {where}")
        except DataError as error:
            if label is not None:
                raise
            self.no_labels = str(error)
            return
        for text in label_warnings(self.labels) if self.return_label and self.classes is None else ():
            warnings.warn(f'{where}: {text}', SelfSupWarning, stacklevel=4)


def _read(table: str, separator: str | None, where: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Names of the columns, and the rows with the number of the line that each ends in."""
    text = read_text(table, where, 'a text table with a line of column names')
    lines = io.StringIO(text, newline=None)  # `\r` and `\r\n` end lines too
    first = next((line for line in lines if line.strip()), '')
    lines.seek(0)
    if not first:
        raise DataError(f'{where} has no lines. Write a line of column names, then one line per image.')
    if separator is None:
        separator = max(SEPARATORS, key=first.count)  # the first of them where there is none: one column
    elif len(separator) != 1:
        raise DataError(f'{where}: separator={separator!r} must be one character.')
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    try:
        table_rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DataError(f'{table}:{reader.line_num}: this line is no CSV: {error}.') from None
    columns = [cell.strip() for cell in table_rows[0][1]]
    rows = table_rows[1:]
    if not rows:
        raise DataError(f'{where} has no rows below its column names ({", ".join(columns)}).')
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise DataError(f"{where} has several columns called '{twice}': {', '.join(columns)}.")
    for number, row in rows:
        if len(row) != len(columns):
            raise DataError(
                f'{table}:{number}: this row has {len(row)} columns, separated by {separator!r}, but there are {len(columns)} column '
                f'names: {", ".join(columns)}. Put quotes around what holds a separator.'
            )
    return columns, rows
