"""Objects annotated in one JSON file, as COCO's (arXiv:1405.0312; cocodataset.org, "Data format")."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from ...errors import DataError
from ...registry import DATA_SOURCES
from ..decoding import Exif
from .base import PathLike
from .boxes import BadBoxes, BoxCheck, BoxSource, Objects

SECTIONS = ('images', 'annotations', 'categories')
LARGEST = 10**9  # pixels: of a side, of a number in a box
LARGEST_ID = 2**63 - 1


@DATA_SOURCES.register_module()
class COCO(BoxSource):
    """COCO, or any data set in its format. Crowds (`iscrowd`) are no objects to train on; the evaluation reads them itself.

    Args:
        root: folder that the `file_name`s start from: data/coco/train2017.
        ann_file: data/coco/annotations/instances_train2017.json.
        masks: keep what masks are made of.
        keep_empty: keep images without objects: True for evaluation, False for training.
        bad_boxes: 'error' or 'clip', see `BoxCheck`. COCO's own files have boxes without area: 'clip'.
        exif: 'ignore': boxes lie in the images as they are stored; 'apply': in the images as they are shown, see `BoxSource`.

    Attributes:
        image_ids: int64 (N,) id of each image.
        category_ids: id of each class; classes are numbered by ascending id.

    Raises:
        DataError: the file cannot be read, lacks a section or a field, an annotation names an image or a category that is not in it, a box
            cannot be, or `root` does not hold the images.
    """

    def __init__(
        self,
        root: PathLike,
        ann_file: PathLike,
        masks: bool = False,
        keep_empty: bool = True,
        bad_boxes: BadBoxes = 'error',
        exif: Exif = 'ignore',
    ) -> None:
        super().__init__(exif)
        self.root, self.ann_file = os.path.expanduser(root), os.path.expanduser(ann_file)
        self.with_masks = masks
        content = read_annotations(self.ann_file)
        categories = _by_id(content['categories'], 'categories', ('name',), self.ann_file)
        self.category_ids = sorted(categories)
        self.classes = [str(categories[number]['name']) for number in self.category_ids]
        images = _by_id(content['images'], 'images', ('file_name', 'height', 'width'), self.ann_file)
        for number, image in images.items():
            if not all(type(image[side]) is int and 0 < image[side] <= LARGEST for side in ('height', 'width')):
                raise DataError(f"ann_file='{self.ann_file}': image {number} has no height and width in pixels.")
            if not isinstance(image['file_name'], str):
                raise DataError(
                    f"ann_file='{self.ann_file}': image {number} has file_name={image['file_name']!r}, which is no path."
                )
        grouped = self._objects_of(content['annotations'], images, BoxCheck(bad_boxes))
        chosen = [number for number in images if keep_empty or len(grouped[number])]
        self.image_ids = np.asarray(chosen, dtype=np.int64)
        self.store(
            [images[n]['file_name'] for n in chosen],
            [(images[n]['height'], images[n]['width']) for n in chosen],
            [grouped[n] for n in chosen],
            f"ann_file='{self.ann_file}'",
            len(images) - len(chosen),
        )

    def _objects_of(self, annotations: list[dict], images: dict[int, dict], check: BoxCheck) -> dict[int, Objects]:
        labels = {number: label for label, number in enumerate(self.category_ids)}
        rows: dict[int, list[tuple]] = {number: [] for number in images}
        for place, annotation in enumerate(annotations):
            if not isinstance(annotation, dict):
                raise DataError(
                    f"ann_file='{self.ann_file}': entry {place} of 'annotations' is {annotation!r:.40}, not an annotation."
                )
            name = f'annotation {annotation.get("id", "?")}'
            image, category, crowd = (annotation.get(key) for key in ('image_id', 'category_id', 'iscrowd'))
            if type(image) is not int or image not in images:
                raise DataError(
                    f"ann_file='{self.ann_file}': {name} has image_id={image!r}, which is none of its {len(images)} images."
                )
            if type(category) is not int or category not in labels:
                raise DataError(
                    f"ann_file='{self.ann_file}': {name} has category_id={category!r}, which is none of its categories: "
                    f'{", ".join(map(str, self.category_ids[:20]))}.'
                )
            if crowd not in (None, 0, 1):
                raise DataError(f"ann_file='{self.ann_file}': {name} has iscrowd={crowd!r}; it must be 0 or 1.")
            if crowd:
                continue
            x, y, width, height = self._numbers(annotation, name)
            box = check.inside((x, y, x + width, y + height), images[image]['width'], images[image]['height'], name)
            segment = self._segment(annotation, images[image], name) if self.with_masks else None
            if segment == []:
                check.bad.append(f'{name}: its segmentation has no area')
            elif box is not None:
                rows[image].append((box, labels[category], segment))
        check.finish(f"ann_file='{self.ann_file}'")
        return {number: self._pack(objects) for number, objects in rows.items()}

    def _numbers(self, annotation: dict, name: str) -> list[float]:
        box = annotation.get('bbox')
        if (
            not isinstance(box, list)
            or len(box) != 4
            or not all(isinstance(v, int | float) and abs(v) <= LARGEST for v in box)
        ):
            raise DataError(f"ann_file='{self.ann_file}': {name} has bbox={box!r}; it must be [x, y, width, height].")
        return box

    def _segment(self, annotation: dict, image: dict, name: str) -> list | dict:
        """Run lengths, or polygons with an area, perhaps none."""
        segment = annotation.get('segmentation')
        if not segment:
            raise DataError(
                f"ann_file='{self.ann_file}': {name} has no segmentation; set masks=False to train boxes alone."
            )
        if isinstance(segment, dict):
            size = [image['height'], image['width']]
            if segment.get('size') != size or not isinstance(segment.get('counts'), str | list):
                raise DataError(
                    f"ann_file='{self.ann_file}': {name} has run lengths without counts, or of another image: their size is "
                    f'{segment.get("size")}, that of the image {size}.'
                )
            return segment
        if not isinstance(segment, list) or any(
            not isinstance(polygon, list) or len(polygon) % 2 for polygon in segment
        ):
            raise DataError(
                f"ann_file='{self.ann_file}': {name} has segmentation={segment!r:.60}; it must be a list of polygons [x, y, x, "
                "y, ...], or run lengths {'counts', 'size'}."
            )
        return [polygon for polygon in segment if len(polygon) >= 6]

    def _pack(self, rows: list[tuple]) -> Objects:
        boxes = np.asarray([box for box, _, _ in rows], dtype=np.float32).reshape(-1, 4)
        labels = np.asarray([label for _, label, _ in rows], dtype=np.int64)
        return Objects(
            boxes, labels, np.zeros(len(rows), dtype=bool), [s for _, _, s in rows] if self.with_masks else None
        )

    def masks(self, index: int, objects: Objects) -> np.ndarray:
        height, width = self.sizes[index].tolist()
        if objects.segments is None:
            raise DataError(f"ann_file='{self.ann_file}' was read without masks: set masks=True of the data source.")
        if not len(objects):
            return np.zeros((0, height, width), dtype=np.uint8)
        coder = mask_coder()
        try:
            return np.stack([_decoded(coder, segment, height, width) for segment in objects.segments])
        except Exception as error:  # pycocotools raises that very class
            raise DataError(
                f'{self.describe(index)}: a segmentation is neither polygons nor run lengths ({error}).'
            ) from None


def mask_coder() -> Any:
    """The module `pycocotools.mask`.

    Raises:
        DataError: pycocotools is not installed.
    """
    try:
        from pycocotools import mask
    except ImportError:
        raise DataError("Masks and COCO's evaluation need pycocotools: pip install selfsup[detection]") from None
    return mask


def _decoded(coder: Any, segment: Any, height: int, width: int) -> np.ndarray:
    """(H, W) mask of polygons [[x, y, ...], ...] or of run lengths {'counts', 'size'}."""
    if isinstance(segment, dict) and isinstance(segment['counts'], (str, bytes)):
        return coder.decode(segment)
    runs = coder.frPyObjects(segment, height, width)
    return coder.decode(coder.merge(runs) if isinstance(runs, list) else runs)


def read_annotations(path: str) -> dict:
    """The content of an annotation file with its three sections.

    Raises:
        DataError: it cannot be read, is no JSON, or lacks a section; it has no image or no category.
    """
    try:
        with open(path, encoding='utf-8-sig') as file:  # some editors put a byte order mark first
            content = json.load(file)
    except OSError as error:
        raise DataError(
            f"ann_file='{path}' cannot be read: {error.strerror}. Give a JSON file in COCO's format."
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"ann_file='{path}' is no JSON, or was cut off: {error}.") from None
    missing = [name for name in SECTIONS if not isinstance(content, dict) or not isinstance(content.get(name), list)]
    if missing:
        raise DataError(
            f"ann_file='{path}' is not in COCO's format: it lacks the list{'s' if len(missing) > 1 else ''} "
            f'{", ".join(map(repr, missing))}.'
        )
    for name in ('images', 'categories'):
        if not content[name]:
            raise DataError(f"ann_file='{path}' has no {name}: its list '{name}' is empty.")
    return content


def _by_id(rows: list[dict], section: str, fields: tuple[str, ...], path: str) -> dict[int, dict]:
    """Rows by their id."""
    by_id: dict[int, dict] = {}
    for number, row in enumerate(rows):
        missing = [field for field in ('id', *fields) if not isinstance(row, dict) or field not in row]
        if missing:
            raise DataError(f"ann_file='{path}': entry {number} of '{section}' has no {', '.join(map(repr, missing))}.")
        if type(row['id']) is not int or abs(row['id']) > LARGEST_ID:
            raise DataError(
                f"ann_file='{path}': entry {number} of '{section}' has id={row['id']!r}; ids are whole numbers."
            )
        if row['id'] in by_id:
            raise DataError(f"ann_file='{path}': two {section} have the id {row['id']!r}.")
        by_id[row['id']] = row
    return by_id
