"""Which images a data set holds, in which order, with which labels: as a few digests that fit into a checkpoint."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import numpy as np

# The number of files whose size is asked for: all of a smaller set, evenly spaced ones of a larger; 0.1 s on a local disk.
SIZES_READ = 20_000


def data_digest(dataset: Any, sizes: bool = True) -> dict[str, Any]:
    """What must be equal for two data sets to hold the same samples under the same numbers.

    Names count from the `root` of their source, or are what its `name` gives, so a folder that was moved is the same data. What a source
    does not tell is None there, and cannot be compared.

    Args:
        dataset: a data set of ours, one made of others, or a data source.
        sizes: ask the file system for the sizes of files too, and stores without files for some of their images.

    Returns:
        images: number of samples.
        names: digest of their names in order, or None.
        unordered: digest of their names, sorted, or None: equal where only the order differs.
        labels: digest of their labels in order, or of the boxes and labels of their objects, or None.
        sizes: digest of their file sizes in bytes, or None; of more than `SIZES_READ` files, of that many.
        content: of images that are no files, a digest of what some of them hold (`content_hint` of their source); or None.
        classes: names of the classes by number, or None.
    """
    names = _names(dataset)
    return {
        'images': len(dataset),
        'names': None if names is None else _of_texts(names),
        'unordered': None if names is None else _of_texts(sorted(names)),
        'labels': _labels(dataset),
        'sizes': _sizes(dataset) if sizes else None,
        'content': _content(dataset) if sizes else None,
        'classes': class_names(dataset),
    }


def class_names(dataset: Any) -> list[str] | None:
    """Names of the classes by number; of a data set made of others where all agree. None where the source has none."""
    first, *others = [getattr(source, 'classes', None) for source in sources_below(dataset)]
    if first is None or any(classes is None or list(classes) != list(first) for classes in others):
        return None
    return [str(name) for name in first]


def files_left_out(dataset: Any) -> list[str]:
    """Per data source that leaves some out: the files beside its images that are not read, counted by ending."""
    given = [source.files_left_out() for source in sources_below(dataset) if hasattr(source, 'files_left_out')]
    return [text for text in given if text]


def sources_below(dataset: Any) -> list[Any]:
    """The data sources below a data set, in order."""
    if hasattr(dataset, 'datasets'):
        return [source for part in dataset.datasets for source in sources_below(part)]
    if hasattr(dataset, 'data_source'):
        return [dataset.data_source]
    return sources_below(dataset.dataset) if hasattr(dataset, 'dataset') else [dataset]


def _names(dataset: Any) -> list[str] | None:
    names: list[str] = []
    for source in sources_below(dataset):
        if callable(getattr(source, 'name', None)):
            names += [source.name(i) for i in range(len(source))]
            continue
        if not hasattr(source, 'describe'):
            return None
        start = os.path.join(getattr(source, 'root', None) or '', '')
        names += [source.describe(i).removeprefix(start) for i in range(len(source))]
    return names


def _labels(dataset: Any) -> str | None:
    labels = getattr(dataset, 'labels', None)
    if labels is not None:
        return _hex(np.ascontiguousarray(labels, dtype='<i8').tobytes())
    sources = sources_below(dataset)
    if not all(hasattr(source, 'objects') for source in sources):
        return None
    digest = hashlib.blake2b(digest_size=16)
    for source in sources:
        for i in range(len(source)):
            objects = source.objects(i)
            digest.update(np.ascontiguousarray(objects.boxes, dtype='<f4').tobytes())
            digest.update(np.ascontiguousarray(objects.labels, dtype='<i8').tobytes())
    return digest.hexdigest()


def _sizes(dataset: Any) -> str | None:
    """Digest of file sizes; a missing file counts as -1. None where no sample is a file, or a part of one whose size is known."""
    sources = [source for source in sources_below(dataset) if hasattr(source, 'describe')]
    total = sum(map(len, sources))
    step = -(-total // SIZES_READ) if total else 1
    sizes = [_size(source, i) for source in sources for i in range(0, len(source), step)]
    return _hex(np.asarray(sizes, dtype='<i8').tobytes()) if any(size >= 0 for size in sizes) else None


def _content(dataset: Any) -> str | None:
    hints = [source.content_hint() for source in sources_below(dataset) if hasattr(source, 'content_hint')]
    known = [hint for hint in hints if hint is not None]
    return _of_texts(known) if known else None


def _size(source: Any, index: int) -> int:
    if hasattr(source, 'size_of'):  # it is a part of something larger
        return source.size_of(index)
    try:
        return os.stat(source.describe(index)).st_size
    except (OSError, ValueError):
        return -1


def _of_texts(texts: list[str]) -> str:
    return _hex(b'\0'.join(os.fsencode(text) for text in texts))


def _hex(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
