"""A queue of the latest embeddings, as columns (D, K) that are overwritten in a circle (MoCo, arXiv 1911.05722, section 3.1).

Functions on buffers of the method that keeps the queue, so that their names in a checkpoint are the method's. N embeddings enter at once;
K need not be a multiple of N. Nothing here waits for the device.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from ....errors import SelfSupWarning, ShapeError
from ...layers.functional import l2_normalize


def new_queue(length: int, dim: int) -> Tensor:
    """(dim, length): random unit vectors, so that the first steps compare with noise."""
    return l2_normalize(torch.randn(length, dim)).T.contiguous()


def new_pointer() -> Tensor:
    """(1,) int64: the column that the next embedding goes to."""
    return torch.zeros(1, dtype=torch.long)


@torch.no_grad()
def enqueue(method: str, queue: Tensor, pointer: Tensor, embeddings: Tensor) -> None:
    """Overwrite the oldest columns of a queue and move its pointer on, both in place.

    Args:
        method: its name, for the message.
        queue: (D, K).
        pointer: (1,) int64.
        embeddings: (N, D), of all processes in rank order.

    Raises:
        ShapeError: N > K.
    """
    require_room(method, queue, len(embeddings))
    length = queue.shape[1]
    columns = (pointer + torch.arange(len(embeddings), device=embeddings.device)) % length  # no sync with the host
    queue[:, columns] = embeddings.T.to(queue.dtype)
    pointer.copy_((pointer + len(embeddings)) % length)


def require_room(method: str, queue: Tensor, batch: int) -> None:
    """The embeddings of one global batch must not overwrite each other.

    Args:
        method: its name, for the message.
        queue: (D, K).
        batch: images of all processes together.

    Raises:
        ShapeError: the queue is shorter.
    """
    length = queue.shape[1]
    if batch > length:
        raise ShapeError(
            f'The queue of {method} holds queue_len={length} keys, fewer than one global batch of {batch}: '
            f'set queue_len to {batch} or more.'
        )


def require_length(method: str, queue: Tensor, embeddings: Tensor) -> None:
    """What a neck gives must be as long as what the queue holds.

    Args:
        method: its name, for the message.
        queue: (D, K).
        embeddings: (B, D, ...).

    Raises:
        ShapeError: they differ.
    """
    if embeddings.shape[1] != len(queue):
        raise ShapeError(
            f'{method} has feat_dim={len(queue)}, but its neck gives {embeddings.shape[1]} numbers: make them equal.'
        )


def warn_of_own_keys(queue: Tensor, images: int, batches: Sequence[int], consequence: str) -> None:
    """Warn where the queue holds the keys of every image: each image then meets its own key of the epoch before.

    With K <= N images of shuffled epochs it does so with a probability of (K / N)^2 / 2; from K = N on one such key is there for most
    images, at K = 2N for all.

    Args:
        queue: (D, K).
        images: N, in the training set.
        batches: the different numbers of images that the batches of all processes together hold.
        consequence: of that, for the message.
    """
    length, batch = queue.shape[1], max(batches)
    if length < images:
        return
    fitting = max(batch, images // 4 // batch * batch)
    warnings.warn(
        f'model.queue_len={length} holds the keys of more than one epoch of {images} images, so {consequence}: '
        f'set model.queue_len={fitting}.',
        SelfSupWarning,
        stacklevel=3,
    )
