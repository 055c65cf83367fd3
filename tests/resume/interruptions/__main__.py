"""Run the series: python -m tests.resume.interruptions [--methods MoCo ODC] [--processes 1 2] [--kills 100] [--signals 50] [--out JSON]."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from .methods import METHODS
from .plan import spread
from .series import Cell


def series(
    folder: Path,
    kills: int,
    signals: int,
    *,
    seed: int = 0,
    methods: tuple[str, ...] = METHODS,
    processes: tuple[int, ...] = (1, 2),
    epochs: int = 8,
    patience: float = 1,
    out: Path | None = None,
    go_on: bool = False,
) -> dict[str, Any]:
    """Share the interruptions out among methods and numbers of processes, and run them one after the other.

    Args:
        folder: for the runs; each is removed when it is done.
        kills, signals: how many, over all.
        seed: of the plan.
        methods, processes: the cells.
        epochs: length of a run.
        patience: factor of the time limits.
        out: JSON that is written after each cell.
        go_on: leave out the cells that `out` holds.

    Returns:
        What is kept: the numbers of each cell, and of all.

    Raises:
        AssertionError: see `Cell.run`.
    """
    cells = [(method, number) for method in methods for number in processes]
    before = json.loads(out.read_text())['cells'] if out and go_on and out.exists() else {}
    done: dict[str, dict[str, Any]] = {}
    for (method, number), some, others in zip(
        cells, spread(kills, len(cells)), spread(signals, len(cells)), strict=True
    ):
        cell = Cell(folder / f'{method}{number}', method, number, seed, epochs, patience)
        if cell.name in before:
            done[cell.name] = before[cell.name]
        else:
            done[cell.name] = cell.run(some, others)
        shutil.rmtree(cell.folder)
        kept = {**before, **done}
        result = {'seed': seed, 'all': total(kept), 'cells': {name: kept[name] for name in sorted(kept, key=_place)}}
        if out:
            out.parent.mkdir(exist_ok=True)
            out.write_text(json.dumps(result, indent=1) + '\n')
    return result


def _place(name: str) -> tuple[int, str]:
    return METHODS.index(name.split()[0]), name


def total(cells: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Sums over cells; of the longest times, the longest."""
    names = sorted({name for cell in cells.values() for name in cell})
    return {
        name: round((max if name in ('left_s', 'stop_s') else sum)(cell.get(name, 0) for cell in cells.values()), 2)
        for name in names
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=METHODS)
    parser.add_argument('--processes', nargs='+', type=int, default=(1, 2))
    parser.add_argument('--kills', type=int, default=100, help='how many, over all')
    parser.add_argument('--signals', type=int, default=50, help='how many, over all')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--epochs', type=int, default=8, help='length of a run')
    parser.add_argument('--patience', type=float, default=1, help='factor of the time limits')
    parser.add_argument('--out', type=Path, help='JSON for the result')
    parser.add_argument('--go_on', action='store_true', help='leave out the cells that the JSON holds')
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = series(
            Path(folder),
            asked.kills,
            asked.signals,
            seed=asked.seed,
            methods=tuple(asked.methods),
            processes=tuple(asked.processes),
            epochs=asked.epochs,
            patience=asked.patience,
            out=asked.out,
            go_on=asked.go_on,
        )
    print(json.dumps(result['all'], indent=1))


if __name__ == '__main__':
    main()
