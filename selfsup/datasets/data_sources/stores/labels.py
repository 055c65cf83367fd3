"""Class numbers of a column of labels: whole numbers as they are, texts by their sorted order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....errors import DataError, listed
from ..list_files import LARGEST_LABEL, whole


def class_numbers(values: np.ndarray, named: str) -> np.ndarray:
    """int64 (N,) labels of numbers.

    Args:
        values: (N,) of whole numbers, or of floats and bools that are such.
        named: what to call the column, for messages.

    Raises:
        DataError: a number is no class number; names its row.
    """
    values = np.asarray(values)
    if values.dtype.kind not in 'iubf':
        raise DataError(f'{named} holds {values.dtype}: labels are whole numbers from 0, or texts.')
    if values.dtype.kind == 'f':
        _refuse(np.isnan(values), values, named, 'is missing. Label all images or none')
        _refuse(values != np.round(values), values, named, 'is no whole number. Number the classes from 0')
    _refuse(
        values < 0,
        values,
        named,
        'is negative. Number the classes from 0. (Where -1 stands for no label, name no column of labels.)',
    )
    _refuse(values > LARGEST_LABEL, values, named, 'is too large for a class number. Number the classes from 0')
    return values.astype(np.int64)


def numbered(texts: Sequence[str | None], which: np.ndarray, named: str) -> tuple[np.ndarray, list[str] | None]:
    """Labels that are texts: `'3'` is the class number 3 where all are such, else classes are numbered in the sorted order of their names.

    Args:
        texts: the different ones.
        which: int (N,) which of them each image has.
        named: what to call the column, for messages.

    Returns:
        labels: int64 (N,).
        classes: their names; None where the texts are numbers.

    Raises:
        DataError: a label is missing, or no class number.
    """
    missing = [number for number, text in enumerate(texts) if text is None or not text.strip()]
    _refuse(np.isin(which, missing), np.full(len(which), ''), named, 'is missing. Label all images or none')
    words = [str(text).strip() for text in texts]
    numbers = [whole(word) for word in words]
    if words and all(number is not None for number in numbers):
        large = [word for word, number in zip(words, numbers, strict=True) if number and number > LARGEST_LABEL]
        if large:
            raise DataError(
                f'{named} has labels too large for class numbers: {listed(large)}. Number the classes from 0.'
            )
        return class_numbers(np.array(numbers, dtype=np.int64)[which], named), None
    classes = sorted(set(words))
    places = {name: number for number, name in enumerate(classes)}
    return np.array([places[word] for word in words], dtype=np.int64)[which], classes


def _refuse(wrong: np.ndarray, values: np.ndarray, named: str, reason: str) -> None:
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        value = f' ({values[row]})' if str(values[row]) else ''
        end = '' if reason.endswith(')') else '.'
        raise DataError(f'{named}: the label of row {row}{value} {reason}{end}')
