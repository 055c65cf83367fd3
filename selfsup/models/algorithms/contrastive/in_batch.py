"""Contrast within the global batch: of the vectors of all images, find the one of the own image.

Axes: B images per process, W processes, N = B * W, D numbers per vector.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .... import distributed
from ....errors import ConfigError
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


def refuse_lone_images(method: str, images: int, batches: Sequence[int]) -> None:
    """The negatives of an image are the other images of the global batch: with one image the loss is 0 and the accuracy 100 %.

    Args:
        method: its name, for the message.
        images: in the training set.
        batches: the different numbers of images that the batches of all processes together hold.

    Raises:
        ConfigError: there are batches of one image.
    """
    if min(batches) > 1:
        return
    last = max(batches) > 1
    remedy = 'set data.drop_last=True, or another data.imgs_per_gpu' if last else 'set data.imgs_per_gpu to 2 or more'
    raise ConfigError(
        f'{method} contrasts each image with the others of its batch, but {"the last" if last else "a"} batch of all '
        f'processes together holds 1 image ({images} in all): {remedy}.'
    )
