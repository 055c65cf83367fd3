"""The table of rules: for each torch operation what it does on a `VisibleMap` and on a `MaskedMap`.

A row is a torch function, and says two things: its rule on the path 'visible' and its rule on the path 'masked', which are often the same
one. The files in `rules/` fill the table when they are imported, one file per kind of operation, both rules of an operation beside
each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from ...errors import ConfigError

PATHS = ('visible', 'masked')
R = TypeVar('R', bound=Callable)


class RuleTable:
    """Torch functions and what they do on maps."""

    def __init__(self) -> None:
        self.rows: dict[Callable, dict[str, Callable]] = {}
        self.margin_takers: set[Callable] = set()  # rules that deal with the margin which `F.pad` leaves

    def rule(self, *functions: Callable | str, path: str | None = None, takes_margin: bool = False) -> Callable[[R], R]:
        """Decorator: use the decorated function for these torch functions.

        Args:
            *functions: torch functions, or names; a name stands for every function of that name in `torch`,
                `torch.Tensor`, `torch.nn.functional` and `torch.linalg`.
            path: one of `PATHS`; None for both.
            takes_margin: the rule deals with the margin which `F.pad` leaves; others are refused on a padded map.

        Raises:
            ConfigError: torch has no function of that name.
        """
        keys = [
            key for function in functions for key in (_named(function) if isinstance(function, str) else [function])
        ]

        def register(rule: R) -> R:
            for key in keys:
                self.rows.setdefault(key, {}).update(dict.fromkeys(PATHS if path is None else (path,), rule))
            if takes_margin:
                self.margin_takers.add(rule)
            return rule

        return register

    def find(self, function: Callable, path: str) -> Callable | None:
        """The rule for `function` on a path, or None."""
        row = self.rows.get(function)
        return None if row is None else row.get(path)


def _named(name: str) -> list[Callable]:
    functions = [getattr(place, name) for place in (torch, Tensor, nn.functional, torch.linalg) if hasattr(place, name)]
    if not functions:
        raise ConfigError(f"Torch has no function '{name}' to add a rule for: check the spelling.")
    return functions


RULES = RuleTable()
rule = RULES.rule
