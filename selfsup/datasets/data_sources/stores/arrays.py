"""Images in NumPy's files, one array for all."""

from __future__ import annotations

import os
from typing import Any, Literal

import numpy as np
from PIL import Image

from ....arguments import Count
from ....errors import DataError
from ....registry import DATA_SOURCES
from ...decoding import Backend, Decoder, Pixels, ValueRange, as_kept_type
from ..base import DataSource, PathLike
from .base import content_hint
from .labels import class_numbers, numbered
from .npz import chosen_key, is_npz, open_array

IMAGES = ('images', 'image', 'x_train', 'train_images', 'x', 'X', 'data', 'imgs', 'arr_0')
LABELS = ('labels', 'label', 'y_train', 'train_labels', 'y', 'targets', 'target', 'classes', 'fine_labels', 'arr_1')
MOST_CHANNELS = 16  # what is longer is height or width, where nothing is said
Layout = Literal['NHW', 'NHWC', 'NCHW']


@DATA_SOURCES.register_module()
class NumpyArray(DataSource):
    """Images that are one array (N, H, W), (N, H, W, C) or (N, C, H, W) in a `.npy` or `.npz` file.

    The file is memory-mapped, so nothing but the images that are asked for is read, and all workers share what is; only a compressed
    `.npz` is unpacked into memory, once, before workers are forked. With 3 channels and no `value_range` the images are RGB: grey is
    repeated, of 16 bits the upper 8 are kept. Otherwise they are handed out as they are, (C, H, W).

    Args:
        images: the file.
        key: of the images in a `.npz`; None: one of the usual ones, or the only one.
        labels: a `.npy` or `.npz` file with the labels (N,); None: the `.npz` of the images, if it has some.
        label_key: of the labels in a `.npz`; None: one of the usual ones.
        layout: order of the axes, where their lengths do not tell.
        return_label: hand out labels where there are any.
        channels: of the images.
        value_range: darkest and brightest value; needed for floats, and for whole numbers of more than 16 bits or with a sign.

    Raises:
        ConfigError: a range that is none.
        DataError: no such file or key, an array that is none of these, of values without a known range, or of other channels.
    """

    def __init__(
        self,
        images: PathLike,
        key: str | None = None,
        labels: PathLike | None = None,
        label_key: str | None = None,
        layout: Layout | None = None,
        return_label: bool = True,
        channels: Count = 3,
        value_range: ValueRange | None = None,
    ) -> None:
        super().__init__(return_label)
        self.path = os.path.expanduser(images)
        self.value_range = Decoder(channels, value_range).value_range
        self.key = chosen_key(self.path, key, IMAGES, 'key', 'images')
        self.backend: Backend = 'reference'
        self._array: np.ndarray | None = None
        array = self._opened()
        where = f"images='{self.path}'{'' if self.key is None else f', key={self.key!r}'}"
        self.layout = _layout(array.shape, layout, where)
        self._check(array, where, channels)
        self.channels = channels
        self._size = len(array)
        self._find_labels(labels, label_key)

    def _opened(self) -> np.ndarray:
        if self._array is None:
            self._array = open_array(self.path, self.key)
        return self._array

    def _check(self, array: np.ndarray, where: str, channels: int) -> None:
        found = 1 if self.layout == 'NHW' else array.shape[1 if self.layout == 'NCHW' else 3]
        if not array.size:
            raise DataError(f'{where} holds no images: its shape is {array.shape}.')
        if found != channels and (channels != 3 or found != 1 or self.value_range is not None):
            raise DataError(
                f'{where} of shape {array.shape}, read as {self.layout}, has {found} channel{"s" if found > 1 else ""}: set '
                f'channels={found}, or layout=.'
            )
        if array.dtype.kind not in 'buif':
            raise DataError(f'{where} holds {array.dtype}; images are whole numbers or floats.')
        if array.dtype not in (np.uint8, np.uint16, np.bool) and self.value_range is None:
            raise DataError(
                f'{where} holds {array.dtype}, of which nobody knows the range: set value_range=(0, 1), or whatever its darkest and '
                'brightest values are.'
            )
        self._rgb = channels == 3 and self.value_range is None

    def _find_labels(self, labels: PathLike | None, label_key: str | None) -> None:
        file = self.path if labels is None else os.path.expanduser(labels)
        if labels is None and not is_npz(file):
            self.no_labels = 'the array of images has none beside it; give a second file as labels=.'
            return
        paired = (
            (str(self.key).replace('images', 'labels').replace('x', 'y').replace('X', 'y'),) if labels is None else ()
        )
        try:
            key = chosen_key(file, label_key, (*paired, *LABELS), 'label_key', 'labels')
        except DataError as error:
            if labels is not None or label_key is not None:
                raise
            self.no_labels = str(error)
            return
        if labels is None and key == self.key:
            self.no_labels = f"'{self.path}' holds no array of labels."
            return
        values = np.asarray(open_array(file, key))
        named = f"labels='{file}'"
        values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
        if values.shape != (self._size,):
            raise DataError(
                f'{named} has the shape {values.shape}, but there are {self._size} images: one label each is needed.'
            )
        if values.dtype.kind in 'US':
            texts, which = np.unique(values.astype(str), return_inverse=True)
            self.labels, self.classes = numbered(texts.tolist(), which, named)
        else:
            self.labels = class_numbers(values, named)

    def use_backend(self, backend: Backend) -> None:
        """What RGB images are handed out as."""
        self.backend = backend

    def __len__(self) -> int:
        return self._size

    def name(self, index: int) -> str:
        """What image `index` is called wherever the file lies."""
        return f'image {index}'

    def describe(self, index: int) -> str:
        return f'{self.path}: {self.name(index)}'

    def content_hint(self) -> str:
        """What tells these images from others under the same names, see `digest.py`."""
        return content_hint(self._size, lambda index: self._opened()[index].tobytes())

    def read_image(self, index: int) -> Pixels:
        image = np.array(self._opened()[index])  # out of the file, and writable
        if self._rgb:
            return self._as_rgb(image)
        if self.layout == 'NHW':
            image = image[None]
        elif self.layout == 'NHWC':
            image = image.transpose(2, 0, 1)
        return np.ascontiguousarray(as_kept_type(image, self.value_range))

    def _as_rgb(self, image: np.ndarray) -> Pixels:
        image = as_kept_type(image, None)
        if image.dtype == np.uint16:
            image = image >> 8
        if self.layout == 'NCHW':
            image = image.transpose(1, 2, 0)
        elif self.layout == 'NHW':
            image = image[..., None]
        image = image.repeat(3, axis=2) if image.shape[2] == 1 else image
        image = np.ascontiguousarray(image, dtype=np.uint8)
        return image if self.backend == 'fast' else Image.fromarray(image)

    def __getstate__(self) -> dict[str, Any]:
        """A memory-mapped array is opened again where it arrives: pickled, it would be the whole file."""
        return {**self.__dict__, '_array': None} if isinstance(self._array, np.memmap) else dict(self.__dict__)


def _layout(shape: tuple[int, ...], layout: Layout | None, where: str) -> Layout:
    """Order of the axes: as given, or as their lengths say."""
    axes = {3: ('NHW',), 4: ('NHWC', 'NCHW')}.get(len(shape), ())
    if not axes:
        raise DataError(f'{where} has the shape {shape}; images are (N, H, W), (N, H, W, C) or (N, C, H, W).')
    if layout is not None:
        if layout not in axes:
            raise DataError(f"{where} has the shape {shape}, which is not layout='{layout}': {' or '.join(axes)}.")
        return layout
    if len(shape) == 3:
        return 'NHW'
    last, first = shape[3] <= MOST_CHANNELS, shape[1] <= MOST_CHANNELS
    if last == first:
        raise DataError(
            f"{where} has the shape {shape}: which axis holds the channels cannot be told. Set layout='NHWC' or layout='NCHW'."
        )
    return 'NHWC' if last else 'NCHW'
