"""Train the small CIFAR-10 configs one after another and write what each learned: one JSON per method.

Each run is what a user types, `python tools/train.py CONFIG`; its seconds are those of the whole command: imports, the kNN
evaluation of the untrained network, training, checkpoints, the kNN evaluation at the end.

    python benchmarks/small/run.py                  # all methods, about an hour on 2 CPU cores
    python benchmarks/small/run.py simclr npid      # some
    python benchmarks/small/table.py                # then: the README's table from the files
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / 'benchmarks/results/small'
CONFIGS = {  # method as papers call it, config
    'moco_v1': ('MoCo v1', 'selfsup/moco/r18_cifar10_small_v1.py'),
    'moco_v2': ('MoCo v2', 'selfsup/moco/r18_cifar10_small.py'),
    'simclr': ('SimCLR', 'selfsup/simclr/r18_cifar10_small.py'),
    'byol': ('BYOL', 'selfsup/byol/r18_cifar10_small.py'),
    'npid': ('NPID', 'selfsup/npid/r18_cifar10_small.py'),
    'deepcluster': ('DeepCluster', 'selfsup/deepcluster/r18_cifar10_small.py'),
    'odc': ('ODC', 'selfsup/odc/r18_cifar10_small.py'),
    'rotation_pred': ('Rotation-Pred', 'selfsup/rotation_pred/r18_cifar10_small.py'),
    'relative_loc': ('Relative-Loc', 'selfsup/relative_loc/r18_cifar10_small.py'),
    'spark': ('SparK', 'selfsup/spark/r18_cifar10_small.py'),
    'fcmae': ('FCMAE', 'selfsup/fcmae/convnextv2_cifar10_small.py'),
}
BUDGET = 600  # seconds a run may take on 2 cores


def read_scalars(work_dir: Path) -> list[dict]:
    """The logged lines of the only run in `work_dir`."""
    (file,) = work_dir.rglob('vis_data/20*.json')
    return [json.loads(line) for line in file.read_text().splitlines()]


def measure(name: str, seed: int, work_dir: Path) -> dict:
    """Train one config from nothing and return its numbers."""
    title, config = CONFIGS[name]
    command = ['tools/train.py', f'configs/{config}', '--work_dir', str(work_dir), '--seed', str(seed)]
    start = time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True)
    seconds = time.perf_counter() - start
    import torch

    scalars = read_scalars(work_dir)
    untrained, trained = (round(line['knn_20'], 2) for line in scalars if 'knn_20' in line)
    last = scalars[-1]
    return {
        'method': title,
        'config': f'configs/{config}',
        'data': 'CIFAR-10, 20,000 images to train on, 5,000 to test',
        'measure': 'kNN-20 top-1, percent',
        'untrained': untrained,
        'trained': trained,
        'gain': round(trained - untrained, 2),
        'seed': seed,
        'seconds': round(seconds),
        'within_budget': seconds <= BUDGET,
        'epochs': last['epoch'],
        'steps': last['iter'],
        'cores': os.cpu_count(),
        'machine': platform.machine(),
        'torch': torch.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('methods', nargs='*', choices=[*CONFIGS, []], help='default: all')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=RESULTS, help='folder for the JSON files')
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.methods or CONFIGS:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(name, args.seed, Path(folder) / name)
        (args.out / f'{name}.json').write_text(json.dumps(found, indent=1) + '\n')
        print(json.dumps(found), flush=True)


if __name__ == '__main__':
    main()
