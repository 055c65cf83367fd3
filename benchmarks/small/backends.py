"""What the backend of the pipelines changes in what a method learns: the same short runs with both, seed by seed.

Each run is a small CIFAR-10 config with fewer epochs (`EPOCHS`). A run that is in the file already is not repeated, so the series may be
stopped and started again.

    python benchmarks/small/backends.py                                  # about an hour on 2 CPU cores
    python benchmarks/small/backends.py --backends fast --methods byol   # a part
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from run import CONFIGS, RESULTS, ROOT, read_scalars

EPOCHS = {'moco_v2': 2, 'simclr': 1, 'byol': 1, 'spark': 1}


def measure(method: str, backend: str, seed: int) -> float:
    """kNN-20 top-1 after the run, in percent."""
    options = [f'total_epochs={EPOCHS[method]}', f'pipeline_backend={backend}']
    with tempfile.TemporaryDirectory() as folder:
        command = ['tools/train.py', f'configs/{CONFIGS[method][1]}', '--work_dir', folder, '--seed', str(seed)]
        subprocess.run([sys.executable, *command, '--cfg-options', *options], cwd=ROOT, check=True)
        *_, trained = (line['knn_20'] for line in read_scalars(Path(folder)) if 'knn_20' in line)
    return round(trained, 2)


def summary(runs: dict[str, dict[str, dict[str, float]]]) -> dict[str, dict]:
    """Per method: the spread of the reference over its seeds, and by how much the mean of the fast backend differs from its mean."""
    table = {}
    for method, by_backend in runs.items():
        if not {'reference', 'fast'} <= set(by_backend):
            continue
        reference, fast = list(by_backend['reference'].values()), list(by_backend['fast'].values())
        difference = sum(fast) / len(fast) - sum(reference) / len(reference)
        spread = max(reference) - min(reference)
        table[method] = {
            'spread_of_reference': round(spread, 2),
            'difference_of_means': round(difference, 2),
            'within_spread': abs(difference) <= spread,
            'fast_inside_range': sum(min(reference) <= value <= max(reference) for value in fast),
            'fast_runs': len(fast),
        }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--methods', nargs='+', choices=EPOCHS, default=list(EPOCHS))
    parser.add_argument('--backends', nargs='+', choices=('reference', 'fast'), default=['reference', 'fast'])
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--out', type=Path, default=RESULTS.parent / 'backends/cifar10_small.json')
    args = parser.parse_args()
    record = json.loads(args.out.read_text()) if args.out.exists() else {'runs': {}}
    runs = record['runs']
    for seed in args.seeds:
        for method in args.methods:
            for backend in args.backends:
                done = runs.setdefault(method, {}).setdefault(backend, {})
                if str(seed) in done:
                    continue
                done[str(seed)] = measure(method, backend, seed)
                record = {
                    'measure': 'kNN-20 top-1 on 5,000 test images of CIFAR-10, percent, by seed',
                    'epochs': EPOCHS,
                    'summary': summary(runs),
                    'runs': runs,
                }
                args.out.write_text(json.dumps(record, indent=1) + '\n')
                print(method, backend, seed, done[str(seed)], flush=True)


if __name__ == '__main__':
    main()
