"""Curves of a run's scalars as a PNG."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError, did_you_mean
from .drawing import INK, hide_frame, new_figure, save_figure

ACCENT, PALE = '#1f5fa8', '#a9c6e8'


def plot_curves(
    source: str | os.PathLike | Mapping[str, Any],
    out_png: str | os.PathLike,
    keys: Sequence[str] = ('loss',),
    title: str = '',
    x_label: str = 'iteration',
) -> Path:
    """One panel per scalar, over a common axis; a noisy curve is drawn pale with its running mean on top.

    Args:
        source: a file of JSON lines (`{"step": 10, "loss": 6.9, ...}`, as a run writes), or a dict
            key -> values, or key -> (steps, values).
        out_png: the picture; its folder is made.
        keys: scalars to draw, from top to bottom.
        title: above the picture.
        x_label: below it.

    Returns:
        `out_png`.

    Raises:
        DataError: the file cannot be read or has no such scalar.
    """
    series = _from_dict(source) if isinstance(source, Mapping) else _from_file(Path(source))
    for key in keys:
        if not series.get(key, ((), ()))[1]:
            where = '' if isinstance(source, Mapping) else f' in {source}'
            raise DataError(f"There is no scalar '{key}'{where}.{did_you_mean(key, series)}")

    figure = new_figure(8, 1.0 + 2.8 * len(keys))
    panels = figure.subplots(len(keys), 1, sharex=True, squeeze=False)[:, 0]
    for panel, key in zip(panels, keys, strict=True):
        _draw(panel, key, *series[key])
    panels[-1].set_xlabel(x_label, color=INK)
    if title:
        figure.suptitle(title, color=INK, fontsize=13)
    return save_figure(figure, out_png)


def _draw(panel: Any, key: str, steps: Sequence[float], values: Sequence[float]) -> None:
    noisy = len(values) >= 50
    mark = 'o' if len(values) <= 40 else None
    panel.plot(
        steps, values, color=PALE if noisy else ACCENT, linewidth=1.0 if noisy else 1.8, marker=mark, markersize=3.5
    )
    if noisy:
        panel.plot(steps, _running_mean(values, max(2, len(values) // 40)), color=ACCENT, linewidth=1.8)
    panel.set_ylabel(key.replace('_', ' '), color=INK)
    panel.grid(True, color='#e4e4e4', linewidth=0.8)
    panel.set_axisbelow(True)
    hide_frame(panel)
    panel.tick_params(colors=INK)
    panel.margins(x=0.02)
    panel.xaxis.get_major_locator().set_params(integer=True)
    last = next((v for v in reversed(values) if math.isfinite(v)), None)
    if last is not None:
        panel.set_title(f'last {last:.4g}', loc='right', fontsize=9, color='#777777')


def _running_mean(values: Sequence[float], reach: int) -> list[float]:
    """Mean over `reach` values to either side, always as many on both so that nothing lags; NaN at the very ends."""
    means = []
    for place in range(len(values)):
        side = min(reach, place, len(values) - 1 - place)
        window = [v for v in values[place - side : place + side + 1] if math.isfinite(v)] if side >= reach // 2 else []
        means.append(sum(window) / len(window) if window else math.nan)
    return means


def _from_dict(source: Mapping[str, Any]) -> dict[str, tuple[list, list]]:
    series = {}
    for key, curve in source.items():
        pair = isinstance(curve, tuple) and len(curve) == 2 and not isinstance(curve[0], int | float)
        steps, values = curve if pair else (range(1, len(curve) + 1), curve)
        series[key] = ([float(s) for s in steps], [float(v) for v in values])
    return series


def _from_file(path: Path) -> dict[str, tuple[list, list]]:
    """Scalars by name; a line that a killed run left unfinished is passed over."""
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise DataError(f'The log {path} cannot be read: {error.strerror}.') from None
    series: dict[str, tuple[list, list]] = {}
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if not isinstance(entry, dict):
            continue
        step = entry.get('step', entry.get('iter', number))
        for key, value in entry.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                steps, values = series.setdefault(key, ([], []))
                steps.append(step)
                values.append(float(value))
    return series
