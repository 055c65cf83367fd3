"""Accuracies that a training run logged: the last and the best of each head."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from ...errors import DataError

ACCURACY = re.compile(r'(ema_)?head\d+_top\d+')


def logged_accuracies(work_dir: str | os.PathLike) -> dict[str, dict[int, float]]:
    """Name (`head0_top1`, ...) -> epoch -> percent, of the run in `work_dir`; 0 is before training.

    A run may have been resumed: what a later start measured replaces what an earlier one had from that epoch on. A start
    from nothing (`--start_over`) forgets all earlier ones.

    Raises:
        DataError: no accuracy was logged there, or a log cannot be read.
    """
    found: dict[str, dict[int, float]] = {}
    for folder in sorted(p.parent for p in Path(work_dir).glob('*/compiled.json')):
        try:
            if not json.loads((folder / 'compiled.json').read_text()).get('resume_from'):
                found = {}
            lines = _measured(folder)
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise DataError(f'The log in {folder} cannot be read: {error}.') from None
        measured = [
            (line['epoch'], {k: v for k, v in line.items() if ACCURACY.fullmatch(k)})
            for line in lines
            if 'epoch' in line
        ]
        measured = [(epoch, values) for epoch, values in measured if values]
        first = min((epoch for epoch, _ in measured), default=None)
        for name, values in found.items() if first is not None else ():
            found[name] = {epoch: value for epoch, value in values.items() if epoch < first}
        for epoch, values in measured:
            for name, value in values.items():
                found.setdefault(name, {})[epoch] = value
    if not found:
        raise DataError(f'No accuracy was logged in {work_dir}: the config needs a ValidateHook in custom_hooks.')
    return found


def images_left_out(work_dir: str | os.PathLike) -> int:
    """How many images the last evaluation of a run could not read and left out; after `logged_accuracies`, which checks the logs."""
    lines = [
        line
        for folder in sorted(p.parent for p in Path(work_dir).glob('*/compiled.json'))
        for line in _measured(folder)
    ]
    accuracies = [line for line in lines if any(map(ACCURACY.fullmatch, line))]
    return int(accuracies[-1].get('left_out', 0)) if accuracies else 0


def _measured(folder: Path) -> list[dict]:
    """Lines of the log of one start of a run."""
    return [line for path in sorted(folder.glob('vis_data/2*.json')) for line in _lines(path)]


def _lines(path: Path) -> list[dict]:
    """Lines of a log. The last one may be half a line: that of a process that was killed, or of a disk that was full."""
    *whole, _ = path.read_text().split('\n')
    return [json.loads(line) for line in whole if line]


def last_and_best(accuracies: dict[str, dict[int, float]]) -> tuple[dict[str, float], dict[str, int]]:
    """Numbers of a result.

    Args:
        accuracies: what `logged_accuracies` gave.

    Returns:
        `{name}_last` and `{name}_best` in percent (what was measured before training counts only where there is
        nothing else), and the epoch of each.
    """
    numbers, epochs = {}, {}
    for name, values in sorted(accuracies.items()):
        trained = {epoch: value for epoch, value in values.items() if epoch > 0} or values
        best = max(trained, key=lambda epoch: (trained[epoch], -epoch))
        for kind, epoch in (('last', max(trained)), ('best', best)):
            numbers[f'{name}_{kind}'], epochs[f'{name}_{kind}'] = round(trained[epoch], 4), epoch
    return numbers, epochs
