"""Pretrain MoCo v2 on scikit-learn's digits and compare the trained network with the untrained one (make demo)."""

from __future__ import annotations

import argparse
import time

from selfsup import cli

CONFIG = 'configs/quickstart/moco_digits.py'


def measure(model, loaders, k: int) -> dict[str, float]:
    """kNN top-1 and 1-shot accuracy (nearest class mean, 20 draws) on the held-out digits, in percent."""
    from selfsup.evaluation.features import extract_features
    from selfsup.evaluation.few_shot import nearest_mean_accuracy
    from selfsup.evaluation.knn import knn_accuracy

    train, test = (extract_features(model, loader, distributed=False) for loader in loaders)
    return {
        f'kNN-{k} top-1': knn_accuracy(*train, *test, k=(k,))[k],
        '1-shot': nearest_mean_accuracy(*train, *test, shots=1, draws=20)[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--work_dir', default='work_dirs/quickstart/moco_digits', help='where logs, checkpoints and pictures go'
    )
    parser.add_argument('--seed', type=int, default=0)
    cli.add_cfg_options(parser)
    args = parser.parse_args()
    from pathlib import Path

    import torch

    from selfsup import config, engine
    from selfsup.datasets.loaders import build_loader
    from selfsup.evaluation.features import extract_features
    from selfsup.registry import MODELS
    from selfsup.visualization import curves, neighbours

    loaded = config.load(CONFIG, args.cfg_options)
    compiled = config.compile_config(loaded)
    compiled.update(work_dir=args.work_dir, seed=args.seed)
    steps = compiled['train_dataloader']['dataset']['pipeline'][
        -2:
    ]  # ToTensor, Normalize: no augmentation when measuring
    loaders = [
        build_loader(
            dict(
                batch_size=256,
                num_workers=0,
                sampler=dict(type='EpochSampler', shuffle=False),
                dataset=dict(
                    type='ClassificationDataset', data_source=dict(type='Digits', split=split, size=24), pipeline=steps
                ),
            ),
            seed=0,
            device=torch.device('cpu'),
        )
        for split in ('train', 'test')
    ]
    torch.manual_seed(args.seed)
    untrained = MODELS.build(compiled['model'])
    print('Measuring the untrained network ...', flush=True)
    before = measure(untrained, loaders, 20)
    start = time.perf_counter()
    runner = engine.train(compiled, loaded, start_over=True)
    minutes = (time.perf_counter() - start) / 60
    model = engine.unwrap(runner.model).cpu()
    after = measure(model, loaders, 20)

    folder = Path(args.work_dir)
    curves.plot_curves(next(Path(runner.log_dir).rglob('vis_data/20*.json')), folder / 'loss.png')
    features, labels = extract_features(model, loaders[1])
    images = loaders[1].dataset.data_source
    neighbours.neighbours_of(features, images, folder / 'neighbours.png', labels=labels, queries=10, k=8)
    print(f'\nMoCo v2 on digits, {runner.max_iters} steps of 256 images in {minutes:.1f} min, seed {args.seed}\n')
    print(f'{"":14s} {"untrained":>10s} {"trained":>10s} {"gain":>8s}')
    for name in before:
        print(f'{name:14s} {before[name]:9.1f}% {after[name]:9.1f}% {after[name] - before[name]:+8.1f}')
    print(f'\nPictures: {folder / "loss.png"}, {folder / "neighbours.png"}\nLog and checkpoints: {folder}')


if __name__ == '__main__':
    cli.run(main)
