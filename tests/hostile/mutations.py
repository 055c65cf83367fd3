"""Seeded damage to settings: what typing errors, copied lines and misread papers make of a config."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]
NUMBERS = (0, -1, 1, 2, 3, 7, 0.0, 0.5, -0.5, 1.5, 1e-30, 1e9, -1e9, 10**12, 2**63, math.nan, math.inf, -math.inf)
OTHERS = (
    None,
    True,
    False,
    '',
    'abc',
    'None',
    '0.1',
    'a\nb',
    'ä?*',
    'ResNet',
    '../x',
    [],
    {},
    (),
    [1, 2, 3],
    (0, 0),
    (1.0, 0.0),
    [None],
    [[]],
    ['a', 'b'],
    {'type': 'abc'},
    {'type': None},
    {'type': 5},
    {'type': ['ResNet']},
    {'typ': 'ResNet'},
    {'a': 1},
    {1: 2},
    {'': 0},
)
SMALL_ONLY = ('workers_per_gpu', 'num_workers')  # of a machine with 2 cores; a million processes are nobody's test


def places(value: Any, above: Path = ()) -> Iterator[Path]:
    """Paths of everything inside nested dicts, lists and tuples."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, inner in items:
        yield (*above, key)
        yield from places(inner, (*above, key))


def changed(value: Any, path: Path, change: Any) -> Any:
    """A copy of nested `value` in which `change(container, key)` was applied at `path`, to a dict or a list."""
    value = copy.deepcopy(list(value) if isinstance(value, tuple) else value)
    if len(path) == 1:
        change(value, path[0])
    else:
        value[path[0]] = changed(value[path[0]], path[1:], change)
    return value


def mutate(settings: dict, rng: random.Random) -> tuple[str, dict]:
    """One random change: a value of another kind or size, an entry lost, misspelt, doubled, or put into another place.

    Returns:
        What was done, in words, and the changed settings.
    """
    everywhere = list(places(settings))
    path = rng.choice(everywhere)
    kind = rng.choices(('value', 'number', 'drop', 'misspell', 'swap', 'wrap', 'double'), (4, 4, 1, 1, 1, 1, 1))[0]
    shown = '.'.join(map(str, path))
    if kind in ('value', 'number'):
        value = rng.choice(OTHERS if kind == 'value' else NUMBERS)
        if path[-1] in SMALL_ONLY and isinstance(value, int | float) and not -10 < value < 10:
            value = -3
        return f'{shown} = {value!r}', changed(
            settings, path, lambda owner, key: owner.__setitem__(key, copy.deepcopy(value))
        )
    if kind == 'drop':
        return f'{shown} dropped', changed(settings, path, lambda owner, key: owner.pop(key))
    if kind == 'misspell':
        return f'{shown} misspelt', changed(settings, path, _misspell)
    if kind == 'swap':
        other = rng.choice(everywhere)
        value = _at(settings, other)
        if path[-1] in SMALL_ONLY:
            value = 2
        return (
            f'{shown} = what {".".join(map(str, other))} is',
            changed(settings, path, lambda owner, key: owner.__setitem__(key, copy.deepcopy(value))),
        )
    if kind == 'wrap':
        return f'{shown} in a list', changed(settings, path, lambda owner, key: owner.__setitem__(key, [owner[key]]))
    return f'{shown} twice', changed(settings, path, _double)


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def _misspell(owner: Any, key: Any) -> None:
    if isinstance(owner, dict):
        owner[f'{key}s'] = owner.pop(key)
    else:
        owner[key] = f'{owner[key]}s'


def _double(owner: Any, key: Any) -> None:
    if isinstance(owner, dict):
        owner[f'{key}2'] = copy.deepcopy(owner[key])
    else:
        owner.insert(key, copy.deepcopy(owner[key]))
