"""From patterns such as `/shards/train-{000..127}.tar` to the shards that they name."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence

from ....errors import DataError
from .urls import file_system, is_url

ENDINGS = ('.tar', '.tar.gz', '.tgz')
_RANGE = re.compile(r'^(\d+)\.\.(\d+)$')


def shards_of(patterns: Sequence[str]) -> list[str]:
    """Every shard that patterns name, each pattern's in order: braces as they count, what `*` and folders hold sorted.

    Args:
        patterns: paths or URLs with `{000..127}`, `{a,b}`, `*`, `?`, `[...]`; or folders with shards.

    Raises:
        DataError: a pattern names nothing, or a shard is named twice.
    """
    found: list[str] = []
    for pattern in patterns:
        named = [shard for path in braces(pattern) for shard in _existing(path)]
        if not named:
            raise DataError(f"'{pattern}' names no shard: there is no {' or '.join(ENDINGS)} of that name.")
        found += named
    twice = sorted({shard for shard in found if found.count(shard) > 1}) if len(set(found)) < len(found) else []
    if twice:
        raise DataError(f'{twice[0]} is named twice: its images would count twice. Correct the patterns.')
    return found


def _existing(path: str) -> list[str]:
    """What a path without braces stands for. A path without a pattern is itself, there or not."""
    if is_url(path):
        return _remote(path) if glob.has_magic(path.partition('://')[2]) else [path]
    path = os.path.expanduser(path)
    if os.path.isdir(path):
        return sorted(os.path.join(path, name) for name in os.listdir(path) if name.lower().endswith(ENDINGS))
    return sorted(glob.glob(path)) if glob.has_magic(path) and not os.path.exists(path) else [path]


def _remote(url: str) -> list[str]:
    files, path = file_system(url, {})
    return sorted(files.unstrip_protocol(name) for name in files.glob(path))


def braces(pattern: str) -> Iterator[str]:
    """The texts that a pattern with braces stands for, as a shell expands it: `{08..10}` -> 08, 09, 10; `{a,b}` -> a, b.

    A pair of braces that holds neither is a part of the name.
    """
    for opening in (i for i, letter in enumerate(pattern) if letter == '{'):
        closing = _closing(pattern, opening)
        options = _options(pattern[opening + 1 : closing]) if closing else None
        if options is not None:
            for option in options:
                for inner in braces(option):
                    for rest in braces(pattern[closing + 1 :]):
                        yield pattern[:opening] + inner + rest
            return
    yield pattern


def _closing(pattern: str, opening: int) -> int:
    """Place of the brace that closes the one at `opening`; 0 for none."""
    depth = 0
    for i in range(opening, len(pattern)):
        depth += {'{': 1, '}': -1}.get(pattern[i], 0)
        if depth == 0:
            return i
    return 0


def _options(inside: str) -> list[str] | None:
    """What a pair of braces chooses from; None where it is no choice."""
    numbers = _RANGE.match(inside)
    if numbers:
        first, last = (int(number) for number in numbers.groups())
        padded = any(len(number) > 1 and number[0] == '0' for number in numbers.groups())
        width = max(map(len, numbers.groups())) if padded else 0
        return [f'{i:0{width}d}' for i in range(first, last + 1)] or [
            f'{i:0{width}d}' for i in range(first, last - 1, -1)
        ]
    options, depth, start = [], 0, 0
    for i, letter in enumerate(inside):
        depth += {'{': 1, '}': -1}.get(letter, 0)
        if letter == ',' and depth == 0:
            options.append(inside[start:i])
            start = i + 1
    return [*options, inside[start:]] if options else None
