"""Images in a folder, without a list."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from ...errors import DataError, SelfSupWarning
from ...registry import DATA_SOURCES
from .base import DataSource, NameTable, load_rgb

EXTENSIONS = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.gif', '.tif', '.tiff', '.ppm', '.pgm')


def find_images(folder: str, extensions: tuple[str, ...], above: tuple[str, ...] = ()) -> Iterator[str]:
    """Paths of images below `folder`, relative to it, sorted by name level by level; hidden files are left out.

    Links to folders are followed, except back to a folder they lie in (`above`: real paths of those).
    """
    real = os.path.realpath(folder)
    if real in above:
        return
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith(('.', '__MACOSX')):
            continue
        if _is_folder(entry):
            yield from (os.path.join(entry.name, name) for name in find_images(entry.path, extensions, (*above, real)))
        elif entry.name.lower().endswith(extensions):
            yield entry.name


def image_files(paths: Iterable[str]) -> list[str]:
    """The files among `paths`, and in place of each folder all images below it, in sorted order.

    Raises:
        DataError: a folder without images.
    """
    files: list[str] = []
    for path in paths:
        if os.path.isdir(path):
            source = ImageFolder(path)
            files += [source.describe(index) for index in range(len(source))]
        else:
            files.append(path)
    return files


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: whoever reads it finds an unreadable file
        return False


@DATA_SOURCES.register_module()
class ImageFolder(DataSource):
    """All images below a folder, in sorted order.

    Where every image lies in a subfolder of `root`, the first-level subfolders are the classes, numbered in sorted order.
    With images in `root` itself there are no labels.

    Args:
        root: the folder, searched recursively.
        return_label: hand out labels where there are any.
        extensions: endings of image files, in lower case; `.JPG` is found too.

    Raises:
        DataError: `root` does not exist, is a file, cannot be searched, or holds no images.
    """

    def __init__(self, root: str, return_label: bool = True, extensions: tuple[str, ...] | list[str] = EXTENSIONS) -> None:
        super().__init__(return_label)
        self.root = os.path.expanduser(root)
        extensions = tuple(e.lower() for e in ([extensions] if isinstance(extensions, str) else extensions))
        if not os.path.exists(self.root):
            raise DataError(f"root='{self.root}' does not exist. Give a folder of images.")
        if not os.path.isdir(self.root):
            packed = self.root.lower().endswith(('.zip', '.tar', '.gz', '.tgz', '.7z'))
            raise DataError(f"root='{self.root}' is a file. {'Unpack it and give the' if packed else 'Give a'} folder of images.")
        try:
            names = list(find_images(self.root, extensions))
        except OSError as error:
            raise DataError(f"root='{self.root}' cannot be searched: {error.filename}: {error.strerror}.") from None
        if not names:
            raise DataError(f"root='{self.root}' holds no images ending in {', '.join(extensions)}, in no subfolder either. "
                            'Check the folder, or set extensions.')
        self._names = NameTable(names)
        folders = [name.split(os.sep, 1)[0] if os.sep in name else None for name in names]
        if None not in folders:
            self._label(folders)

    def _label(self, folders: list[str]) -> None:
        self.classes = sorted(set(folders))
        numbers = {name: number for number, name in enumerate(self.classes)}
        self.labels = np.array([numbers[folder] for folder in folders], dtype=np.int64)
        with os.scandir(self.root) as found:
            empty = sorted(e.name for e in found if _is_folder(e) and e.name not in numbers and not e.name.startswith(('.', '__MACOSX')))
        if empty:
            warnings.warn(f"'{self.root}' has folders without images, which count as no class: {', '.join(empty[:10])}.",
                          SelfSupWarning, stacklevel=4)

    def __len__(self) -> int:
        return len(self._names)

    def describe(self, index: int) -> str:
        return os.path.join(self.root, self._names[index])

    def read_image(self, index: int) -> Image.Image:
        return load_rgb(self.describe(index))
