"""Images with pseudo labels that change during training (DeepCluster, ODC)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..registry import DATASETS
from .base import ImageDataset, Source, Steps, one_each


@DATASETS.register_module()
class DeepClusterDataset(ImageDataset):
    """One view, its pseudo label and the number of its image; labels of the data source are ignored.

    Sample: `img` (C, H, W), `pseudo_label` int (-1 before the first `assign_labels`), `idx` int in [0, N). Where a neighbour takes
    the place of an unreadable file, label and number are the neighbour's.

    The pseudo labels lie in shared memory, so loader workers that live through several epochs read the new ones from the next
    sample on. They are not the dataset's to save: algorithm or hook keeps them in the checkpoint and assigns them after a resume.

    Args:
        data_source: dict or object.
        pipeline: steps.
        prefetch: see `ImageDataset`.
    """

    def __init__(self, data_source: Source, pipeline: Steps, prefetch: bool = False) -> None:
        super().__init__(data_source, prefetch, pipeline=pipeline)
        self.pseudo_labels = torch.full((len(self),), -1).share_memory_()  # (N,) int64

    def assign_labels(self, labels: Tensor | np.ndarray | Sequence[int]) -> None:
        """Give every sample a pseudo label.

        Args:
            labels: (N,) whole numbers, in the order of the dataset.

        Raises:
            DataError: another number of labels than of samples.
        """
        self.pseudo_labels.copy_(one_each(self, labels))

    def __getitem__(self, index: int) -> dict[str, Tensor | int]:
        image, _, taken = self.read(index)
        return {**self.sample(image, taken), 'pseudo_label': int(self.pseudo_labels[taken]), 'idx': taken}
