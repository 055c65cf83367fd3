"""How long a start takes, against another checkout of the project: `--help`, an import, and a run of one iteration.

    git worktree add ../before COMMIT
    python benchmarks/speed/start.py ../before --out benchmarks/results/speed/start.json

Both sides run alternately, with the same interpreter and packages, each in a process of its own; which side goes first changes from pair to
pair. Reported: the median over the pairs of the ratio here / there, of wall seconds and of CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGET = 1.05  # largest ratio here / there
HERE = Path(__file__).resolve().parents[2]
RUN = ('total_epochs=None', 'total_iters=1', 'data.imgs_per_gpu=8')
COMMANDS = {
    'help': ('{tree}/tools/train.py', '--help'),
    'import': ('-c', 'import selfsup.engine'),
    'run': (
        '{tree}/tools/train.py',
        '{tree}/configs/quickstart/moco_digits.py',
        '--work_dir',
        '{folder}/run',
        '--start_over',
        '--cfg-options',
        *RUN,
    ),
}


def seconds(tree: Path, words: tuple[str, ...], folder: str) -> tuple[float, float]:
    """Wall and CPU seconds of one process with the package of `tree`."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, *(word.format(tree=tree, folder=folder) for word in words)]
    environment = {**os.environ, 'PYTHONPATH': str(tree), 'OMP_NUM_THREADS': '1'}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(other: Path, pairs: int) -> dict:
    """Medians of each command, and whether all ratios of CPU seconds are within the target."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, words in COMMANDS.items():
            sides: dict[Path, list[tuple[float, float]]] = {HERE: [], other: []}
            for tree in sides:  # the files of both are in the page cache, and compiled
                seconds(tree, words, folder)
            for pair in range(pairs):
                for tree in (HERE, other) if pair % 2 else (other, HERE):
                    sides[tree].append(seconds(tree, words, folder))
            ratios = [(a[0] / b[0], a[1] / b[1]) for a, b in zip(sides[HERE], sides[other], strict=True)]
            results[name] = {
                'wall_ratio': round(statistics.median(wall for wall, _ in ratios), 3),
                'cpu_ratio': round(statistics.median(cpu for _, cpu in ratios), 3),
                'wall_seconds': round(statistics.median(wall for wall, _ in sides[HERE]), 3),
                'cpu_seconds': round(statistics.median(cpu for _, cpu in sides[HERE]), 3),
            }
            print(name, results[name], flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('other', type=Path, help='root of the other checkout')
    parser.add_argument('--pairs', type=int, default=9)
    parser.add_argument('--out', type=Path, help='JSON file to write')
    args = parser.parse_args()
    commit = ['git', '-C', str(args.other), 'rev-parse', '--short', 'HEAD']
    results = measure(args.other.resolve(), args.pairs)
    report = {
        'against': subprocess.run(commit, capture_output=True, text=True).stdout.strip(),
        'pairs': args.pairs,
        'results': results,
        'met': all(max(r['wall_ratio'], r['cpu_ratio']) <= TARGET for r in results.values()),
        'machine': platform.machine(),
    }
    print(json.dumps(report, indent=1))
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + '\n')


if __name__ == '__main__':
    main()
