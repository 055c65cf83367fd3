"""Images named by a list file."""

from __future__ import annotations

import os
import warnings

import numpy as np

from ...arguments import Count
from ...errors import SelfSupWarning
from ...registry import DATA_SOURCES
from ..decoding import Exif, ValueRange
from .base import FileSource, NameTable, PathLike
from .list_files import label_warnings, read_list, why_missing
from .memcached import open_reader
from .missing_files import look_at_files


@DATA_SOURCES.register_module()
class ImageList(FileSource):
    """Images named by a text file, one `path` or `path label` per line, or as CSV; see `read_list` for the forms it may have.

    A path may hold spaces (`a b.jpg 3` is 'a b.jpg' with label 3). All lines are labelled or none is. Labels that begin with 1 or leave
    numbers out are warned about.

    Args:
        root: folder that the paths start from.
        list_file: the text file.
        memcached: read through the module `mc`; falls back to files with a warning when it is not installed.
        mclient_path: folder of memcached's configuration.
        return_label: hand out labels where the list has them.
        channels: of the images. 3: RGB with 8 bits, whatever the files hold; another number: arrays, and files must have as many.
        value_range: darkest and brightest value of images with other channels or other values than 8 bits; with it, 3 channels keep all
            their bits. None: 0 and the largest number of their type.
        exif: 'apply' turns images as their EXIF orientation says, 'ignore' reads them as they are stored.

    Raises:
        ConfigError: a range that is none.
        DataError: the list cannot be used, or more than 1 % of its files are missing (of a list of more than 1,000: 5 % of 1,000).
    """

    def __init__(
        self,
        root: PathLike,
        list_file: PathLike,
        memcached: bool = False,
        mclient_path: PathLike | None = None,
        return_label: bool = True,
        channels: Count = 3,
        value_range: ValueRange | None = None,
        exif: Exif = 'ignore',
    ) -> None:
        super().__init__(return_label, channels, value_range, exif)
        self.root = os.path.expanduser(root)
        self._reader = open_reader(memcached, mclient_path)
        names, labels = read_list(
            os.path.expanduser(list_file), lambda name: os.path.exists(os.path.join(self.root, name))
        )
        self._names = NameTable(names)
        self.labels = None if labels is None else np.asarray(labels, dtype=np.int64)
        if self._reader is None:
            look_at_files(self, f"list_file='{list_file}'", lambda name: why_missing(self.root, name))
        for text in label_warnings(self.labels) if self.labels is not None and return_label else ():
            warnings.warn(f"list_file='{list_file}': {text}", SelfSupWarning, stacklevel=3)

    def folders_of_labels(self) -> dict[int, str]:
        """Label -> first folder of the paths that carry it; empty unless each label has one folder, and each folder one label."""
        if self.labels is None:
            return {}
        folders: dict[int, str] = {}
        for index, label in enumerate(self.labels.tolist()):
            folder, separator, _ = self._names[index].removeprefix('./').partition('/')
            if not separator or folders.setdefault(label, folder) != folder:
                return {}
        return folders if len(set(folders.values())) == len(folders) else {}

    def read_bytes(self, index: int) -> bytes:
        return super().read_bytes(index) if self._reader is None else self._reader.read(self.describe(index))


@DATA_SOURCES.register_module()
class ImageNet(ImageList):
    """ImageNet (ILSVRC 2012) through list files: root data/imagenet/train, list data/imagenet/meta/train.txt."""


@DATA_SOURCES.register_module()
class Places205(ImageList):
    """Places205 through list files: root data/places205/train, list data/places205/meta/train.txt."""
