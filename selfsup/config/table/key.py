"""What a row of the key table and a section of it are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

REQUIRED = 'required'


@dataclass(frozen=True)
class Key:
    """One row of the table.

    Attributes:
        path: dotted path; dicts that have rows below them accept nothing else.
        kind: hint of the value.
        default: text of the value in force when the key is absent; 'required' when there is none.
        example: text of a typical value.
        meaning: one line.
        registry: name in `selfsup.registry` of what the dict (or each dict of the list) builds. Its other keys are
            arguments of the registered type.
    """

    path: str
    kind: Any
    default: str
    example: str
    meaning: str
    registry: str = ''

    @property
    def required(self) -> bool:
        return self.default == REQUIRED


@dataclass(frozen=True)
class Section:
    """Keys that belong together: those of the short form, those of mmengine's own form, and those of either."""

    title: str
    note: str = ''
    both: tuple[Key, ...] = ()
    short: tuple[Key, ...] = ()
    native: tuple[Key, ...] = ()
