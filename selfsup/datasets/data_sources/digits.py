"""Handwritten digits that come with scikit-learn: real images without a download."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval
from PIL import Image

from ...arguments import Count
from ...registry import DATA_SOURCES
from .base import DataSource

MAX_INK = 16  # the 8 x 8 images count inked pixels of 4 x 4 blocks


@DATA_SOURCES.register_module()
class Digits(DataSource):
    """The 1,797 digits of scikit-learn (UCI 'Optical recognition of handwritten digits'), grey as RGB, 10 classes.

    Args:
        split: 'train' or 'test'; every class is divided in the same proportion.
        size: side in pixels to enlarge to (bicubic); None keeps 8.
        return_label: hand out labels.
        test_share: share of each class that is held out, in (0, 1).
        seed: of the division, in [0, 2**32); keep it the same for both splits.
    """

    def __init__(
        self,
        split: Literal['train', 'test'] = 'train',
        size: Count | None = None,
        return_label: bool = True,
        test_share: Annotated[float, Interval(gt=0, lt=1)] = 0.2,
        seed: Annotated[int, Interval(ge=0, lt=2**32)] = 0,
    ) -> None:
        super().__init__(return_label)
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        chosen = self._choose(labels, split == 'test', test_share, seed)
        grey = np.rint(images[chosen].reshape(-1, 8, 8) * (255 / MAX_INK)).astype(np.uint8)
        if size not in (None, 8):
            grey = np.stack(
                [np.asarray(Image.fromarray(g).resize((size, size), Image.Resampling.BICUBIC)) for g in grey]
            )
        self._images = grey  # uint8 (N, size, size)
        self.split = split
        self.labels = labels[chosen].astype(np.int64)
        self.classes = [str(digit) for digit in range(10)]

    @staticmethod
    def _choose(labels: np.ndarray, test: bool, test_share: float, seed: int) -> np.ndarray:
        """Sorted sample numbers of a split; our own draw, so that no library version can move an image across."""
        rng = np.random.RandomState(seed)
        chosen = []
        for label in np.unique(labels):
            members = rng.permutation(np.flatnonzero(labels == label))
            held_out = round(len(members) * test_share)
            chosen.append(members[:held_out] if test else members[held_out:])
        return np.sort(np.concatenate(chosen))

    def __len__(self) -> int:
        return len(self._images)

    def describe(self, index: int) -> str:
        return f'digits {self.split} image {index}'

    def read_image(self, index: int) -> Image.Image:
        return Image.fromarray(self._images[index]).convert('RGB')
