"""The images of a data set in memory, all of one size, from where the device makes the views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class StoredImage(NamedTuple):
    """Stands for an image that waits on the device.

    Attributes:
        number: its place there.
        size: height and width in pixels.
    """

    number: int
    size: tuple[int, int]


class StoredImages:
    """What the workers know of stored images.

    Args:
        first: place of the first one on the device.
        size: height and width in pixels of all.
        labels: of each sample, or None each.
        taken: int64 (N,): the sample whose image stands at each place, a neighbour's where it could not be read.
    """

    def __init__(self, first: int, size: tuple[int, int], labels: Sequence[Any], taken: np.ndarray) -> None:
        self.first, self.size, self.labels, self.taken = first, size, labels, taken

    def read(self, index: int) -> tuple[StoredImage, Any, int]:
        """What `ImageDataset.read` gives."""
        return StoredImage(self.first + index, self.size), self.labels[index], int(self.taken[index])
