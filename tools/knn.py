"""Weighted kNN accuracy of frozen features (arXiv:1805.01978): python tools/knn.py CFG --pretrained W.pth --k 10,20,200

The images are those of the config's KNNHook; without one, those of data.train vote, seen through the pipeline of data.val, on
those of data.val. --dataset-config FILE.py, with `train = dict(type='ClassificationDataset', ...)` and `test = dict(...)`, goes
before both.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

from selfsup import cli
from selfsup.errors import ConfigError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file: its model is used')
    weights = parser.add_mutually_exclusive_group(required=True)
    weights.add_argument('--checkpoint', help='checkpoint of a run with this config')
    weights.add_argument('--pretrained', help="backbone weights, or 'random' for none")
    parser.add_argument('--dataset-config', help='Python file with train and test')
    parser.add_argument('--k', default='10,20,200', help='numbers of neighbours (default: 10,20,200)')
    parser.add_argument(
        '--temperature', type=float, default=0.07, help='of the weights exp(similarity / T), T > 0 (default: 0.07)'
    )
    parser.add_argument('--batch-size', type=int, default=256, help='images per process at once')
    parser.add_argument('--workers', type=int, default=0, help='loader workers per process')
    parser.add_argument('--seed', type=cli.seed, default=0, help='of the weights of --pretrained random')
    parser.add_argument(
        '--work_dir', type=Path, help='where knn.json goes (default: work_dirs/ + path of config + name of weights)'
    )
    parser.add_argument('--force', action='store_true', help='replace an existing knn.json')
    cli.add_launcher(parser)
    cli.add_cfg_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    words = args.k.split(',')
    if not all(word.strip().isdecimal() and int(word) for word in words) or not 0 < args.temperature < math.inf:
        raise ConfigError(
            f'--k {args.k!r} --temperature {args.temperature}: write whole numbers of 1 or more with commas, and a T > 0.'
        )
    neighbours = [int(word) for word in words]
    start = time.perf_counter()
    from selfsup import config
    from selfsup import distributed as dist
    from selfsup.engine.launch import init_distributed, shut_down
    from selfsup.evaluation.features import extract_features
    from selfsup.evaluation.knn import knn_accuracy
    from selfsup.evaluation.labelled import labelled_loaders, labelled_pair
    from selfsup.evaluation.results.record import check_free, write_result
    from selfsup.weights.load import build_with_weights

    weights = args.checkpoint or args.pretrained
    compiled = config.compile_config(config.load(args.config, args.cfg_options))
    path = check_free(
        (args.work_dir or Path(config.work_dir_of(compiled, args.config), Path(weights).name)) / 'knn.json', args.force
    )
    sections = labelled_pair(compiled, args.dataset_config)
    device = init_distributed(args.launcher, port=args.port)
    loaders = labelled_loaders(
        sections, batch_size=args.batch_size, num_workers=args.workers, device=device, seed=args.seed
    )
    model = build_with_weights(compiled['model'], weights, whole=bool(args.checkpoint), seed=args.seed).to(device)
    if max(neighbours) > len(loaders[0].dataset):  # known before hours of extraction
        raise ConfigError(
            f'--k {args.k}: there are {len(loaders[0].dataset)} training images; write numbers up to that.'
        )
    found, missing = [], []
    for loader in loaders:
        found += extract_features(model, loader)
        missing.append(len(loader.dataset) - len(found[-1]))
        loader.close()
    accuracy = knn_accuracy(*found, k=neighbours, temperature=args.temperature)
    if dist.is_main():
        write_result(
            path,
            protocol='knn',
            numbers={f'knn_{k}': value for k, value in accuracy.items()},
            config=args.config,
            weights=weights,
            seed=args.seed,
            device=device,
            seconds=time.perf_counter() - start,
            force=args.force,
            merged=compiled,
            settings={
                'temperature': args.temperature,
                'train_images': len(found[0]),
                'test_images': len(found[2]),
                'left_out': dict(zip(('train', 'test'), missing, strict=True)),
                'dataset_config': args.dataset_config,
                'cfg_options': args.cfg_options,
            },
        )
        print(*(f'knn_{k}: {value:.2f}' for k, value in accuracy.items()), f'result: {path}', sep='\n')
    shut_down()


if __name__ == '__main__':
    cli.run(main)
