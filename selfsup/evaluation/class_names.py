"""What the class numbers of a checkpoint or of a data set mean, and whether two of them mean the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..datasets.data_sources import ImageList
from ..datasets.digest import class_names
from ..errors import DataError, SelfSupError, listed
from ..registry import DATA_SOURCES

SHOWN = 8


@dataclass(frozen=True)
class Naming:
    """Names of class numbers, as far as they are known.

    Attributes:
        what: whose they are, for messages: "the checkpoint 'x.pth'".
        names: number -> name; empty where nothing is known.
        complete: these are all the classes. Otherwise the names were read off the folders in a list's paths.
        reason: why there are no names.
    """

    what: str
    names: Mapping[int, str] = field(default_factory=dict)
    complete: bool = False
    reason: str = ''


def naming_of(dataset: Any, what: str) -> Naming:
    """Names of the classes of a data set or a data source; those of a labelled list whose paths begin with one folder per class, too."""
    names = class_names(dataset)
    if names is not None:
        return Naming(what, dict(enumerate(names)), complete=True)
    source = getattr(dataset, 'data_source', dataset)
    if isinstance(source, ImageList) and source.labels is not None:
        return Naming(what, source.folders_of_labels(), reason=f'{what} come from a list, which numbers its classes')
    return Naming(what, reason=f'{what} have no names of classes')


def naming_of_checkpoint(checkpoint: Mapping[str, Any], path: str) -> Naming:
    """Names that a training run has kept in `meta.classes`."""
    what = f"the checkpoint '{path}'"
    meta = checkpoint.get('meta')
    names = meta.get('classes') if isinstance(meta, Mapping) else None
    if isinstance(names, Sequence) and not isinstance(names, str) and names:
        return Naming(what, {number: str(name) for number, name in enumerate(names)}, complete=True)
    return Naming(what, reason=f'{what} keeps no names')


def check_checkpoint_classes(
    checkpoint: Mapping[str, Any], path: str, dataset: Any, train: Mapping[str, Any] | None
) -> str | None:
    """Refuse to measure a classifier on data whose class numbers mean something else than those it was trained with.

    Args:
        checkpoint: content of the file.
        path: its name, for messages.
        dataset: labelled data to test on.
        train: `data.train` of the config (a dataset config), which says what the numbers mean where the checkpoint does not; or None.

    Returns:
        One line where names cannot be compared, with the reason; None where they agree.

    Raises:
        DataError: they differ.
    """
    tested = naming_of(dataset, 'the data to test on')
    trained = naming_of_checkpoint(checkpoint, path)
    if not trained.names:
        trained = _of_training_data(train, trained)
    return compare(trained, tested)


def _of_training_data(train: Mapping[str, Any] | None, unknown: Naming) -> Naming:
    """Names that `data.train` of the config gives today, if its files are there."""
    source = train.get('data_source') if isinstance(train, Mapping) else None
    if not isinstance(source, Mapping):
        return unknown
    try:
        naming = naming_of(DATA_SOURCES.build(dict(source)), 'the images of data.train of the config')
    except SelfSupError:
        return Naming(
            unknown.what, reason=f'{unknown.reason}, and the images of data.train, which would tell, are not here'
        )
    return naming if naming.names else Naming(unknown.what, reason=f'{unknown.reason}, and {naming.reason}')


def compare(trained: Naming, tested: Naming) -> str | None:
    """One line where the names cannot be compared, with the reason; None where they agree.

    Raises:
        DataError: they differ, or numeric folder names, which are sorted as text, meet the numbers of a list.
    """
    if not trained.names or not tested.names:
        _check_numeric(trained, tested)
        reason = trained.reason if not trained.names else tested.reason
        return f'Class names cannot be compared: {reason}. The numbers must mean the same on both sides.'
    complete = trained.complete and tested.complete
    if not complete:
        trained, tested = _unpadded(trained), _unpadded(tested)
    known = {name: number for number, name in trained.names.items()}
    common = [name for name in tested.names.values() if name in known]
    if not common and not complete:
        return (
            f'Class names cannot be compared: no folder name of {tested.what} is one of {trained.what}. The numbers must mean the same '
            'on both sides.'
        )
    moved = {name: (known[name], number) for number, name in tested.names.items() if known.get(name, number) != number}
    only = [sorted(set(a.names.values()) - set(b.names.values())) for a, b in ((trained, tested), (tested, trained))]
    renamed = [name for number, name in tested.names.items() if name in only[1] and number in trained.names]
    if moved or (complete and any(only)) or renamed:
        raise DataError(_difference(trained, tested, only, moved))
    return None


def _unpadded(naming: Naming) -> Naming:
    """Names that are numbers without leading zeros: a list may say 2 where the folder is 02."""
    return replace(
        naming, names={number: str(int(name)) if name.isdecimal() else name for number, name in naming.names.items()}
    )


def _difference(trained: Naming, tested: Naming, only: list[list[str]], moved: Mapping[str, tuple[int, int]]) -> str:
    """The words for classes that differ."""
    begin = 'Training and test images have different classes: '
    if any(only):
        text = f'{begin}only for training {shown(only[0])}; only for testing {shown(only[1])}. '
    else:
        text = f'{begin}the same ones, numbered otherwise. '
    examples = ', '.join(
        f"'{name}' is {a} for training and {b} for testing" for name, (a, b) in list(moved.items())[:3]
    )
    text += f'{examples}. ' if examples else ''
    if any(name.isdecimal() for name in moved):
        text += 'Folder names that are numbers are sorted as text: 0, 1, 10, 2; write 00, 01, 02, 10. '
    return (
        f'{text}(Compared: {trained.what} with {tested.what}.) Their numbers would not mean the same: give every split the same '
        "class folders, each with an image, or a list of 'path label' lines with the numbers of training."
    )


def _check_numeric(trained: Naming, tested: Naming) -> None:
    """Refuse folders named by numbers that are not their numbers, where the other side knows numbers alone."""
    named, other = (trained, tested) if trained.names else (tested, trained)
    names = list(named.names.values())
    if not named.complete or not names or not all(name.isdecimal() for name in names):
        return
    numbers = [int(name) for name in names]
    if numbers != sorted(numbers):
        wrong = next(i for i, number in enumerate(numbers) if number != i)
        raise DataError(
            f"Folders named by numbers are sorted as text: for {named.what}, the folder '{names[wrong]}' is class {wrong}. "
            f'{_capital(other.reason)}, so classes would be exchanged. Rename the folders so that they sort as numbers (00, '
            '01, 02, 10), or use lists on both sides.'
        )


def shown(values: Sequence) -> str:
    """The first of the values, and how many there are; 'none' for none."""
    return listed(values, SHOWN) if values else 'none'


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
