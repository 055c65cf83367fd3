"""CIFAR-10 and CIFAR-100 (Krizhevsky, 'Learning multiple layers of features from tiny images', 2009)."""

from __future__ import annotations

import os
from typing import ClassVar, Literal

import numpy as np
from PIL import Image

from ...distributed import world_size
from ...errors import DataError
from ...registry import DATA_SOURCES
from .base import DataSource, PathLike


@DATA_SOURCES.register_module()
class Cifar10(DataSource):
    """CIFAR-10: 50,000 training and 10,000 test images, 32 x 32, 10 classes.

    Args:
        root: folder that holds the unpacked archive.
        split: 'train' or 'test'.
        return_label: hand out labels.
        download: fetch the archive when it is missing (one process only).

    Raises:
        DataError: the files are not there, or damaged.
    """

    torchvision_name: ClassVar[str] = 'CIFAR10'

    def __init__(
        self, root: PathLike, split: Literal['train', 'test'], return_label: bool = True, download: bool = False
    ) -> None:
        super().__init__(return_label)
        self.split = split
        data = self._open(os.path.expanduser(root), download)
        self._images = data.data  # uint8 (N, 32, 32, 3)
        self.labels = np.asarray(data.targets, dtype=np.int64)
        self.classes = list(data.classes)

    def _open(self, root: str, download: bool):
        from torchvision import datasets

        kind = getattr(datasets, self.torchvision_name)
        train = self.split == 'train'
        try:
            return kind(root, train=train)
        except RuntimeError:
            pass  # how torchvision says that files are missing or have another checksum
        if not download or world_size() > 1:
            how = 'run once with one process, so that only one downloads' if download else 'set download=True'
            raise DataError(
                f"root='{root}' does not hold {self.torchvision_name}, or a damaged copy. Unpack {kind.url} there, so that "
                f"'{os.path.join(root, kind.base_folder)}' exists, or {how}."
            )
        try:
            return kind(root, train=train, download=True)
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"{kind.url} could not be downloaded to root='{root}': {error}. Fetch it and unpack it there."
            ) from error

    def __len__(self) -> int:
        return len(self._images)

    def describe(self, index: int) -> str:
        return f'{self.torchvision_name} {self.split} image {index}'

    def read_image(self, index: int) -> Image.Image:
        return Image.fromarray(self._images[index])


@DATA_SOURCES.register_module()
class Cifar100(Cifar10):
    """CIFAR-100: the same sizes with 100 (fine) classes. Arguments as `Cifar10`."""

    torchvision_name: ClassVar[str] = 'CIFAR100'
