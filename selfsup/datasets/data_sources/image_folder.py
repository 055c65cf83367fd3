"""Images in a folder, without a list."""

from __future__ import annotations

import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ...arguments import Count
from ...distributed import is_main
from ...errors import DataError, SelfSupWarning, listed
from ...heartbeat import beat
from ...registry import DATA_SOURCES
from ..decoding import Exif, ValueRange, readable_endings
from ..decoding.endings import left_out, no_images
from .base import FileSource, NameTable, PathLike
from .folder_tree import of_the_system, suspicions

ENDINGS_SHOWN = 10  # in an error


def find_images(
    folder: str, extensions: tuple[str, ...], above: tuple[str, ...] = (), others: Counter[str] | None = None
) -> Iterator[str]:
    """Paths of images below `folder`, relative to it, sorted by name level by level; hidden files and those of the system are left out.

    Links to folders are followed, except back to a folder they lie in (`above`: real paths of those). `others` counts the
    endings of files that are passed over.
    """
    real = os.path.realpath(folder)
    if real in above:
        return
    beat('listing the images')
    with os.scandir(folder) as unsorted:
        entries = sorted(unsorted, key=lambda entry: entry.name)
    for entry in entries:
        if of_the_system(entry.name):
            continue
        if _is_folder(entry):
            yield from (
                os.path.join(entry.name, name) for name in find_images(entry.path, extensions, (*above, real), others)
            )
        elif entry.name.lower().endswith(extensions):
            yield entry.name
        elif others is not None:
            others[os.path.splitext(entry.name)[1].lower()] += 1


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
class ImageFolder(FileSource):
    """All images below a folder, in sorted order.

    Where every image lies in a subfolder of `root`, the first-level subfolders are the classes, numbered in sorted order.
    With images in `root` itself there are no labels. What systems leave behind (`@eaDir`, `__MACOSX`, `lost+found`, ..., all of
    `folder_tree.SYSTEM`) and hidden files are no images at any level. A tree whose classes look like something else is warned about.

    Args:
        root: the folder, searched recursively.
        return_label: hand out labels where there are any.
        extensions: endings of image files, in lower case; `.JPG` is found too. None: all that the installed decoders read, and `.npy` where
            channels or a range are stated.
        channels: of the images. 3: RGB with 8 bits, whatever the files hold; another number: arrays, and files must have as many.
        value_range: darkest and brightest value of images with other channels or other values than 8 bits; with it, 3 channels keep all
            their bits. None: 0 and the largest number of their type.
        exif: 'apply' turns images as their EXIF orientation says, 'ignore' reads them as they are stored.

    Attributes:
        others: endings of the files that are left out, and how many there are.

    Raises:
        ConfigError: a range that is none.
        DataError: `root` does not exist, is a file, cannot be searched, or holds no images.
    """

    def __init__(
        self,
        root: PathLike,
        return_label: bool = True,
        extensions: str | Sequence[str] | None = None,
        channels: Count = 3,
        value_range: ValueRange | None = None,
        exif: Exif = 'ignore',
    ) -> None:
        super().__init__(return_label, channels, value_range, exif)
        self.root = os.path.expanduser(root)
        if extensions is None:
            extensions = readable_endings(arrays=self.decoder.layered)
        extensions = tuple(e.lower() for e in ([extensions] if isinstance(extensions, str) else extensions))
        if not os.path.exists(self.root):
            raise DataError(f"root='{self.root}' does not exist. Give a folder of images.")
        if not os.path.isdir(self.root):
            packed = self.root.lower().endswith(('.zip', '.tar', '.gz', '.tgz', '.7z'))
            raise DataError(
                f"root='{self.root}' is a file. {'Unpack it and give the' if packed else 'Give a'} folder of images."
            )
        try:
            self.others: Counter[str] = Counter()
            names = list(find_images(self.root, extensions, others=self.others))
        except OSError as error:
            raise DataError(f"root='{self.root}' cannot be searched: {error.filename}: {error.strerror}.") from None
        skipped = left_out(self.others)
        if not names:
            known = (
                ', '.join(extensions)
                if len(extensions) <= ENDINGS_SHOWN
                else '.jpg, .png or another ending that can be read'
            )
            raise DataError(
                f"root='{self.root}' holds no images ending in {known}, in no subfolder either"
                f'{f", but {skipped}" if skipped else ""}. Check the folder, or set extensions.'
            )
        self._names = NameTable(names)
        if all(os.sep in name for name in names):
            classes = self._label([name.split(os.sep, 1)[0] for name in names])
            remarks = suspicions(self.root, names, classes)
        else:
            remarks = self._unlabelled(names)
        self._say_what_is_left_out(skipped)
        for text in remarks if return_label else ():
            warnings.warn(f"root='{self.root}': {text}", SelfSupWarning, stacklevel=3)

    def files_left_out(self) -> str:
        return ', '.join(filter(None, (left_out(self.others), no_images(self.others))))

    def _say_what_is_left_out(self, images: str) -> None:
        if images:
            warnings.warn(
                f"root='{self.root}': {images} are left out, {len(self)} images are read. Name all endings in extensions=(...) "
                'to read them, convert what no installed decoder reads, or move them away.',
                SelfSupWarning,
                stacklevel=4,
            )
        others = no_images(self.others)
        if others and is_main():
            logging.getLogger('selfsup').info(f"root='{self.root}': {others} are no images.")

    def _unlabelled(self, names: list[str]) -> list[str]:
        """Say why there are no labels, where files beside folders are the reason; warn of it where they are the minority."""
        stray = [name for name in names if os.sep not in name]
        if len(stray) == len(names):
            return []
        count = 'an image lies' if len(stray) == 1 else f'{len(stray)} images lie'
        self.no_labels = (
            f"{count} beside the folders of '{self.root}': {listed(stray)}. Move or remove what is of no class."
        )
        if 2 * len(stray) > len(names):
            return []
        return [
            f'there are no labels, as {count} beside its folders: {listed(stray)}. If the folders are classes, move or remove them.'
        ]

    def _label(self, folders: list[str]) -> list[str]:
        """Number the images by the first-level folders that they lie in; returns those, which are the classes."""
        self.classes = sorted(set(folders))
        numbers = {name: number for number, name in enumerate(self.classes)}
        self.labels = np.array([numbers[folder] for folder in folders], dtype=np.int64)
        with os.scandir(self.root) as entries:
            empty = sorted(
                e.name for e in entries if _is_folder(e) and e.name not in numbers and not of_the_system(e.name)
            )
        if empty:
            warnings.warn(
                f"'{self.root}' has folders without images, which count as no class: {', '.join(empty[:10])}.",
                SelfSupWarning,
                stacklevel=4,
            )
        return self.classes
