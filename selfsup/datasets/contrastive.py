"""Two views of an image: from one pipeline (MoCo, SimCLR), or from two (BYOL). `multi_view.py` has more, and of several sizes."""

from __future__ import annotations

from torch import Tensor

from ..registry import DATASETS
from .base import ImageDataset, Source, Steps


@DATASETS.register_module()
class ContrastiveDataset(ImageDataset):
    """Two independent draws of the same pipeline; labels are ignored.

    Sample: `img` (2, C, H, W).

    Args:
        data_source: dict or object.
        pipeline: steps of one view.
        prefetch: see `ImageDataset`.
    """

    def __init__(self, data_source: Source, pipeline: Steps, prefetch: bool = False) -> None:
        super().__init__(data_source, prefetch, pipeline=pipeline)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image, _, taken = self.read(index)
        return self.sample(image, taken, ('pipeline', 'pipeline'))


@DATASETS.register_module()
class BYOLDataset(ImageDataset):
    """One draw of each pipeline (BYOL, arXiv:2006.07733, table 6: they differ in blur and solarisation).

    Sample: `img` (2, C, H, W).

    Args:
        data_source: dict or object; labels are ignored.
        pipeline1: steps of view 0.
        pipeline2: steps of view 1.
        prefetch: see `ImageDataset`.
    """

    def __init__(self, data_source: Source, pipeline1: Steps, pipeline2: Steps, prefetch: bool = False) -> None:
        super().__init__(data_source, prefetch, pipeline1=pipeline1, pipeline2=pipeline2)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image, _, taken = self.read(index)
        return self.sample(image, taken, ('pipeline1', 'pipeline2'))
