"""Labelled images, and the accuracy of predictions on them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import ConfigError, SelfSupWarning, ShapeError
from ..registry import DATASETS
from .base import ImageDataset, Source, Steps


@DATASETS.register_module()
class ClassificationDataset(ImageDataset):
    """One view and its label.

    Sample: `img` (C, H, W), `gt_label` int.

    Args:
        data_source: dict or object, with labels.
        pipeline: steps.
        prefetch: see `ImageDataset`.

    Raises:
        ConfigError: the data source has no labels.
    """

    def __init__(self, data_source: Source, pipeline: Steps, prefetch: bool = False) -> None:
        super().__init__(data_source, prefetch, pipeline=pipeline)
        self.needs_labels()

    def __getitem__(self, index: int) -> dict[str, Tensor | int]:
        image, label, taken = self.read(index)
        return {**self.sample(image, taken), 'gt_label': label}

    def evaluate(self, scores: Tensor, keyword: str, topk: Sequence[int] = (1, 5)) -> dict[str, float]:
        """Top-k accuracy over the whole dataset.

        Files that could not be read are left out. A row of scores that holds NaN counts as wrong.

        Args:
            scores: (N, K) scores or logits of all samples, in the order of the dataset.
            keyword: prefix of the keys, such as 'head0'.
            topk: the ks; one above K is counted as K, with a warning.

        Returns:
            f'{keyword}_top{k}' -> percent.

        Raises:
            ShapeError: `scores` is not (N, K), or a label is not below K.
            ConfigError: a k below 1.
        """
        labels = torch.as_tensor(self.data_source.labels)
        if scores.ndim != 2 or len(scores) != len(labels):
            raise ShapeError(
                f'evaluate needs scores (N, K) for all N = {len(labels)} samples in order; got {tuple(scores.shape)}.'
            )
        classes = scores.shape[1]
        if int(labels.max()) >= classes:
            raise ShapeError(
                f'scores for {classes} classes, but labels up to {int(labels.max())}: set num_classes of the head to '
                f'{int(labels.max()) + 1} or more.'
            )
        if min(topk) < 1:
            raise ConfigError(f'topk={tuple(topk)} must hold numbers of 1 and more.')
        if max(topk) > classes:
            warnings.warn(
                f'topk={tuple(topk)} on {classes} classes: a k above {classes} is counted as {classes}.',
                SelfSupWarning,
                stacklevel=2,
            )
        scores = scores.detach().cpu().float()
        readable = torch.ones(len(labels), dtype=torch.bool)
        readable[self.reader.bad_indices()] = False
        best = scores.topk(min(max(topk), classes)).indices  # (N, max k)
        hits = (best == labels[:, None]) & ~scores.isnan().any(dim=1, keepdim=True)
        return {f'{keyword}_top{k}': 100 * hits[readable, :k].any(dim=1).float().mean().item() for k in topk}
