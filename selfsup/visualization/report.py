"""Bars of measured numbers and curves of published ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .curves import ACCENT, PALE
from .drawing import INK, hide_frame, new_figure, save_figure

# after Okabe and Ito: told apart by colour-blind eyes
LINES = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#b8860b', '#444444')
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '<', '>', 'p', 'h', '*', 'd')


def plot_pairs(pairs: Sequence[tuple[str, float, float]], out_png: str | os.PathLike, title: str = '') -> Path:
    """Two bars for each protocol: from random weights, and from pretrained ones.

    Args:
        pairs: (label, percent from random weights, percent from pretrained ones), drawn from top to bottom.
        out_png: the picture.
        title: above it.

    Returns:
        `out_png`.
    """
    figure = new_figure(8, 1.2 + 0.55 * len(pairs))
    axes = figure.subplots()
    for row, (_, random, pretrained) in enumerate(pairs):
        for value, offset, colour, label in (
            (random, 0.19, PALE, 'random weights'),
            (pretrained, -0.19, ACCENT, 'pretrained'),
        ):
            axes.barh(-row + offset, value, 0.36, color=colour, label=label if row == 0 else None)
            axes.text(value + 0.5, -row + offset, f'{value:.1f}', va='center', fontsize=8, color=INK)
    axes.set_yticks([-row for row in range(len(pairs))], [label for label, _, _ in pairs])
    axes.set_xlabel('top-1, percent', color=INK, fontsize=8)
    axes.set_xlim(0, max(max(p[1:]) for p in pairs) * 1.12)
    axes.set_title(title, color=INK, fontsize=10, loc='left')
    figure.legend(loc='outside lower right', ncols=2, frameon=False, fontsize=8)
    hide_frame(axes)
    axes.tick_params(colors=INK, labelsize=8)
    return save_figure(figure, out_png)


def apart(values: Sequence[float], gap: float) -> list[float]:
    """Ascending `values`, moved as little as need be so that neighbours lie at least `gap` apart: places of labels."""
    groups: list[list[float]] = []  # of values whose labels touch; each is spread evenly around its mean
    for value in values:
        groups.append([value])
        while len(groups) > 1 and _lowest(groups[-1], gap) - _lowest(groups[-2], gap) < gap * len(groups[-2]):
            groups[-2:] = [groups[-2] + groups[-1]]
    return [_lowest(group, gap) + gap * i for group in groups for i in range(len(group))]


def _lowest(group: list[float], gap: float) -> float:
    return sum(group) / len(group) - gap * (len(group) - 1) / 2


def _span(rows: Sequence[Sequence], places: Sequence[int]) -> float:
    values = [row[i] for row in rows for i in places]
    return max(values) - min(values) if values else 1.0


def plot_layers(table: dict[str, Any], out_png: str | os.PathLike, layers: Sequence[str]) -> Path:
    """A line for each row of a published table, over its columns `layers`; rows with gaps are left out.

    Args:
        table: `title`, `source`, `columns`, `rows`; the first column names the row.
        out_png: the picture.
        layers: names of the columns.

    Returns:
        `out_png`.
    """
    places = [table['columns'].index(name) for name in layers]
    rows = [row for row in table['rows'] if all(row[i] is not None for i in places)]
    rows.sort(key=lambda row: row[places[-1]])
    figure = new_figure(8, max(4.6, 1 + 0.32 * len(rows)))
    axes = figure.subplots()
    ends = apart([row[places[-1]] for row in rows], 0.045 * _span(rows, places))
    for number, (row, end) in enumerate(zip(rows, ends, strict=True)):
        colour = LINES[number % len(LINES)]
        axes.plot(
            range(len(places)),
            [row[i] for i in places],
            marker=MARKERS[number % len(MARKERS)],
            markersize=5,
            linewidth=1.4,
            color=colour,
            linestyle='-' if number // len(LINES) % 2 == 0 else '--',
        )
        # each name at the end of its line: nobody can match the colours of many lines with a legend
        axes.annotate(
            f'{row[0]}  {row[places[-1]]:g}',
            (len(places) - 1, row[places[-1]]),
            xytext=(len(places) - 0.8, end),
            va='center',
            fontsize=8,
            color=colour,
            annotation_clip=False,
            arrowprops=dict(arrowstyle='-', color=colour, linewidth=0.5, shrinkA=0, shrinkB=4),
        )
    axes.set_xlim(-0.15, len(places) + 0.9)
    axes.set_xticks(range(len(places)), layers)
    axes.spines['bottom'].set_bounds(-0.15, len(places) - 0.85)
    axes.set_ylabel('top-1, percent', color=INK, fontsize=8)
    title = f'Published, not measured here: ImageNet top-1 by layer ({table["source"].split(",")[0]})'
    axes.set_title(title, color=INK, fontsize=10, loc='left')
    hide_frame(axes)
    axes.tick_params(colors=INK, labelsize=8)
    return save_figure(figure, out_png)
