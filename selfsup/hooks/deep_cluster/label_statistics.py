"""What the hooks with pseudo labels share: sizes and changes of clusters in the log, labels in the work dir."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ... import distributed as dist
from ...engine import Run


def label_change(old: Tensor, new: Tensor) -> float:
    """Share of images that left their company, in [0, 1], whatever the clusters are numbered.

    Each new cluster is compared with the old one that most of its images come from; 0 when no cluster took in strangers.

    Args:
        old: (N,) int64.
        new: (N,) int64.
    """
    pairs, counts = torch.unique(torch.stack([new, old]), dim=1, return_counts=True)
    stayed = torch.zeros(int(new.max()) + 1, dtype=counts.dtype).scatter_reduce_(0, pairs[0], counts, 'amax')
    return 1 - float(stayed.sum()) / len(new)


def report(runner: Run, labels: Tensor, k: int, others: dict[str, float]) -> None:
    """Log number of empty clusters, smallest and largest size, and `others`."""
    sizes = torch.bincount(labels.cpu(), minlength=k)
    numbers = {
        'cluster_empty': int((sizes == 0).sum()),
        'cluster_min': int(sizes.min()),
        'cluster_max': int(sizes.max()),
        **others,
    }
    for key, value in numbers.items():
        runner.message_hub.update_scalar(f'train/{key}', value)
    runner.logger.info('Clusters: ' + '  '.join(f'{key} {value:.4g}' for key, value in numbers.items()))


def save_labels(runner: Run, labels: Tensor, number: int) -> None:
    """Write `cluster_epoch_{number}.npy` into the work dir, on rank 0."""
    if dist.is_main():
        path = Path(runner.work_dir) / f'cluster_epoch_{number}.npy'
        with runner.log_trouble.guarding(path):
            np.save(path, labels.cpu().numpy())
