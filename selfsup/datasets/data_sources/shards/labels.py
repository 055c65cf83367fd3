"""From what the label members say to numbers of classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ....errors import DataError
from .urls import file_system, is_url

CLASSES = 'classes.json'


class Labels(NamedTuple):
    """Attributes of a data source of those names."""

    labels: np.ndarray | None
    classes: list[str] | None
    no_labels: str


def labels_of(texts: list[str], names: list[str], label: str | None, folder: str, options: Mapping[str, Any]) -> Labels:
    """Numbers of classes, and their names.

    Args:
        texts: what each sample's label member says; '' where it has none.
        names: of the samples, for messages.
        label: which member it is; None where nobody said.
        folder: of the shards.
        options: of the file system of a URL.

    Raises:
        DataError: some samples have a label that was asked for and others have not, or a number has no name in classes.json.
    """
    missing = [name for name, text in zip(names, texts, strict=True) if not text]
    if label == 'none' or len(missing) == len(texts):
        if label not in (None, 'none'):
            raise DataError(f"label='{label}': no sample has such a member, or value; the first one is {names[0]}.")
        return Labels(
            None, None, "the samples have no .cls member; say where labels are with label='txt', 'json:key', ..."
        )
    if missing:
        reason = f'{len(missing)} of {len(texts)} samples have no label, the first {missing[0]}'
        if label is not None:
            raise DataError(f"label='{label}': {reason}.")
        return Labels(None, None, reason)
    if all(text.isdecimal() for text in texts):
        numbers = np.array([int(text) for text in texts], dtype=np.int64)
        classes = _names(folder, options)
        if classes is not None and numbers.max() >= len(classes):
            raise DataError(
                f'{names[int(numbers.argmax())]} has the label {numbers.max()}, but {CLASSES} names {len(classes)} classes, from 0 on.'
            )
        return Labels(numbers, classes, '')
    classes = sorted(set(texts))
    number = {name: i for i, name in enumerate(classes)}
    return Labels(np.array([number[text] for text in texts], dtype=np.int64), classes, '')


def _names(folder: str, options: Mapping[str, Any]) -> list[str] | None:
    """The list in `classes.json` beside the shards; None where there is none.

    Raises:
        DataError: it is something else than a list of names.
    """
    path = f'{folder}/{CLASSES}' if folder else CLASSES
    try:
        if is_url(path):
            files, inner = file_system(path, options)
            content = files.cat_file(inner)
        else:
            with open(path, 'rb') as file:
                content = file.read()
    except DataError:
        raise
    except Exception:  # each file system says in its own way that a file is not there
        return None
    try:
        names = json.loads(content)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{path} is no list of the names of classes, such as ['cat', 'dog'].")
    return names
