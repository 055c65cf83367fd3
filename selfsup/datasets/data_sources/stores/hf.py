"""Data sets of the `datasets` library: from the hub, from a folder, from Parquet files."""

from __future__ import annotations

import os
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge

from ....arguments import Count
from ....errors import ConfigError, DataError
from ....registry import DATA_SOURCES
from ...decoding import Exif, ValueRange
from ..base import PathLike
from .base import StoredSource, bytes_of, content_hint, needed
from .hf_load import WHO, image_column, label_column, load
from .hf_stream import Stream
from .labels import class_numbers, numbered

BLOCKS = 16  # of a window, as `WindowSampler` has them where nothing else is said
STREAM_SAMPLES = 4  # of which a stream's hint of its content is made: the first ones


@DATA_SOURCES.register_module()
class HFDataset(StoredSource):
    """A data set of the `datasets` library (Hugging Face). Its images are decoded here, like those of any other source.

    Without `streaming`, its Arrow files are memory-mapped and any order is as fast as another; from the hub they are downloaded first, to
    the library's cache (`HF_HOME`). With `streaming=True` nothing is kept on disk, but the images can only be read forwards: training
    shuffles within a window that moves along the stream (`WindowSampler`), every loader worker of every process reads the whole stream, a
    resume reads forward to its place, and there are no labels.

    Args:
        path: a name on the hub, a folder that `save_to_disk` wrote, Parquet files (one, or a pattern), or a folder of data.
        name: of a configuration of it.
        split: such as 'train', 'test', 'train[:10%]'; None: 'train', or the only one.
        revision: of a data set on the hub: a commit, branch or tag.
        image: column of images; None: the one of type `Image`, or else of bytes or paths.
        label: column of labels, a `ClassLabel`, whole numbers or names; None: the only `ClassLabel`, or what is called as labels are.
        streaming: read forwards, without downloading all first.
        number: of a stream: how many of its examples there are or are wanted. None: as the hub says, or else they are counted.
        window_images: of a stream: examples kept in memory by each worker; training shuffles within 3/4 of that.
        root: folder that paths start from.
        return_label: hand out labels where there are any.
        channels: of the images, see `Decoder`.
        value_range: see `Decoder`.
        exif: see `Decoder`.

    Raises:
        ConfigError: arguments of a stream without `streaming`.
        DataError: the package is missing, the data set cannot be loaded, or a column is not there or not what is needed.
    """

    def __init__(
        self,
        path: PathLike,
        name: str | None = None,
        split: str | None = None,
        revision: str | None = None,
        image: str | None = None,
        label: str | None = None,
        streaming: bool = False,
        number: Count | None = None,
        window_images: Annotated[int, Ge(32)] = 2000,
        root: PathLike = '.',
        return_label: bool = True,
        channels: Count = 3,
        value_range: ValueRange | None = None,
        exif: Exif = 'ignore',
    ) -> None:
        super().__init__(return_label, channels, value_range, exif)
        if number is not None and not streaming:
            raise ConfigError(
                f"HFDataset number={number}: it is for streaming=True; otherwise split='train[:{number}]' takes some."
            )
        self.path, self.root = os.fspath(path), os.path.expanduser(root)
        examples = load(self.path, name, split, revision, streaming)
        self.split = str(split or examples.split or '')
        features = examples.features
        self.image, typed = image_column(features, image, self.path)
        column, reason = label_column(features, self.image, label, self.path)
        images = examples.select_columns([self.image])
        if typed:
            images = images.cast_column(self.image, needed('datasets', WHO).Image(decode=False))
        self.stream: Stream | None = None
        if streaming:
            self._start(images, examples, number, window_images)
            self.no_labels = 'labels of a stream are not known before it is read; load it without streaming=True.'
        else:
            self._images, self._size = images, len(images)
            if not self._size:
                raise DataError(f"path='{self.path}', split '{self.split}' has no examples.")
            self._find_labels(examples, column, reason, label is not None)

    def _start(self, images: Any, examples: Any, number: int | None, window_images: int) -> None:
        named = f"the stream path='{self.path}'"
        self.stream = Stream(images, self.image, window_images, named)
        known = getattr((examples.info.splits or {}).get(self.split), 'num_examples', None)
        self._size = number or known or self.stream.count()
        block = max(1, window_images * 3 // 4 // BLOCKS)
        self.blocks = self.locality = np.arange(0, self._size, block)
        self.in_order = True

    def _find_labels(self, examples: Any, column: str | None, reason: str, asked: bool) -> None:
        if column is None:
            self.no_labels = reason
            return
        named, classes = f"column '{column}' of path='{self.path}'", getattr(examples.features[column], 'names', None)
        # as a table: an index of rows, where the data set has one, is followed, and no number becomes a Python object
        cells = examples.select_columns([column]).with_format('arrow')[:].column(column).combine_chunks()
        try:
            if classes is not None:
                self.labels, self.classes = self._class_labels(cells, named), list(classes)
            elif getattr(examples.features[column], 'dtype', '') in ('string', 'large_string'):
                encoded = cells.dictionary_encode(null_encoding='encode')
                self.labels, self.classes = numbered(encoded.dictionary.to_pylist(), encoded.indices.to_numpy(), named)
            else:
                self.labels = class_numbers(cells.to_numpy(zero_copy_only=False), named)
        except DataError as error:
            self.labels = self.classes = None
            if asked:
                raise
            self.no_labels = str(error)

    @staticmethod
    def _class_labels(cells: Any, named: str) -> np.ndarray:
        numbers = cells.fill_null(-1).to_numpy(zero_copy_only=False)
        if (numbers == -1).all():
            raise DataError(f'{named} is -1 throughout, which stands for labels that are not given.')
        return class_numbers(numbers, named)

    def __len__(self) -> int:
        return self._size

    def name(self, index: int) -> str:
        return f'example {index}'

    def describe(self, index: int) -> str:
        return f'{self.path}{f" ({self.split})" if self.split else ""}: {self.name(index)}'

    def content_hint(self) -> str | None:
        return (
            super().content_hint()
            if self.stream is None
            else content_hint(min(self._size, STREAM_SAMPLES), self.read_bytes)
        )

    def read_bytes(self, index: int) -> bytes:
        cell = self._images[index][self.image] if self.stream is None else self.stream.read(index)
        return bytes_of(cell, self.root)
