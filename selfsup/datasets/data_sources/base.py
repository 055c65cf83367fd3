"""What every data source offers, and the compact table that holds millions of file names."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np

from ...arguments import Count
from ..decoding import Backend, Decoder, Exif, Pixels, ValueRange

PathLike = str | os.PathLike  # of a file or folder; `~` is the home


class ByteTable:
    """A read-only list of byte strings in two buffers.

    Reading a Python list touches the reference count of every item, so each forked loader worker would end up with a
    private copy of the list: about 100 MB per worker for ImageNet. Two buffers have two reference counts.

    Args:
        items: the byte strings.
    """

    def __init__(self, items: Iterable[bytes]) -> None:
        items = list(items)
        self._ends = np.cumsum([len(item) for item in items], dtype=np.int64)
        self._joined = b''.join(items)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = self._ends[index - 1] if index else 0
        return self._joined[start : self._ends[index]]


class NameTable(ByteTable):
    """A read-only list of strings.

    Args:
        names: the strings; bytes that are no UTF-8 survive, as in `os.listdir`.
    """

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(os.fsencode(name) for name in names)

    def __getitem__(self, index: int) -> str:
        return os.fsdecode(super().__getitem__(index))


class DataSource(ABC):
    """Images by number, perhaps with labels. A source of your own defines `__len__`, `read_image` and `describe`.

    Attributes:
        labels: int64 (N,) class numbers from 0, or None.
        classes: name of each class, or None.
        no_labels: why there are no labels where some seem meant; for messages.
        channels: of its images; None: not known before they are read.
        blocks: int64 numbers of the first sample of each block that the images are stored in (a tar shard, a row group), ascending from 0,
            or None.
        locality: `blocks` where reading block by block is much faster than reading here and there, else None. Training then shuffles
            blocks, and images among the blocks of a window: see `WindowSampler`.
        in_order: True where blocks can be read in their order alone, as in a stream.
        lost: number of images that are known to be missing beside the `len(self)` that are there; they count as unreadable.
    """

    labels: np.ndarray | None = None
    classes: list[str] | None = None
    no_labels: str = ''
    blocks: np.ndarray | None = None
    locality: np.ndarray | None = None
    in_order: bool = False
    lost: int = 0
    channels: int | None = None

    def __init__(self, return_label: bool = True) -> None:
        self.return_label = return_label

    @abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    @abstractmethod
    def read_image(self, index: int) -> Pixels:
        """Image number `index`; raises what the decoder raises."""

    @abstractmethod
    def describe(self, index: int) -> str:
        """What to call sample `index` in a message: its path where it has one."""

    def files_left_out(self) -> str:
        """Files that lie where the images are and are not read, counted by ending; '' for none."""
        return ''

    @property
    def num_classes(self) -> int | None:
        """Number of classes; None without labels."""
        if self.labels is None:
            return None
        return len(self.classes) if self.classes is not None else int(self.labels.max()) + 1

    def get_sample(self, index: int) -> Pixels | tuple[Pixels, Any]:
        """Image, or (image, label) where there are labels and `return_label` is True."""
        image = self.read_image(index)
        if self.return_label and self.labels is not None:
            return image, int(self.labels[index])
        return image


class EncodedSource(DataSource):
    """Images that are stored encoded, as files or as bytes in something larger. A subclass defines `read_bytes`.

    Args:
        return_label: hand out labels where there are any.
        channels: of the images, see `Decoder`.
        value_range: darkest and brightest value of images that are no 8-bit RGB, see `Decoder`.
        exif: 'apply' or 'ignore', see `Decoder`.

    Attributes:
        channels: of the images.
        value_range: as stated, or None.
    """

    def __init__(
        self,
        return_label: bool = True,
        channels: Count = 3,
        value_range: ValueRange | None = None,
        exif: Exif = 'ignore',
    ) -> None:
        super().__init__(return_label)
        self.decoder = Decoder(channels, value_range, exif)
        self.channels, self.value_range = self.decoder.channels, self.decoder.value_range

    def use_backend(self, backend: Backend) -> None:
        """How images are decoded from now on."""
        self.decoder.use_backend(backend)

    @abstractmethod
    def read_bytes(self, index: int) -> bytes:
        """The encoded image number `index`."""

    def read_image(self, index: int) -> Pixels:
        return self.decoder(self.read_bytes(index), lambda: self.describe(index))


class FileSource(EncodedSource):
    """Images that are files below a folder.

    Attributes:
        root: the folder that their names start from.
    """

    root: str
    _names: NameTable

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> str:
        """Path of image `index` from `root` on."""
        return self._names[index]

    def describe(self, index: int) -> str:
        return os.path.join(self.root, self._names[index])

    def read_bytes(self, index: int) -> bytes:
        with open(self.describe(index), 'rb') as file:
            return file.read()
