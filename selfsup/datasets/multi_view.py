"""Any number of views of an image, from any number of pipelines, in one size or several (multi-crop)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypedDict

from annotated_types import Len
from torch import Tensor

from ..arguments import Count
from ..registry import DATASETS
from .base import ImageDataset, Source, Steps


class _Views(TypedDict):
    pipeline: Steps


class Views(_Views, total=False):
    """Some views of an image: steps of one, and how many draws of them (1)."""

    number: Count


@DATASETS.register_module()
class MultiViewDataset(ImageDataset):
    """Views from several pipelines, each drawn `number` times, in the order in which they are listed; labels are ignored.

    The image is decoded once for all of them. Two large crops that cover much of it and six small ones that do not (SwAV,
    arXiv:2006.09882, section 3.2) are

        views=[dict(number=2, pipeline=large), dict(number=6, pipeline=small)]

    and a method whose two views are made differently (BYOL, arXiv:2006.07733, table 6) takes `[dict(pipeline=one), dict(pipeline=other)]`.
    `ContrastiveDataset` gives what `[dict(number=2, pipeline=pipeline)]` does.

    Sample: `img` (V, C, H, W) where all views have one size. Where they have several, `img` is a list of such tensors: views of one size
    that follow each other stand in one of them.

    Args:
        data_source: dict or object.
        views: dicts with `pipeline`, steps of one view, and `number`, how many of it (1).
        prefetch: see `ImageDataset`.
    """

    def __init__(self, data_source: Source, views: Annotated[Sequence[Views], Len(1)], prefetch: bool = False) -> None:
        pipelines = {f'views.{i}.pipeline': entry['pipeline'] for i, entry in enumerate(views)}
        super().__init__(data_source, prefetch, **pipelines)
        self.numbers = {name: entry.get('number', 1) for name, entry in zip(pipelines, views, strict=True)}

    def __getitem__(self, index: int) -> dict[str, Tensor | list[Tensor]]:
        image, _, taken = self.read(index)
        names = [name for name, number in self.numbers.items() for _ in range(number)]
        return self.sample(image, taken, names, several_sizes=True)
