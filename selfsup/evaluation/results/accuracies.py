"""Accuracies that a run measured while it trained: the last and the best of each head.

What a run measured is a list of evaluations, each a dict of numbers by name with its `epoch`; see `hooks/evaluation_hook.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ...errors import DataError

ACCURACY = re.compile(r'(ema_)?head\d+_top\d+')
LEFT_OUT = 'left_out'  # of the numbers of an evaluation: images, not percent
# All evaluations of a run, a dict of numbers each, in its message hub and in `meta` of its checkpoints.
MEASURED = 'measured'


def is_evaluation(line: object) -> bool:
    """Whether this is what one evaluation measured: numbers by name, `epoch` among them."""
    return isinstance(line, dict) and 'epoch' in line and {type(value) for value in line.values()} <= {int, float}


def by_name(measured: Sequence[Mapping[str, float]]) -> dict[str, dict[int, float]]:
    """Name (`head0_top1`, ...) -> epoch -> percent; epoch 0 is before training.

    Raises:
        DataError: no accuracy was measured.
    """
    accuracies: dict[str, dict[int, float]] = {}
    for line in measured:
        for name in filter(ACCURACY.fullmatch, line):
            accuracies.setdefault(name, {})[int(line['epoch'])] = line[name]
    if not accuracies:
        raise DataError(
            'The run measured no accuracy: the config needs a ValidateHook in custom_hooks. (A checkpoint of an earlier version, '
            'from which nothing was left to train, does not hold what its run had measured.)'
        )
    return accuracies


def left_out(measured: Sequence[Mapping[str, float]]) -> int:
    """How many images the last evaluation with accuracies could not read and left out."""
    accuracies = [line for line in measured if any(map(ACCURACY.fullmatch, line))]
    return int(accuracies[-1].get(LEFT_OUT, 0)) if accuracies else 0


def last_and_best(accuracies: Mapping[str, Mapping[int, float]]) -> tuple[dict[str, float], dict[str, int]]:
    """Numbers of a result.

    Args:
        accuracies: what `by_name` gave.

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
