"""Write the tables and bars of docs/benchmarks/small_comparison.md from the JSON files that benchmarks/small/compare.py made.

python benchmarks/small/compare_table.py          # rewrites the page between the comments, and its picture
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.small.comparing import FACTORS, RESULTS, Method, find_methods, read_all, spread  # noqa: E402

PAGE = ROOT / 'docs/benchmarks/small_comparison.md'
PICTURE = ROOT / 'docs/images/small_comparison.png'
MARKS = {
    'runs': ('<!-- runs: benchmarks/small/compare_table.py -->', '<!-- end of runs -->'),
    'search': ('<!-- search: benchmarks/small/compare_table.py -->', '<!-- end of search -->'),
}
NOT_RUN = 'not run'
COLUMNS = (
    *('method', 'network', 'seeds', 'learning rate', 'minutes', 'iterations'),
    *('kNN-20', 'over untrained', 'linear probe', 'embedding std', 'rank'),
)
Runs = dict[str, list[dict[str, Any]]]


def read_runs(results: Path = RESULTS) -> Runs:
    """Runs by the name of their method, untrained networks among them."""
    found: Runs = defaultdict(list)
    for result in read_all(results / 'runs'):
        found[result['method']].append(result)
    return dict(found)


def ordered(methods: dict[str, Method], runs: Runs) -> list[str]:
    """Names of the methods, the best mean kNN-20 first, those without runs last."""
    return sorted(methods, key=lambda name: (-_mean(runs.get(name, []), 'knn_20'), name))


def _values(runs: list[dict[str, Any]], number: str) -> list[float]:
    return [run['numbers'][number] for run in runs if run['numbers'].get(number) is not None]


def _mean(runs: list[dict[str, Any]], number: str) -> float:
    values = _values(runs, number)
    return spread(values)['mean'] if values else 0.0


def _cell(runs: list[dict[str, Any]], number: str) -> str:
    """'52.3 ± 0.4 (51.9 to 52.7)', '52.3' for one run; a number less than there are runs is said: those diverged."""
    values = _values(runs, number)
    diverged = len(runs) - len(values)
    note = f', {diverged} of {len(runs)} diverged' if diverged else ''
    if not values:
        return f'all {len(runs)} diverged'
    if len(values) == 1:
        return f'{values[0]:.1f}{note}'
    s = spread(values)
    return f'{s["mean"]:.1f} ± {s["std"]:.1f} ({s["min"]:.1f} to {s["max"]:.1f}){note}'


def _range(values: list[float], form: str) -> str:
    """One number where all are shown alike, else the smallest and the largest; '-' for none."""
    shown = list(dict.fromkeys(form.format(value) for value in sorted(values)))
    return ' to '.join([shown[0], shown[-1]] if len(shown) > 1 else shown) or '-'


def runs_table(methods: dict[str, Method], runs: Runs) -> str:
    """Markdown rows of all methods; the untrained networks stand at the end."""
    lines = [
        f'| {" | ".join(COLUMNS)} |',
        '|---' * len(COLUMNS) + '|',
    ]
    for name in ordered(methods, runs):
        found = runs.get(name, [])
        link = f'[{methods[name].title}](../../configs/{methods[name].config})'
        lines.append(_row(link, found, runs) if found else f'| {link} | {NOT_RUN} |' + ' |' * (len(COLUMNS) - 2))
    for name in dict.fromkeys(method.untrained for method in methods.values()):
        found = runs.get(name, [])
        users = ', '.join(method.title for method in methods.values() if method.untrained == name)
        what = 'untrained' if name == 'untrained' else f'untrained, of {users}'
        if not found:
            lines.append(f'| {what} | {NOT_RUN} |' + ' |' * (len(COLUMNS) - 2))
            continue
        lines.append(
            f'| {what} | {_network(found)} | {len(found)} | - | 0 | 0 | {_cell(found, "knn_20")} | 0 | {_cell(found, "linear")} | - | - |'
        )
    return '\n'.join(lines)


def _network(found: list[dict[str, Any]]) -> str:
    return f'{found[0]["network"]}, {found[0]["parameters"] / 1e6:.2f} M'


def _row(link: str, found: list[dict[str, Any]], runs: Runs) -> str:
    untrained = _values(runs.get(found[0]['untrained'], []), 'knn_20')
    gain = f'{_mean(found, "knn_20") - spread(untrained)["mean"]:+.1f}' if untrained else '-'
    timed = [run for run in found if run['time']]
    minutes = _range([_minutes(run) for run in timed], '{:.1f}')
    rate = ', '.join(f'{key} {value:g}' for key, value in found[0]['rate'].items())
    watched = {
        key: [run[key] for run in found if run.get(key) is not None] for key in ('embedding_std', 'embedding_rank')
    }
    return (
        f'| {link} | {_network(found)} | {len(found)} | {rate} | {minutes} | {_range([run["iterations"] for run in found], "{:.0f}")} '
        f'| {_cell(found, "knn_20")} | {gain} | {_cell(found, "linear")} '
        f'| {_range(watched["embedding_std"], "{:.2f}")} | {_range(watched["embedding_rank"], "{:.0f}")} |'
    )


def _minutes(run: dict[str, Any]) -> float:
    """Measured minutes of training on both cores, by the clock of the budget."""
    budget = run['budget']
    seconds = run['time']['seconds'] / budget['jobs'] if budget['clock'] == 'wall' else run['time']['cpu_seconds'] / 2
    return seconds / 60


def search_table(methods: dict[str, Method], results: Path = RESULTS) -> str:
    """kNN-20 at each rate of the search, and the rate that was taken."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for result in read_all(results / 'search'):
        if 'factor' in result:
            found[result['method']][f'{result["factor"]:.2g}'] = result
    shown = [f'{factor:.2g}' for factor in FACTORS]
    titles = ['x 1/3', 'x 1', 'x 3']
    lines = [f'| method | rate of the config | {" | ".join(titles)} | taken |', '|---|---|---|---|---|---|']
    for name, method in sorted(methods.items()):
        results_of = found.get(name, {})
        if not results_of:
            lines.append(f'| {method.title} | {NOT_RUN} | | | | |')
            continue
        numbers = {key: result['numbers']['knn_20'] for key, result in results_of.items()}
        cells = [
            ('diverged' if numbers[key] is None else f'{numbers[key]:.1f}') if key in numbers else NOT_RUN
            for key in shown
        ]
        whole = len(numbers) == len(FACTORS)
        taken = _taken(results_of) if whole else '-'
        rates = method.cfg['optimizer'].get('lr', method.cfg['optimizer'].get('base_lr'))
        lines.append(f'| {method.title} | {rates:g} | {" | ".join(cells)} | {taken} |')
    return '\n'.join(lines)


