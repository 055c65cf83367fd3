"""Images with boxes, and masks where asked for."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision import tv_tensors

from ..errors import ConfigError
from ..registry import DATASETS
from .base import ImageDataset, Source, Steps, as_float, as_uint8
from .decoding import Backend


@DATASETS.register_module()
class DetectionDataset(ImageDataset):
    """An image with its objects.

    Steps of the pipeline are those of torchvision's transforms.v2, which move boxes and masks with the image: `RandomShortestSize`,
    `RandomHorizontalFlip`, ... Steps made for images alone do not take such a sample.

    Sample: `img` (C, H, W), of any size; `gt_boxes` (N, 4) float32 x1, y1, x2, y2 in pixels; `gt_labels` (N,) int64; with masks
    `gt_masks` (N, H, W) uint8. Batches hold lists of them (`ragged`).

    Its steps move boxes and masks with the image, which only torchvision's own do: it is always read with the reference backend.

    Args:
        data_source: dict or object: `COCO` or `VOCDetection`.
        pipeline: steps. It keeps all of the image and at most changes its size when the data are to be evaluated on.
        prefetch: see `ImageDataset`.
        masks: hand out masks; the data source must have them.

    Raises:
        ConfigError: the data source has no boxes.
    """

    ragged = ('img', 'gt_boxes', 'gt_labels', 'gt_masks')

    def __init__(self, data_source: Source, pipeline: Steps, prefetch: bool = False, masks: bool = False) -> None:
        super().__init__(data_source, prefetch, pipeline=pipeline)
        if not hasattr(self.data_source, 'objects'):
            raise ConfigError(
                f'DetectionDataset needs boxes, but {type(self.data_source).__name__} has none: use COCO or VOCDetection.'
            )
        self.masks = masks

    def use_backend(self, backend: Backend) -> None:
        """Nothing changes, whatever the backend of the loader: see above."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image, objects, taken = self.read(index)
        target = {
            'boxes': tv_tensors.BoundingBoxes(
                torch.from_numpy(objects.boxes), format='XYXY', canvas_size=image.size[::-1]
            ),
            'labels': torch.from_numpy(objects.labels),
        }
        if self.masks:
            target['masks'] = tv_tensors.Mask(torch.from_numpy(self.data_source.masks(taken, objects)))
        return self.run(self._sample, (image, target), taken)

    def _sample(self, pair: tuple) -> dict[str, Tensor]:
        image, target = self.pipelines['pipeline'](pair)
        image = (as_uint8 if self.prefetch else as_float)(image).as_subclass(Tensor)
        boxes = target['boxes'].as_subclass(Tensor)
        remains = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])  # a crop may leave nothing of an object
        sample = {'img': image, 'gt_boxes': boxes[remains], 'gt_labels': target['labels'][remains]}
        if self.masks:
            sample['gt_masks'] = target['masks'].as_subclass(Tensor)[remains]
        return sample
