"""CPU time per image of a small set, by where its views are made: in the workers, or on the device, to which the images may have moved.

    python benchmarks/speed/small_images.py --images data/cifar10/test

Two views of MoCo v2 per image, one thread. `worker` is what a loader worker does, `all` that and the device's share, which is
the same CPU here. Ways take turns; medians of CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from selfsup.config import load
from selfsup.datasets.loaders import DeviceLoader, SeededDataset, build_loader

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / 'benchmarks' / 'results' / 'speed' / 'small_images.json'
CONFIG = ROOT / 'configs' / 'selfsup' / 'moco' / 'r18_cifar10_small.py'
WAYS: dict[str, tuple[bool | dict, str]] = {
    'reference': (False, 'reference'),
    'fast': (False, 'fast'),
    'augment_on_device': ({'augment_on_device': True}, 'fast'),
    'images_on_device': ({'augment_on_device': True, 'images_on_device': True}, 'fast'),
}
BATCH, BATCHES = 256, 4


def loader_of(images: str, way: str) -> DeviceLoader:
    """Of the small MoCo v2 config, on the CPU, without workers."""
    prefetch, backend = WAYS[way]
    dataset = load(str(CONFIG)).cfg['data']['train']
    dataset['data_source'] = {'type': 'ImageFolder', 'root': images}
    section = {'batch_size': BATCH, 'dataset': dataset, 'prefetch': prefetch, 'pipeline_backend': backend}
    return build_loader(section, seed=1, device=torch.device('cpu'))


def milliseconds(call: Any) -> float:
    """CPU time of `call` per image of `BATCHES` batches."""
    start = time.process_time()
    call()
    return 1000 * (time.process_time() - start) / (BATCH * BATCHES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', default='data/cifar10/test', help='folder of small images of one size')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--out', type=Path, default=OUT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    loaders = {way: loader_of(args.images, way) for way in WAYS}
    taken: dict[str, dict[str, list[float]]] = {way: {'worker': [], 'all': []} for way in WAYS}
    for repeat in range(args.repeats):
        for way, loader in loaders.items():
            samples, draws = SeededDataset(loader.dataset, 1), [(repeat, i, 0) for i in range(BATCH * BATCHES)]
            taken[way]['worker'].append(milliseconds(lambda s=samples, d=draws: s.__getitems__(d)))
            loader.set_position(repeat)
            batches = iter(loader)
            next(batches)  # warms up
            taken[way]['all'].append(milliseconds(lambda b=batches: [next(b) for _ in range(BATCHES)]))
    result = {
        'config': str(CONFIG.relative_to(ROOT)),
        'milliseconds_per_image': {
            way: {part: round(statistics.median(values), 3) for part, values in parts.items()}
            for way, parts in taken.items()
        },
        'repeats': args.repeats,
        'machine': platform.machine(),
        'torch': torch.__version__,
    }
    args.out.write_text(json.dumps(result, indent=1) + '\n')
    print(json.dumps(result['milliseconds_per_image'], indent=1))


if __name__ == '__main__':
    main()
