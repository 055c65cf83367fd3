"""A picture of an effective receptive field."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .drawing import INK, PAPER, new_figure, save_figure

FRAME = '#c2410c'
STYLES = ('-', '--', '-.', ':')


def receptive_field_picture(
    field: np.ndarray, squares: Sequence[tuple[float, int]], out_png: str | os.PathLike, title: str = ''
) -> Path:
    """The field in shades, dark where pixels contribute most, with squares around its centre and a scale.

    Args:
        field: (H, W) in [0, 1].
        squares: (share, side in pixels) of each square to draw; they are told apart by line and legend.
        out_png: the picture; its folder is made.
        title: above it.

    Returns:
        `out_png`.
    """
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    height, width = field.shape
    figure = new_figure(6.4, 5.6)
    panel = figure.subplots()
    shades = panel.imshow(field, cmap='Blues', vmin=0, vmax=1, interpolation='antialiased')
    for number, (share, side) in enumerate(squares):
        left, top = width // 2 - side // 2 - 0.5, height // 2 - side // 2 - 0.5
        # named in the legend: beside nested squares of nearly one size their names would lie on each other
        panel.add_patch(
            Rectangle(
                (left, top),
                side,
                side,
                fill=False,
                color=FRAME,
                linewidth=0.8 + 0.3 * number,
                linestyle=STYLES[number % len(STYLES)],
                label=f'{share:.0%}: {side} x {side}',
                path_effects=[withStroke(linewidth=2 + 0.3 * number, foreground=PAPER)],
            )
        )
    if squares:
        figure.legend(
            loc='outside lower center',
            ncols=min(4, len(squares)),
            frameon=False,
            fontsize=8,
            labelcolor=INK,
            title='share of the contributions: square in pixels',
            title_fontsize=8,
        )
    panel.set_xlim(-0.5, width - 0.5)
    panel.set_ylim(height - 0.5, -0.5)
    panel.tick_params(colors=INK, labelsize=8)
    panel.set_xlabel('pixels', color=INK, fontsize=9)
    bar = figure.colorbar(shades, ax=panel, shrink=0.9)
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.set_label('contribution, log10(1 + x) / largest', color=INK, fontsize=9)
    if title:
        panel.set_title(title, color=INK, fontsize=11)
    return save_figure(figure, out_png)