def _taken(results_of: dict[str, Any]) -> str:
    from benchmarks.small.comparing import best_factor

    by_factor = {result['factor']: result for result in results_of.values()}
    try:
        best = best_factor({factor: result['numbers']['knn_20'] for factor, result in by_factor.items()})
    except ValueError:
        return 'none'
    return ', '.join(f'{value:g}' for value in by_factor[best]['rate'].values())


def update(page: str, methods: dict[str, Method], results: Path = RESULTS) -> str:
    """`page` with its tables renewed, and its picture shown where there are runs to draw."""
    runs = read_runs(results)
    picture = f'\n\n![kNN-20 and linear probe of each method](../images/{PICTURE.name})' if drawn(methods, runs) else ''
    tables = {'runs': runs_table(methods, runs) + picture, 'search': search_table(methods, results)}
    for name, (start, end) in MARKS.items():
        before, rest = page.split(start)
        _, after = rest.split(end)
        page = f'{before}{start}\n{tables[name]}\n{end}{after}'
    return page


def drawn(methods: dict[str, Method], runs: Runs) -> list[str]:
    """Names of the bars: methods with a number, and untrained networks."""
    names = [*ordered(methods, runs), *dict.fromkeys(method.untrained for method in methods.values())]
    return [name for name in names if name in runs and _values(runs[name], 'knn_20')]


def plot(methods: dict[str, Method], runs: Runs, path: Path = PICTURE) -> Path:
    """Bars of kNN-20 and of the linear probe, with the range of the seeds."""
    from selfsup.visualization.curves import ACCENT, PALE
    from selfsup.visualization.drawing import INK, hide_frame, new_figure, save_figure

    names = drawn(methods, runs)
    figure = new_figure(8, 1.2 + 0.45 * len(names))
    axes = figure.subplots()
    for row, name in enumerate(names):
        for number, offset, colour, label in (
            ('knn_20', 0.19, ACCENT, 'kNN-20'),
            ('linear', -0.19, PALE, 'linear probe'),
        ):
            values = _values(runs[name], number)
            if not values:
                continue
            s = spread(values)
            ends = [[s['mean'] - s['min']], [s['max'] - s['mean']]]
            several = {'xerr': ends, 'ecolor': INK, 'capsize': 2} if len(values) > 1 else {}
            axes.barh(-row + offset, s['mean'], 0.36, color=colour, label=label if row == 0 else None, **several)
            axes.text(s['max'] + 0.6, -row + offset, f'{s["mean"]:.1f}', va='center', fontsize=8, color=INK)
    labels = [methods[name].title if name in methods else name.replace('_', ', of ', 1) for name in names]
    axes.set_yticks([-row for row in range(len(names))], labels)
    axes.set_xlabel('top-1, percent; bars are means, lines the range of the seeds', color=INK, fontsize=8)
    figure.legend(loc='outside lower right', ncols=2, frameon=False, fontsize=8)
    hide_frame(axes)
    axes.tick_params(colors=INK, labelsize=8)
    return save_figure(figure, path)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    methods, runs = find_methods(), read_runs()
    PAGE.write_text(update(PAGE.read_text(), methods))
    if drawn(methods, runs):
        plot(methods, runs)


if __name__ == '__main__':
    main()
