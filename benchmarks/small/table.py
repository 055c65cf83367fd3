"""Write the README's table of the small CIFAR-10 runs from the JSON files that benchmarks/small/run.py made.

python benchmarks/small/table.py          # rewrites the part of README.md between the two comments
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / 'benchmarks/results/small'
START, END = '<!-- table: benchmarks/small/table.py -->', '<!-- end of table -->'


def table(results: Path = RESULTS) -> str:
    """Markdown rows of all result files, best first."""
    found = sorted((json.loads(path.read_text()) for path in results.glob('*.json')), key=lambda r: -r['trained'])
    lines = ['| method | config | untrained | trained | gain | epochs | minutes |', '|---|---|---|---|---|---|---|']
    lines += [
        f'| {r["method"]} | [{r["config"].removeprefix("configs/")}]({r["config"]}) | {r["untrained"]:.1f} | {r["trained"]:.1f} '
        f'| {r["gain"]:+.1f} | {r["epochs"]} | {r["seconds"] / 60:.1f} |'
        for r in found
    ]
    return '\n'.join(lines)


def update(readme: str, results: Path = RESULTS) -> str:
    """`readme` with the table between the comments renewed."""
    before, rest = readme.split(START)
    _, after = rest.split(END)
    return f'{before}{START}\n{table(results)}\n{END}{after}'


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    readme = ROOT / 'README.md'
    readme.write_text(update(readme.read_text()))


if __name__ == '__main__':
    main()
