"""Every image in four orientations (rotation prediction, arXiv 1803.07728)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import DataError
from ..registry import DATASETS
from .base import ImageDataset, Source, Steps


@DATASETS.register_module()
class RotationPredDataset(ImageDataset):
    """One view, turned by 0, 90, 180 and 270 degrees COUNTER-clockwise; labels are ignored.

    Sample: `img` (4, C, S, S), `rot_label` int64 (4,): 0, 1, 2, 3 quarter turns.

    Args:
        data_source: dict or object.
        pipeline: steps; they must make square images.
        prefetch: see `ImageDataset`.
    """

    def __init__(self, data_source: Source, pipeline: Steps, prefetch: bool = False) -> None:
        super().__init__(data_source, prefetch, pipeline=pipeline)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image, _, taken = self.read(index)
        view = self.view(image, taken)
        if view.shape[1] != view.shape[2]:
            raise DataError(
                f'{self.reader.describe(taken)}: a view of {view.shape[1]} x {view.shape[2]} cannot be turned by 90 degrees: '
                'give the pipeline a RandomResizedCrop or CenterCrop.'
            )
        turns = torch.arange(4)
        return {'img': torch.stack([torch.rot90(view, k, dims=(1, 2)) for k in turns.tolist()]), 'rot_label': turns}
