"""Our k-means against faiss-cpu's on the same points, cores and starting numbers: objective and seconds.

    pip install faiss-cpu
    python benchmarks/speed/kmeans.py --out benchmarks/results/speed/kmeans.json

Each seed is run by both sides, alternately, 20 rounds each; the points are a mixture of blobs with noise, whitened and of unit
length as the pseudo-labelling hook makes them. Reported: median seconds, and each side's objective, mean over the seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

TARGET_SECONDS, TARGET_OBJECTIVE = 1.5, 1.01  # largest ratios ours / faiss


def make_points(number: int, width: int, blobs: int):
    import torch

    from selfsup.hooks.deep_cluster.clustering import preprocess

    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(blobs, width, generator=generator)
    which = torch.randint(blobs, (number,), generator=generator)
    points = centres[which] + torch.randn(number, width, generator=generator)
    return preprocess(points, width)


def measure(points, k: int, seeds: int, threads: int) -> dict:
    import faiss

    from selfsup.hooks.deep_cluster import clustering

    faiss.omp_set_num_threads(threads)
    sides = {'torch': clustering.kmeans, 'faiss': clustering.faiss_kmeans}
    for solve in sides.values():  # first use of the libraries
        solve(points[:2000], k, 0)
    seconds = {name: [] for name in sides}
    objective = {name: [] for name in sides}
    for seed in range(seeds):
        for name, solve in sides.items():
            start = time.perf_counter()
            centroids = solve(points, k, seed)
            seconds[name].append(time.perf_counter() - start)
            objective[name].append(float(clustering.assign(points, centroids)[1].double().sum()))
    time_ratio = statistics.median(seconds['torch']) / statistics.median(seconds['faiss'])
    objective_ratio = statistics.mean(objective['torch']) / statistics.mean(objective['faiss'])
    return {
        'seconds': {name: round(statistics.median(values), 4) for name, values in seconds.items()},
        'objective': {name: round(statistics.mean(values), 2) for name, values in objective.items()},
        'seconds_of_each_seed': {name: [round(v, 4) for v in values] for name, values in seconds.items()},
        'time_ratio': round(time_ratio, 3),
        'objective_ratio': round(objective_ratio, 5),
        'met': time_ratio <= TARGET_SECONDS and objective_ratio <= TARGET_OBJECTIVE,
        'faiss': faiss.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--number', type=int, default=20000, help='points')
    parser.add_argument('--width', type=int, default=256, help='numbers per point')
    parser.add_argument('--k', type=int, default=100, help='clusters')
    parser.add_argument('--seeds', type=int, default=7, help='runs of each side')
    parser.add_argument('--threads', type=int, default=os.cpu_count(), help='CPU threads of each side')
    parser.add_argument('--out', type=Path, help='JSON file to write')
    args = parser.parse_args()
    os.environ['OMP_NUM_THREADS'] = str(args.threads)  # before torch and faiss load their thread pools
    import torch

    torch.set_num_threads(args.threads)
    numbers = measure(make_points(args.number, args.width, blobs=max(2, args.k // 2)), args.k, args.seeds, args.threads)
    numbers = {
        **{name: getattr(args, name) for name in ('number', 'width', 'k', 'seeds', 'threads')},
        **numbers,
        'torch': torch.__version__,
        'machine': platform.machine(),
    }
    print(json.dumps(numbers, indent=1))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(numbers, indent=1) + '\n')


if __name__ == '__main__':
    main()
