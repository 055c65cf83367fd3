"""Images and their views as a training run will draw them, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...prefetch import read_prefetch
from ...registry import DATASETS
from ..wrappers import use_backend
from .seeded import SeededDataset, collate, first_image
from .sharing import share_steps


class Preview:
    """Samples of a loader without its workers, batches and cache.

    Args:
        settings: one section of the runner config.
        seed: run seed, >= 0.

    Attributes:
        dataset: its data set.
        mean, std: what the views were normalised with; 0 and 1 where they are bytes still.
    """

    def __init__(self, settings: dict[str, Any], seed: int) -> None:
        self.dataset = DATASETS.build(settings['dataset'])
        use_backend(self.dataset, settings.get('pipeline_backend', 'reference'))
        prefetch = read_prefetch(settings['prefetch'])
        # the images need not wait on the device: the views are the same
        self.share = share_steps(self.dataset, 0, torch.device('cpu'), images=False) if prefetch.augment else None
        self.seeded = SeededDataset(self.dataset, seed)
        self.mean: Sequence[float]
        self.std: Sequence[float]
        self.mean, self.std = ((0.0,), (1.0,)) if prefetch.on else self._normalisation()

    def _normalisation(self) -> tuple[Sequence[float], Sequence[float]]:
        steps = [step for pipeline in self.dataset.pipelines.values() for step in pipeline.steps]
        return next(((s.mean, s.std) for s in steps if type(s).__name__ == 'Normalize'), ((0.0,), (1.0,)))

    def image(self, index: int) -> Any:
        """Image number `index`, as the data set reads it."""
        return self.dataset.read(index)[0]

    def views(self, epoch: int, index: int) -> list[Tensor]:
        """Views (C, H, W) of an image in an epoch: one, several of one size, or those of all sizes."""
        batch = collate([self.seeded[(epoch, index, 0)]], getattr(self.dataset, 'ragged', ()))
        if self.share is not None and 'draws' in batch:
            batch['img'] = self.share.views(batch['img'], batch['draws'])
        groups = first_image(batch)
        return [view for group in ([groups] if isinstance(groups, Tensor) else groups) for view in _apart(group)]


def _apart(views: Tensor) -> list[Tensor]:
    """(V, C, H, W) or (C, H, W) -> tensors (C, H, W)."""
    return [views] if views.dim() == 3 else list(views)
