"""Images named by a list file."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
from PIL import Image

from ...errors import DataError
from ...registry import DATA_SOURCES
from .base import DataSource, NameTable, load_rgb
from .memcached import open_reader

FILES_TRIED = 8


def split_label(line: str) -> tuple[str, int] | None:
    """'a b.jpg 3' -> ('a b.jpg', 3); None for a line that does not end in a whole number after a name."""
    parts = line.rsplit(maxsplit=1)
    if len(parts) == 2 and (parts[1].isdecimal() or (parts[1][0] in '+-' and parts[1][1:].isdecimal())):
        return parts[0], int(parts[1])
    return None


def read_list(list_file: str, exists: Callable[[str], bool]) -> tuple[list[str], list[int] | None]:
    """Parse lines `path` or `path label`, all of one kind; blank lines are ignored.

    A path may hold spaces. `photo 12` can be read both ways: it is a labelled `photo` unless a file `photo 12` exists.
    (Only the lines that need it are looked up on disk.)

    Args:
        list_file: text file, UTF-8.
        exists: path -> True when there is such a file.

    Returns:
        Paths, and their labels or None.

    Raises:
        DataError: no such file, no lines, a negative label, or a line of another kind than the first.
    """
    try:
        with open(list_file, encoding='utf-8-sig', errors='surrogateescape') as file:
            lines = [(number, line.strip()) for number, line in enumerate(file, 1) if line.strip()]
    except OSError as error:
        raise DataError(f"list_file='{list_file}' cannot be read: {error.strerror}. Give a text file with one 'path' or "
                        "'path label' per line.") from None
    if not lines:
        raise DataError(f"list_file='{list_file}' has no lines. Write one 'path' or 'path label' per line.")
    pairs = [split_label(line) for _, line in lines]
    first_number, first_line = lines[0]
    if pairs[0] is None or exists(first_line):
        for (number, line), pair in zip(lines, pairs, strict=True):
            if pair is not None and not exists(line):
                raise DataError(f"{list_file}:{number}: '{line}' ends in a label, but line {first_number} ('{first_line}') has none. "
                                'Label all lines or none.')
        return [line for _, line in lines], None
    for (number, line), pair in zip(lines, pairs, strict=True):
        if pair is None:
            raise DataError(f"{list_file}:{number}: '{line}' has no label, but line {first_number} ('{first_line}') has one. "
                            'Label all lines or none.')
        if pair[1] < 0:
            raise DataError(f"{list_file}:{number}: '{line}' has a negative label. Number the classes from 0.")
    return [name for name, _ in pairs], [label for _, label in pairs]


@DATA_SOURCES.register_module()
class ImageList(DataSource):
    """Images named by a text file, one `path` or `path label` per line.

    A path may hold spaces (`a b.jpg 3` is 'a b.jpg' with label 3). All lines are labelled or none is; see `read_list` for
    the one ambiguity.

    Args:
        root: folder that the paths start from.
        list_file: the text file.
        memcached: read through the module `mc`; falls back to files with a warning when it is not installed.
        mclient_path: folder of memcached's configuration.
        return_label: hand out labels where the list has them.

    Raises:
        DataError: the list cannot be used, or `root` has none of its first, last and middle files.
    """

    def __init__(self, root: str, list_file: str, memcached: bool = False, mclient_path: str | None = None,
                 return_label: bool = True) -> None:
        super().__init__(return_label)
        self.root = os.path.expanduser(root)
        self._reader = open_reader(memcached, mclient_path)
        names, labels = read_list(os.path.expanduser(list_file), lambda name: os.path.exists(os.path.join(self.root, name)))
        self._names = NameTable(names)
        self.labels = None if labels is None else np.asarray(labels, dtype=np.int64)
        if self._reader is None:
            self._look_at_files(list_file)

    def _look_at_files(self, list_file: str) -> None:
        """A wrong `root` shows now, not as thousands of unreadable files."""
        tried = [self.describe(int(i)) for i in np.linspace(0, len(self) - 1, FILES_TRIED)]
        if not any(os.path.exists(path) for path in tried):
            raise DataError(f"root='{self.root}' does not hold the images of list_file='{list_file}': there is no '{tried[0]}'. "
                            'Point root to the folder that the names in the list start from.')

    def __len__(self) -> int:
        return len(self._names)

    def describe(self, index: int) -> str:
        return os.path.join(self.root, self._names[index])

    def read_image(self, index: int) -> Image.Image:
        path = self.describe(index)
        return load_rgb(path if self._reader is None else self._reader.read(path))


@DATA_SOURCES.register_module()
class ImageNet(ImageList):
    """ImageNet (ILSVRC 2012) through list files: root data/imagenet/train, list data/imagenet/meta/train.txt."""


@DATA_SOURCES.register_module()
class Places205(ImageList):
    """Places205 through list files: root data/places205/train, list data/places205/meta/train.txt."""
