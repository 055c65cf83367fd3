"""Write the tables and plots of docs/model_zoo.md, and the table of transfer results in README.md, from result files.

python tools/report.py                     # from benchmarks/results/protocols and benchmarks/published.json
python tools/report.py --results work_dirs --print    # tables of your own results, nothing is written
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfsup import cli

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ('feat1', 'feat2', 'feat3', 'feat4', 'feat5')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--results', type=Path, default=ROOT / 'benchmarks/results/protocols', help='folder of result files'
    )
    parser.add_argument('--published', type=Path, default=ROOT / 'benchmarks/published.json', help='published numbers')
    parser.add_argument('--print', action='store_true', help='print the tables of --results and write nothing')
    return parser.parse_args()


def pages(results: list, tables: list) -> dict[Path, str]:
    """File -> its text with all blocks renewed."""
    from selfsup.evaluation.results import tables as report

    zoo, readme = ROOT / 'docs/model_zoo.md', ROOT / 'README.md'
    text = report.replace_block(zoo.read_text(), 'measured', report.measured_tables(results))
    return {
        zoo: report.replace_block(text, 'published', report.published_tables(tables)),
        readme: report.replace_block(readme.read_text(), 'transfer', report.comparison(small(results))),
    }


def small(results: list) -> list:
    """Results of the small CIFAR-10 runs."""
    return [m for m in results if m.path.parts[0] == 'cifar10_small']


def main() -> None:
    args = parse_args()
    from selfsup.evaluation.results import tables as report
    from selfsup.visualization.report import plot_layers, plot_pairs

    if args.print:
        print(report.measured_tables(report.read_results(args.results, skip_others=True)))
        return
    results, tables = report.read_results(args.results), report.read_published(args.published)
    for path, text in pages(results, tables).items():
        path.write_text(text)
        print(path.relative_to(ROOT))
    images = ROOT / 'docs/images'
    linear = next(table for table in tables if table['id'] == 'imagenet_linear')
    title = 'CIFAR-10 (20,000 images), ResNet-18 of 0.7 M parameters, measured'
    bars = [
        (f'{p.title}\n{Path(p.config).name}, {p.name}', p.random, p.pretrained) for p in report.pairs(small(results))
    ]
    for path in (
        plot_pairs(bars, images / 'model_zoo_transfer.png', title),
        plot_layers(linear, images / 'model_zoo_published_linear.png', LAYERS),
    ):
        print(path.relative_to(ROOT))


if __name__ == '__main__':
    cli.run(main)
