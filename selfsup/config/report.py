"""Problems of a config file, collected, each with the place where its cause was written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..arguments import problems
from .locate import Place

Path = tuple[str, ...]
NOT_SHOWN = object()  # for problems that are not about a value


class Report:
    """Collects problems; knows where each path was written.

    Args:
        places: dotted path -> (file, line).
        display: how a file is written in messages.
        path: the config file, for what is missing.
    """

    def __init__(self, places: dict[str, Place], display: Callable[[str], str], path: str) -> None:
        self.places = places
        self.display = display
        self.path = path
        self.problems: list[tuple[Place, str]] = []
        self.refused: set[Path] = set()  # values that were found wrong; once is enough

    def place(self, path: Path) -> Place:
        """Place of the longest part of `path` that was written."""
        for n in range(len(path), 0, -1):
            if '.'.join(path[:n]) in self.places:
                return self.places['.'.join(path[:n])]
        return self.path, 0

    def at(self, path: Path) -> str:
        """`(configs/x.py:12)`."""
        file, line = self.place(path)
        shown = file if file.startswith('--') else self.display(file)
        return f'({shown}:{line})' if line else f'({shown})'

    def add(self, path: Path, text: str, value: Any = NOT_SHOWN) -> None:
        """Note the problem 'dotted.path=value (file:line) text'."""
        shown = '' if value is NOT_SHOWN else f'={value!r}'
        self.problems.append((self.place(path), f'{".".join(path)}{shown} {self.at(path)} {text}'))

    def add_missing(self, text: str) -> None:
        """Note what the file lacks as a whole."""
        self.problems.append(((self.path, 0), f'{self.display(self.path)} {text}'))

    def check(self, path: Path, hint: Any, value: Any) -> bool:
        """Note where a value, or what is inside of it, is not what its hint says; True when it is."""
        wrong = list(problems(hint, value, path))
        for problem in wrong:
            if not any(problem.path[:n] in self.refused for n in range(len(problem.path) + 1)):
                self.refused.add(problem.path)
                self.add(problem.path, problem.text, problem.value)
        return not wrong

    def inherited(self, path: Path, key: str) -> str:
        """What to do about an argument that a base file gave to another type."""
        of_type, of_key = self.place((*path, 'type'))[0], self.place((*path, key))[0]
        if of_key == of_type or of_key.startswith('--') or of_type.startswith('--'):
            return ''
        return f' {self.display(of_key)} gives it; write _delete_=True beside type to drop what a base file says.'

    def lines(self) -> list[str]:
        """The problems in the order of files and lines, each once."""
        return list(dict.fromkeys(text for _, text in sorted(self.problems, key=lambda problem: problem[0])))
