"""Files of trainers such as Lightning hold objects of their settings beside the weights: read them with dead stand-ins, run nothing.

torch's safe reader makes objects of classes that it was told are harmless, and of no other. Here it is told, for a few libraries whose
objects are settings and counters, that their names stand for classes of this file, which take whatever the file has for them and do
nothing. No code of the file or of those libraries runs, and they need not be installed. A file with any other name is refused as before.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

# Top modules whose objects are settings, counters and callbacks; weights are never among them.
_LIBRARIES = ('lightning', 'lightning_fabric', 'lightning_utilities', 'omegaconf', 'pytorch_lightning', 'pathlib')
# Types that such settings name.
_TYPES = ('typing.Any', 'typing.Union', 'typing.Optional')
_BUILTINS = ('bool', 'bytes', 'dict', 'float', 'frozenset', 'int', 'list', 'object', 'str', 'tuple', 'type')
_DICTS = ('AttributeDict',)  # subclasses of dict, which the reader fills entry by entry


class Inert:
    """Stands for an object of a library: takes what the file has for it, keeps nothing, does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Any arguments, none of which is looked at."""

    def __setstate__(self, state: Any) -> None:
        """Any state, which is not looked at."""


def plain_dict(*args: Any) -> dict:
    """Stands for `collections.defaultdict`: an empty dict, which the reader fills."""
    return {}


def foreign_names(path: Path) -> list[str]:
    """Names of classes and functions in a file of `torch.save` that the safe reader does not know; [] where that cannot be told."""
    try:
        return torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # damaged, or in the form that torch wrote before 1.6
        return []


def stand_ins(names: Iterable[str]) -> list[tuple[Any, str]] | None:
    """What the safe reader is to take for each of `names`; None where one of them is of no library that is known to be harmless."""
    found = [(_stand_in(name), name) for name in names]
    return None if any(stand_in is None for stand_in, _ in found) else found


def _stand_in(name: str) -> Any:
    module, _, last = name.rpartition('.')
    if name == 'collections.defaultdict':
        return plain_dict
    harmless = name in _TYPES or (module == 'builtins' and last in _BUILTINS)
    if not harmless and (not module or name.partition('.')[0] not in _LIBRARIES):
        return None
    return dict if last in _DICTS else Inert
