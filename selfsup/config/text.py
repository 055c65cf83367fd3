"""Config values as Python text that reads back to the same values, keys in their order.

mmengine's `pretty_text` sorts the keys of every dict; in `paramwise_options` the order is the meaning.
"""

from __future__ import annotations

import keyword
from typing import Any

WIDTH = 120


def _is_name(key: Any) -> bool:
    return isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key)


def _items(value: Any, indent: int) -> tuple[str, list[str], str]:
    """Opening bracket, formatted entries and closing bracket of a container."""
    if isinstance(value, dict):
        if all(_is_name(k) for k in value):
            return 'dict(', [f'{k}={format_value(v, indent + 4)}' for k, v in value.items()], ')'
        return '{', [f'{k!r}: {format_value(v, indent + 4)}' for k, v in value.items()], '}'
    entries = [format_value(v, indent + 4) for v in value]
    if isinstance(value, list):
        return '[', entries, ']'
    return '(', entries, ',)' if len(entries) == 1 else ')'


def format_value(value: Any, indent: int = 0) -> str:
    """Python source of a literal, `dict(a=1)` style, broken over lines where it is wider than `WIDTH`.

    Args:
        value: dicts, lists, tuples and scalars, nested.
        indent: columns of the line that the value starts on.
    """
    if not isinstance(value, (dict, list, tuple)):
        return repr(value)
    opening, entries, closing = _items(value, indent)
    line = opening + ', '.join(entries) + closing
    if '\n' not in line and indent + len(line) < WIDTH - 20:
        return line
    pad = ' ' * (indent + 4)
    return opening + '\n' + ',\n'.join(pad + e for e in entries) + closing


def to_text(cfg: dict) -> str:
    """Text of a config file that holds `cfg`, one top-level key after the other."""
    return ''.join(f'{key} = {format_value(value)}\n' for key, value in cfg.items())
