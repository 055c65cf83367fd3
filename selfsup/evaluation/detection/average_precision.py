"""Average precision of a detector on COCO- and VOC-format data, from one or many processes."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ... import distributed as dist
from ...datasets.data_sources.coco import COCO, mask_coder, read_annotations
from ...datasets.data_sources.voc import VOCDetection
from ...datasets.robust import share_unreadable, unreadable
from ...errors import CheckpointError, ConfigError, DataError
from ..features import evaluating, left_out, sample_numbers
from .voc_ap import voc_ap

COCO_STATS = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl')  # the first six of pycocotools' twelve
MOVED = 1.0  # pixels by which a box may differ after a change of size and back


@dataclass(frozen=True)
class Detections:
    """What was found in one image, best first.

    Attributes:
        boxes: (N, 4) float32 x1, y1, x2, y2 in pixels of the image as it lies on the disk.
        labels: (N,) int64 from 0.
        scores: (N,) float32 in [0, 1].
        masks: run lengths of each mask, as pycocotools has them; None without masks.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    masks: list[dict] | None = None

    def mask_pixels(self, chosen: np.ndarray) -> np.ndarray | None:
        """(K, H, W) uint8 masks in {0, 1} of the detections where `chosen` (N,) is True; None without masks."""
        runs = None if self.masks is None else [run for run, wanted in zip(self.masks, chosen, strict=True) if wanted]
        return np.ascontiguousarray(mask_coder().decode(runs).transpose(2, 0, 1)) if runs else None


def evaluate_detector(model: Any, loader: Any) -> dict[str, float]:
    """Average precisions of a detector on a whole data set; every rank calls and gets them. See `detect_and_evaluate`."""
    return detect_and_evaluate(model, loader)[0]


def detect_and_evaluate(model: Any, loader: Any) -> tuple[dict[str, float], list[Detections]]:
    """Average precisions of a detector on a whole data set, and the detections of each image.

    Args:
        model: with `predict(img)`, see `Detection`; a DDP wrapper is looked through.
        loader: over a `DetectionDataset`, every sample once, unshuffled.

    Returns:
        Percent, on every rank. COCO: `AP` (mean over IoU 0.50 to 0.95), `AP50`, `AP75`, of three sizes `APs`, `APm`, `APl` where there are
        such objects, and with masks `mask_AP`, ... VOC: `AP`, `AP50`, `AP75`, the mean over classes of the 11-point AP of VOC2007.
        Detections in the order of the data set on rank 0, [] on the others.

    Raises:
        CheckpointError: weights are not finite: such a model finds nothing, which would look like an AP of 0.
        DataError: more images than `max_unreadable` cannot be read (fewer are left out, and the log says so), or pycocotools is missing.
        ConfigError: the data have another number of classes than the model, leave out images without objects, or move the objects in
            their images; or their source is neither COCO nor VOCDetection.
    """
    model = getattr(model, 'module', model)
    source = _checked_source(model, loader.dataset)
    detections = detect(model, loader)
    left_out(loader.dataset)
    readable = np.setdiff1d(np.arange(len(source)), unreadable(loader.dataset)).tolist()
    numbers: dict[str, float] = {}
    if dist.is_main():
        if isinstance(source, COCO):
            numbers = coco_ap(source, detections, model.masks, readable)
        else:
            numbers = voc_numbers(source, detections, readable)
    numbers = dist.broadcast_object(numbers)
    if not math.isfinite(numbers.get('AP', math.nan)):
        raise DataError('There is no object in the data to evaluate on, so no average precision.')
    return numbers, detections


