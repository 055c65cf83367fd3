"""What sources of images with labelled boxes share: the objects of an image, the check of their boxes, compact storage."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from ...errors import ConfigError, DataError, SelfSupWarning
from ..decoding import Exif
from ..decoding.decoder import as_pil
from .base import ByteTable, FileSource, NameTable

BadBoxes = Literal['error', 'clip']
ROUNDING = 1.0  # pixels that a box may reach out of its image: annotation files round
FILES_TRIED = 8
SHOWN = 5


@dataclass(frozen=True)
class Objects:
    """The objects of one image.

    Attributes:
        boxes: (N, 4) float32: x1, y1, x2, y2 in pixels; 0 and the width are the edges of the image.
        labels: (N,) int64 from 0.
        difficult: (N,) bool: objects that an evaluation leaves out.
        segments: what the masks are made of, one entry per object; None without masks.
    """

    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray
    segments: list[Any] | None = None

    def __len__(self) -> int:
        return len(self.labels)


class BoxCheck:
    """Boxes brought into their image, and a list of those that no image can have.

    Args:
        policy: 'error': `finish` raises for boxes outside of the image and boxes without area. 'clip': boxes are cut off at the edges, and
            left out where nothing remains.
    """

    def __init__(self, policy: BadBoxes) -> None:
        self.policy = policy
        self.bad: list[str] = []

    def inside(self, box: Sequence[float], width: int, height: int, name: str) -> list[float] | None:
        """`box` (x1, y1, x2, y2) cut off at the edges of its image; None: leave the object out."""
        x1, y1, x2, y2 = box
        cut = [
            float(np.float32(min(max(value, 0), side)))
            for value, side in zip(box, (width, height, width, height), strict=True)
        ]
        empty = cut[2] <= cut[0] or cut[3] <= cut[1]
        if empty or max(abs(a - b) for a, b in zip(box, cut, strict=True)) > ROUNDING:
            shown = ', '.join(f'{value:g}' for value in box)
            self.bad.append(
                f'{name}: box ({shown}) {"has no area" if x2 <= x1 or y2 <= y1 else f"in an image of {width} x {height}"}'
            )
        return None if empty else cut

    def finish(self, where: str) -> None:
        """Raise a DataError or warn about what was found in the file or folder `where`."""
        if not self.bad:
            return
        more = f'; ... ({len(self.bad)} in all)' if len(self.bad) > SHOWN else ''
        text = f'{where}: boxes outside of their image or without area: {"; ".join(self.bad[:SHOWN])}{more}.'
        if self.policy == 'error':
            raise DataError(
                f"{text} Correct them, or set bad_boxes='clip' to cut boxes off at the edges and leave out what has no area."
            )
        warnings.warn(
            f'{text} They were cut off at the edges; those without area are left out.', SelfSupWarning, stacklevel=3
        )


class BoxSource(FileSource):
    """Images with objects. A subclass reads its annotations and calls `store`.

    Boxes and masks are those of the image as it is read: with `exif='ignore'` as it is stored, with 'apply' as it is shown. They are never
    turned; an image whose size then differs from its annotation is refused.

    Args:
        exif: see `Decoder`.

    Attributes:
        classes: name of each class.
        sizes: (N, 2) int64 height and width of each image.
        left_out: number of images that `keep_empty=False` left out.
    """

    classes: list[str]
    sizes: np.ndarray
    left_out: int

    def __init__(self, exif: Exif = 'ignore') -> None:
        super().__init__(exif=exif)

    def store(
        self,
        names: Sequence[str],
        sizes: Sequence[tuple[int, int]],
        objects: Sequence[Objects],
        where: str,
        left_out: int,
    ) -> None:
        """Keep images `names` (paths from `self.root`), their (height, width) and their objects.

        Raises:
            DataError: there is no image, or `self.root` has none of the first, last and middle files.
        """
        if not names:
            raise DataError(f'{where} names no image with objects.')
        self.left_out = left_out
        self._names = NameTable(names)
        self.sizes = np.asarray(sizes, dtype=np.int64).reshape(-1, 2)
        self._objects = ByteTable(pickle.dumps(one, protocol=pickle.HIGHEST_PROTOCOL) for one in objects)
        tried = [self.describe(int(i)) for i in np.linspace(0, len(self) - 1, FILES_TRIED)]
        if not any(os.path.exists(path) for path in tried):
            raise DataError(
                f"root='{self.root}' does not hold the images of {where}: there is no '{tried[0]}'. Point root to the folder "
                'that their names start from.'
            )

    @property
    def num_classes(self) -> int:
        """Number of classes of objects."""
        return len(self.classes)

    def objects(self, index: int) -> Objects:
        """The objects of image number `index`."""
        return pickle.loads(self._objects[index])  # written by `store`

    def read_image(self, index: int) -> Image.Image:
        """RGB image number `index`.

        Raises:
            DataError: it has another size than its annotation says, so that no box would be where it belongs.
        """
        image = as_pil(super().read_image(index))
        height, width = self.sizes[index].tolist()
        if image.size != (width, height):
            raise DataError(
                f'{self.describe(index)} has {image.width} x {image.height} pixels, its annotation says {width} x {height}.'
                f'{self._why_turned() if image.size == (height, width) else ""}'
            )
        return image

    def _why_turned(self) -> str:
        stored = self.decoder.exif == 'ignore'
        return (
            f' Boxes are not turned, and images are read as they are {"stored" if stored else "shown"}: where boxes were drawn on them as '
            f"they are {'shown' if stored else 'stored'}, set exif='{'apply' if stored else 'ignore'}' of the data source."
        )

    def get_sample(self, index: int) -> tuple[Image.Image, Objects]:
        """RGB image and its objects."""
        return self.read_image(index), self.objects(index)

    def masks(self, index: int, objects: Objects) -> np.ndarray:
        """(N, H, W) uint8 masks in {0, 1} of the objects of an image."""
        raise ConfigError(f'{type(self).__name__} has boxes only: set masks=False.')
