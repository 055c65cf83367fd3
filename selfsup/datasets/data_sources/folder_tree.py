"""What is found in a folder of images that is none: files of the system, and trees that were not meant so."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

from ...errors import listed

# What servers, archives and desktops write into folders of images, in lower case; thumbnails lie in some. Names that begin with a dot
# (.ipynb_checkpoints, .Trash-1000, .snapshot, ._photo.jpg) are left out besides.
SYSTEM = frozenset(
    (
        '@eadir',
        '@tmp',
        '@recycle',
        '@recently-snapshot',
        '#recycle',
        '#snapshot',
        '~snapshot',
        '__macosx',
        '__pycache__',
        'lost+found',
        '$recycle.bin',
        'recycler',
        '$extend',
        'system volume information',
        'network trash folder',
        'temporary items',
        'thumbs.db',
        'ehthumbs.db',
        'desktop.ini',
    )
)
SPLITS = frozenset(
    (
        'train',
        'training',
        'val',
        'valid',
        'validation',
        'test',
        'testing',
        'eval',
        'dev',
        'trainval',
        'unlabeled',
        'unlabelled',
        'extra',
    )
)


def of_the_system(name: str) -> bool:
    """True for a file or folder that no user put there: it is never an image and never a class."""
    return name.startswith(('.', '__MACOSX')) or name.lower() in SYSTEM


def suspicions(root: str, names: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Sentences about class folders that look as if they were not meant to be classes.

    Args:
        root: the folder.
        names: paths of the images from `root`, each in a class folder.
        classes: names of the class folders.
    """
    remarks: list[str] = []
    below = _subfolders(names)
    if all(name.lower() in SPLITS for name in classes):
        example = next((name for name in classes if below.get(name)), classes[0])
        remarks.append(
            f'its class folders are {listed(classes)}, which look like splits, not like classes. For one of them, give '
            f"root='{os.path.join(root, example)}'."
        )
    elif len(classes) == 1 and len(below.get(classes[0], ())) > 1:
        inside = os.path.join(root, classes[0])
        remarks.append(
            f"all images lie in '{classes[0]}', so there is one class, but that has folders itself: "
            f"{listed(sorted(below[classes[0]]))}. If those are the classes, give root='{inside}'."
        )
    elif (
        len(classes) > 1
        and len(below) == len(classes)
        and len(set(map(frozenset, below.values()))) == 1
        and len(below[classes[0]]) > 1
    ):
        remarks.append(
            f'all its class folders ({listed(classes)}) hold nothing but the same folders, {listed(sorted(below[classes[0]]))}. '
            'If those are the classes, root is one level too high.'
        )
    alike = Counter(name.casefold().strip() for name in classes)
    twins = [name for name in classes if alike[name.casefold().strip()] > 1]
    if twins:
        remarks.append(f'the classes {listed(twins)} differ in case or spaces alone, and count as different ones.')
    return remarks


def _subfolders(names: Sequence[str]) -> dict[str, set[str]]:
    """First-level folder -> its subfolders, of those that hold no image themselves."""
    below: dict[str, set[str]] = {}
    direct = set()
    for name in names:
        first, *rest = name.split(os.sep, 2)
        if len(rest) > 1:
            below.setdefault(first, set()).add(rest[0])
        else:
            direct.add(first)
    return {name: folders for name, folders in below.items() if name not in direct}
