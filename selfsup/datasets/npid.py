"""Images with their numbers (NPID)."""

from __future__ import annotations

from torch import Tensor

from ..registry import DATASETS
from .base import ImageDataset, Source, Steps


@DATASETS.register_module()
class NPIDDataset(ImageDataset):
    """One view and the number of its image; labels are ignored.

    Sample: `img` (C, H, W), `idx` int in [0, N). Where a neighbour takes the place of an unreadable file, it is the neighbour's.

    Args:
        data_source: dict or object.
        pipeline: steps.
        prefetch: see `ImageDataset`.
    """

    def __init__(self, data_source: Source, pipeline: Steps, prefetch: bool = False) -> None:
        super().__init__(data_source, prefetch, pipeline=pipeline)

    def __getitem__(self, index: int) -> dict[str, Tensor | int]:
        image, _, taken = self.read(index)
        return {**self.sample(image, taken), 'idx': taken}
