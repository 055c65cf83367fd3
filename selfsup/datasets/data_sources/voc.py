"""Objects annotated in one XML file per image, as PASCAL VOC's (Everingham et al. 2010)."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Annotated
from xml.etree import ElementTree

import numpy as np
from annotated_types import Len

from ...errors import ConfigError, DataError, did_you_mean
from ...registry import DATA_SOURCES
from ..decoding import Exif
from .base import PathLike
from .boxes import BadBoxes, BoxCheck, BoxSource, Objects

CLASSES = (
    'aeroplane',
    'bicycle',
    'bird',
    'boat',
    'bottle',
    'bus',
    'car',
    'cat',
    'chair',
    'cow',
    'diningtable',
    'dog',
    'horse',
    'motorbike',
    'person',
    'pottedplant',
    'sheep',
    'sofa',
    'train',
    'tvmonitor',
)


@DATA_SOURCES.register_module()
class VOCDetection(BoxSource):
    """VOC2007 and VOC2012, or any data set in their layout: ImageSets/Main/SPLIT.txt, Annotations/NAME.xml, JPEGImages/NAME.jpg.

    Difficult objects are trained on and marked as `difficult`: the evaluation leaves them out. VOC counts pixels from 1 and includes the
    last one; boxes here run from edge to edge, so 1 is subtracted from x1 and y1 alone.

    Args:
        root: folder of the years: data/VOCdevkit.
        splits: 'YEAR/SPLIT' each: ('VOC2007/trainval', 'VOC2012/trainval').
        classes: names of the classes in their order; None: VOC's 20.
        keep_empty: keep images without objects: True for evaluation.
        bad_boxes: 'error' or 'clip', see `BoxCheck`.
        exif: 'ignore': boxes lie in the images as they are stored; 'apply': in the images as they are shown, see `BoxSource`.

    Raises:
        ConfigError: `splits` is not written as above.
        DataError: a list or an annotation cannot be read, an object is of no known class, a box cannot be, or the images are missing.
    """

    def __init__(
        self,
        root: PathLike,
        splits: Annotated[Sequence[str], Len(1)],
        classes: Sequence[str] | None = None,
        keep_empty: bool = True,
        bad_boxes: BadBoxes = 'error',
        exif: Exif = 'ignore',
    ) -> None:
        super().__init__(exif)
        self.root = os.path.expanduser(root)
        self.classes = list(CLASSES if classes is None else classes)
        if any(split.count('/') != 1 for split in splits):
            raise ConfigError(f"VOCDetection splits={splits!r}: write ('VOC2007/trainval',).")
        self._numbers = {name: number for number, name in enumerate(self.classes)}
        check = BoxCheck(bad_boxes)
        names, sizes, objects, read = [], [], [], 0
        for split in splits:
            year, part = split.split('/')
            for name in self._listed(os.path.join(self.root, year, 'ImageSets', 'Main', f'{part}.txt')):
                size, inside = self._read(os.path.join(self.root, year, 'Annotations', f'{name}.xml'), check)
                read += 1
                if keep_empty or len(inside):
                    names.append(f'{year}/JPEGImages/{name}.jpg')
                    sizes.append(size)
                    objects.append(inside)
        check.finish(f"root='{self.root}'")
        self.store(names, sizes, objects, f'splits={", ".join(splits)}', read - len(names))

    def _listed(self, path: str) -> list[str]:
        try:
            with open(path, encoding='utf-8') as file:
                return [line.split()[0] for line in file if line.strip()]
        except OSError as error:
            raise DataError(
                f'{path} cannot be read: {error.strerror}. Point root to the folder that holds VOC2007 and VOC2012.'
            ) from None
        except UnicodeDecodeError as error:
            raise DataError(f'{path} is no list of names: {error}.') from None

    def _read(self, path: str, check: BoxCheck) -> tuple[tuple[int, int], Objects]:
        """Size (height, width) of an image, and its objects."""
        try:
            tree = ElementTree.parse(path).getroot()
        except OSError as error:
            raise DataError(f'{path} cannot be read: {error.strerror}.') from None
        except ElementTree.ParseError as error:
            raise DataError(f'{path} is no XML: {error}.') from None
        height, width = (int(_number(tree, f'size/{side}', path)) for side in ('height', 'width'))
        boxes, labels, difficult = [], [], []
        for number, element in enumerate(tree.iter('object'), 1):
            kind = (element.findtext('name') or '').strip()
            if kind not in self._numbers:
                raise DataError(
                    f'{path}: object {number} is a {kind!r}, which is none of the classes.{did_you_mean(kind, self.classes)}'
                )
            x1, y1, x2, y2 = (_number(element, f'bndbox/{side}', path) for side in ('xmin', 'ymin', 'xmax', 'ymax'))
            box = check.inside((x1 - 1, y1 - 1, x2, y2), width, height, f'{os.path.basename(path)} object {number}')
            if box is not None:
                boxes.append(box)
                labels.append(self._numbers[kind])
                difficult.append((element.findtext('difficult') or '0').strip() == '1')
        return (height, width), Objects(
            np.asarray(boxes, dtype=np.float32).reshape(-1, 4),
            np.asarray(labels, dtype=np.int64),
            np.asarray(difficult, dtype=bool),
        )


def _number(tree: ElementTree.Element, path: str, file: str) -> float:
    text = tree.findtext(path)
    try:
        number = float(text or '')
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f'{file}: {path} is {text!r}, not a number.')
    return number
