"""Contrast within the global batch: of the vectors of all images, find the one of the own image.

Axes: B images per process, W processes, N = B * W, D numbers per vector.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .... import distributed
from ...layers.functional import similarity, top1_accuracy


def find_own(rows: Tensor, everyone: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Cross entropy of finding the vector of the own image among those of all images, in full precision.

    Args:
        rows: (B, D) unit vectors, of this process.
        everyone: (N, D) unit vectors of all processes, in rank order.
        temperature: similarities are divided by it, > 0.

    Returns:
        The mean over B, and the share of rows whose own vector is the most similar one, in percent.
    """
    logits = similarity(rows, everyone.T) / temperature
    own = distributed.local_rows(torch.arange(len(everyone), device=logits.device))
    return F.cross_entropy(logits, own), top1_accuracy(logits, own)
