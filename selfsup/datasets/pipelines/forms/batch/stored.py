"""The images of a data set in memory, all of one size, from where the device makes the views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class StoredImage(NamedTuple):
    """Stands for an image that waits on the device.

    Attributes:
        number: its place there.
        shape: channels, height and width.
    """

    number: int
    shape: tuple[int, ...]


class StoredImages:
    """What the workers know of stored images.

    Args:
        first: place of the first one on the device.
        shape: channels, height and width of all.
        labels: of each sample, or None each.
        taken: int64 (N,): the sample whose image stands at each place, a neighbour's where it could not be read.
    """

    def __init__(self, first: int, shape: tuple[int, ...], labels: Sequence[Any], taken: np.ndarray) -> None:
        self.first, self.shape, self.labels, self.taken = first, shape, labels, taken

    def read(self, index: int) -> tuple[StoredImage, Any, int]:
        """What `ImageDataset.read` gives."""
        return StoredImage(self.first + index, self.shape), self.labels[index], int(self.taken[index])