def _checked_source(model: Any, dataset: Any) -> COCO | VOCDetection:
    """The data source, if an average precision of this model on it says what it seems to say."""
    source = getattr(dataset, 'data_source', None)
    if not isinstance(source, COCO | VOCDetection):
        raise ConfigError(
            'Detection is evaluated on a DetectionDataset with COCO or VOCDetection; this is '
            f'{type(dataset).__name__} with {type(source).__name__}.'
        )
    if source.num_classes != model.num_classes:
        raise ConfigError(
            f'The data to evaluate on have {source.num_classes} classes, but model.num_classes={model.num_classes}.'
        )
    if source.left_out:
        raise ConfigError(
            f'{source.left_out} images without objects are left out of the data to evaluate on, and with them whatever is '
            'found there by mistake: set keep_empty=True.'
        )
    if isinstance(source, COCO):  # what would stop the evaluation must not do so after all images were seen
        mask_coder()
        if model.masks and dist.is_main():
            _truth(source, masks=True)
    broken = [
        name for name, value in model.state_dict().items() if value.is_floating_point() and not value.isfinite().all()
    ]
    if broken:
        raise CheckpointError(
            f'{len(broken)} tensors of the model hold NaN or infinity, such as {broken[0]}: its training diverged. Use '
            'an earlier checkpoint.'
        )
    return source


def detect(model: Any, loader: Any) -> list[Detections]:
    """Detections of every image, in the order of the data set; on rank 0, [] on the others.

    Raises:
        ConfigError: the pipeline of the data does more than change the size of an image.
        DataError: the loader leaves out images.
    """
    order = sample_numbers(loader)
    source, reader = loader.dataset.data_source, loader.dataset.reader
    of_rank: dict[int, Detections] = {}
    done = 0
    with evaluating(model):
        for batch in loader:
            for image, boxes, result in zip(batch['img'], batch['gt_boxes'], model.predict(batch['img']), strict=True):
                index = order[done]
                done += 1
                if index < 0:
                    continue
                original = tuple(source.sizes[index].tolist())
                # Where an image cannot be read, a neighbour stands in for it.
                if (
                    _moved(boxes * _to_original(image.shape[-2:], original).to(boxes), source.objects(index).boxes)
                    and index not in reader.bad_indices()
                ):
                    raise ConfigError(
                        f'The pipeline of the data to evaluate on moves the objects of {source.describe(index)}: it may '
                        'change the size of an image, but neither crop nor flip it. That of the training data does not fit '
                        'here.'
                    )
                of_rank[index] = _in_original(result, image.shape[-2:], original)
    share_unreadable(loader.dataset)
    together = {index: one for part in dist.gather_objects(of_rank) for index, one in part.items()}
    if len(together) < len(loader.dataset):
        raise DataError(
            f'The loader gave {len(together)} of {len(loader.dataset)} images; evaluation needs all of them: build it with '
            'shuffle=False and drop_last=False.'
        )
    return [together[index] for index in range(len(loader.dataset))] if dist.is_main() else []


def _to_original(size: tuple[int, int], original: tuple[int, int]) -> Tensor:
    """Factors (4,) from boxes in an image of (height, width) `size` to the same in one of `original`, of which it is a resized copy."""
    return torch.tensor([original[1] / size[1], original[0] / size[0]] * 2)


def _moved(boxes: Tensor, annotated: np.ndarray) -> bool:
    """Whether boxes (N, 4), brought back to the pixels of the original, are others than those annotated there."""
    expected = torch.from_numpy(annotated)
    return boxes.shape != expected.shape or not torch.allclose(boxes.cpu().float(), expected, rtol=0, atol=MOVED)


def _in_original(result: dict[str, Tensor], size: tuple[int, int], original: tuple[int, int]) -> Detections:
    """Detections in an image of (height, width) `size` -> in one of `original`, of which it is a resized copy."""
    boxes = result['boxes'].detach().cpu().float() * _to_original(size, original)
    masks = None
    if 'masks' in result:
        from torchvision.models.detection.roi_heads import paste_masks_in_image

        coder, masks = mask_coder(), []
        # One by one: once pasted, each is as large as the image.
        for mask, box in zip(result['masks'].cpu().float(), boxes, strict=True):
            pasted = paste_masks_in_image(mask[None], box[None], original)[0, 0] > 0.5
            masks.append(coder.encode(np.asfortranarray(pasted.numpy().astype(np.uint8))))
    return Detections(boxes.numpy(), result['labels'].cpu().numpy(), result['scores'].cpu().float().numpy(), masks)


