"""Bars of measured numbers and curves of published ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .curves import ACCENT, PALE
from .drawing import INK, save_figure


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    figure = Figure(figsize=(width, height), dpi=120, layout='constrained')
    FigureCanvasAgg(figure)
    return figure


def _plain(axes: Any) -> None:
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)
    axes.tick_params(colors=INK, labelsize=8)


def plot_pairs(pairs: Sequence[tuple[str, float, float]], out_png: str | os.PathLike, title: str = '') -> Path:
    """Two bars for each protocol: from random weights, and from pretrained ones.

    Args:
        pairs: (label, percent from random weights, percent from pretrained ones), drawn from top to bottom.
        out_png: the picture.
        title: above it.

    Returns:
        `out_png`.
    """
    figure = _figure(8, 1.2 + 0.55 * len(pairs))
    axes = figure.subplots()
    for row, (_, random, pretrained) in enumerate(pairs):
        for value, offset, colour, label in ((random, 0.19, PALE, 'random weights'), (pretrained, -0.19, ACCENT, 'pretrained')):
            axes.barh(-row + offset, value, 0.36, color=colour, label=label if row == 0 else None)
            axes.text(value + 0.5, -row + offset, f'{value:.1f}', va='center', fontsize=8, color=INK)
    axes.set_yticks([-row for row in range(len(pairs))], [label for label, _, _ in pairs])
    axes.set_xlabel('top-1, percent', color=INK, fontsize=8)
    axes.set_xlim(0, max(max(p[1:]) for p in pairs) * 1.12)
    axes.set_title(title, color=INK, fontsize=10, loc='left')
    figure.legend(loc='outside lower right', ncols=2, frameon=False, fontsize=8)
    _plain(axes)
    return save_figure(figure, out_png)


def plot_layers(table: dict[str, Any], out_png: str | os.PathLike, layers: Sequence[str]) -> Path:
    """A line for each row of a published table, over its columns `layers`; rows with gaps are left out.

    Args:
        table: `title`, `source`, `columns`, `rows`; the first column names the row.
        out_png: the picture.
        layers: names of the columns.

    Returns:
        `out_png`.
    """
    from matplotlib import colormaps
    figure = _figure(8, 4.6)
    axes = figure.subplots()
    places = [table['columns'].index(name) for name in layers]
    rows = [row for row in table['rows'] if all(row[i] is not None for i in places)]
    for number, row in enumerate(sorted(rows, key=lambda row: -row[places[-1]])):
        axes.plot(range(len(places)), [row[i] for i in places], marker='o', markersize=3, linewidth=1.4, label=row[0],
                  color=colormaps['viridis'](number / max(1, len(rows) - 1)))
    axes.set_xticks(range(len(places)), layers)
    axes.set_ylabel('top-1, percent', color=INK, fontsize=8)
    source = table['source'].split(',')[0]
    axes.set_title(f'Published, not measured here: ImageNet top-1 by layer ({source})', color=INK, fontsize=10, loc='left')
    figure.legend(loc='outside right center', frameon=False, fontsize=7)
    _plain(axes)
    return save_figure(figure, out_png)
