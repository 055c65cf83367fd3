"""Images alone, to extract features."""

from __future__ import annotations

from torch import Tensor

from ..registry import DATASETS
from .base import ImageDataset, Source, Steps


@DATASETS.register_module()
class ExtractDataset(ImageDataset):
    """One view; labels are ignored.

    Sample: `img` (C, H, W).

    Args:
        data_source: dict or object.
        pipeline: steps.
        prefetch: see `ImageDataset`.
    """

    def __init__(self, data_source: Source, pipeline: Steps, prefetch: bool = False) -> None:
        super().__init__(data_source, prefetch, pipeline=pipeline)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image, _, taken = self.read(index)
        return self.sample(image, taken)
