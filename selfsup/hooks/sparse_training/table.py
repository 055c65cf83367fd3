"""One table of a sparse model for the log: a line per part, not per tensor."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ...optim.sparsity import Change, Masks


def part_of(name: str) -> str:
    """Name of a weight up to its first number: 'backbone.stages.2', 'backbone.layer1.0'; without one, its first two words."""
    words = name.split('.')[:-1]
    number = next((i for i, word in enumerate(words) if re.fullmatch(r'\d+', word)), 1)
    return '.'.join(words[: number + 1])


def summary(title: str, masks: Masks, changes: Mapping[str, Change] | None = None) -> str:
    """Weights, active weights and density of every part and of all.

    Args:
        title: first line.
        masks: of the model.
        changes: of its layers, for the columns `pruned` and `grown`.
    """
    rows: dict[str, list[int]] = {}
    for name, weight in masks.weights.items():
        active = int(masks[name].sum()) if name in masks else weight.numel()
        change = changes.get(name, Change(0, 0)) if changes else Change(0, 0)
        for part in (part_of(name), 'all'):
            row = rows.setdefault(part, [0, 0, 0, 0])
            for i, value in enumerate((weight.numel(), active, *change)):
                row[i] += value
    rows['all'] = rows.pop('all')  # last
    width = max(map(len, rows)) + 2
    columns = ['weights', 'active', 'pruned', 'grown'][: 4 if changes else 2]
    lines = [title, f'{"":{width}s}' + ''.join(f'{c:>13s}' for c in columns) + f'{"density":>10s}']
    for part, row in rows.items():
        lines.append(
            f'{part:{width}s}' + ''.join(f'{value:13,d}' for value in row[: len(columns)]) + f'{row[1] / row[0]:10.4f}'
        )
    return '\n'.join(lines)