def coco_ap(
    source: COCO, detections: list[Detections], masks: bool = False, kept: Sequence[int] | None = None
) -> dict[str, float]:
    """COCO's average precisions in percent, by pycocotools; see `evaluate_detector`. {} without objects.

    Args:
        source: what the detections are of, image by image.
        detections: in the order of `source`.
        masks: evaluate masks too; the detections and the annotations have them.
        kept: numbers of the images to count; None: all.
    """
    kept = range(len(detections)) if kept is None else kept
    image_ids = source.image_ids[list(kept)].tolist()
    mask_coder()  # its message, where pycocotools is missing
    from pycocotools.coco import COCO as Annotations
    from pycocotools.cocoeval import COCOeval

    rows = [
        row
        for number, index in zip(image_ids, kept, strict=True)
        for row in _coco_rows(source, number, detections[index])
    ]
    numbers: dict[str, float] = {}
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        truth = Annotations()
        truth.dataset = _truth(source, masks)
        truth.createIndex()
        counted = set(image_ids)
        if all(
            annotation['iscrowd'] for annotation in truth.dataset['annotations'] if annotation['image_id'] in counted
        ):
            return {}
        for kind, prefix in (('bbox', ''), ('segm', 'mask_'))[: 2 if masks else 1]:
            shown = [
                {key: value for key, value in row.items() if key != ('segmentation' if kind == 'bbox' else 'bbox')}
                for row in rows
            ]
            if not shown:
                numbers.update({f'{prefix}{name}': 0.0 for name in COCO_STATS[:3]})
                continue
            evaluation = COCOeval(truth, truth.loadRes(shown), kind)
            evaluation.params.imgIds = image_ids
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            for name, value in zip(COCO_STATS, evaluation.stats, strict=False):
                if value >= 0:  # -1: no object of that size
                    numbers[f'{prefix}{name}'] = 100 * float(value)
    return numbers


def _truth(source: COCO, masks: bool) -> dict:
    """The annotation file with what pycocotools needs of each annotation, and ids from 1 on: it takes an object of id 0 for none."""
    content = read_annotations(source.ann_file)
    annotations = []
    for number, annotation in enumerate(content['annotations'], 1):
        if masks and not annotation.get('segmentation'):
            raise DataError(
                f"ann_file='{source.ann_file}': annotation {annotation.get('id', number)} has no segmentation to evaluate masks on; "
                'set model.masks=False.'
            )
        area = annotation.get('area', annotation['bbox'][2] * annotation['bbox'][3])
        annotations.append({**annotation, 'id': number, 'area': area, 'iscrowd': int(annotation.get('iscrowd', 0))})
    return {**content, 'annotations': annotations}


def _coco_rows(source: COCO, number: int, detections: Detections) -> list[dict]:
    """Detections of image id `number` in COCO's result format."""
    corners = detections.boxes
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()
    masks: Sequence[dict | None] = detections.masks if detections.masks else [None] * len(boxes)
    return [
        {
            'image_id': number,
            'category_id': source.category_ids[label],
            'bbox': box,
            'score': score,
            'segmentation': mask,
        }
        for box, label, score, mask in zip(
            boxes, detections.labels.tolist(), detections.scores.tolist(), masks, strict=True
        )
    ]


def voc_numbers(
    source: VOCDetection, detections: list[Detections], kept: Sequence[int] | None = None
) -> dict[str, float]:
    """`AP`, `AP50`, `AP75` of VOC2007's 11-point measure in percent, over the images `kept`; see `voc_ap`. {} without objects."""
    kept = range(len(source)) if kept is None else kept
    truth, detections = [source.objects(index) for index in kept], [detections[index] for index in kept]
    if not any((~one.difficult).any() for one in truth):
        return {}
    percents = range(50, 100, 5)
    means = np.nanmean(
        voc_ap(truth, detections, source.num_classes, [percent / 100 for percent in percents]), axis=1
    ).tolist()
    return {'AP': float(np.mean(means)), 'AP50': means[percents.index(50)], 'AP75': means[percents.index(75)]}
