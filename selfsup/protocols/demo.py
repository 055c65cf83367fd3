"""Pretrain MoCo v2 on scikit-learn's digits and compare the trained network with the untrained one (make demo)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from .. import cli
from .options import Declared, option

TYPE_CHECKING = False  # see options.py
if TYPE_CHECKING:
    from typing import Any

    from . import base

CONFIG = 'configs/quickstart/moco_digits.py'


class Options(Declared):
    """See the `help` of each field."""

    work_dir: str = option(
        'work_dirs/quickstart/moco_digits', '--work_dir', help='where logs, checkpoints and pictures go'
    )
    seed: int = option(0, type=int, help='of the run')
    cfg_options: Sequence[str] = option((), add=cli.add_cfg_options)


def measure(model, loaders, k: int) -> dict[str, float]:
    """kNN top-1 and 1-shot accuracy (nearest class mean, 20 draws) on the held-out digits, in percent."""
    from ..evaluation.features import extract_features
    from ..evaluation.few_shot import nearest_mean_accuracy
    from ..evaluation.knn import knn_accuracy

    features: list[Any] = []
    for loader in loaders:
        features += extract_features(model, loader, distributed=False)
    train, train_labels, test, test_labels = features
    return {
        f'kNN-{k} top-1': knn_accuracy(train, train_labels, test, test_labels, k=(k,))[k],
        '1-shot': nearest_mean_accuracy(train, train_labels, test, test_labels, shots=1, draws=20)[0],
    }


def run(asked: Options) -> base.Outcome:
    """Train and measure; prints the table."""
    import numpy as np
    import torch

    from .. import engine
    from ..config import compile_config, load
    from ..datasets.loaders import build_loader
    from ..evaluation.features import extract_features
    from ..registry import MODELS
    from ..visualization import curves, neighbours
    from . import base

    loaded = load(CONFIG, list(asked.cfg_options))
    compiled = compile_config(loaded)
    compiled.update(work_dir=asked.work_dir, seed=asked.seed)
    # ToTensor, Normalize: no augmentation when measuring
    steps = compiled['train_dataloader']['dataset']['pipeline'][-2:]
    loaders = [
        build_loader(
            dict(
                batch_size=256,
                pipeline_backend=compiled['train_dataloader']['pipeline_backend'],
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
    torch.manual_seed(asked.seed)
    untrained = MODELS.build(compiled['model'])
    print('Measuring the untrained network ...', flush=True)
    before = measure(untrained, loaders, 20)
    start = time.perf_counter()
    runner = engine.train(compiled, loaded, start_over=True)
    minutes = (time.perf_counter() - start) / 60
    model = engine.unwrap(runner.model).cpu()
    after = measure(model, loaders, 20)

    folder = Path(asked.work_dir)
    curves.plot_curves(next(Path(runner.log_dir).rglob('vis_data/20*.json')), folder / 'loss.png')
    features, labels = (np.asarray(part) for part in extract_features(model, loaders[1]))
    images = loaders[1].dataset.data_source
    neighbours.neighbours_of(features, images, folder / 'neighbours.png', labels=labels.tolist(), queries=10, k=8)
    print(f'\nMoCo v2 on digits, {runner.max_iters} steps of 256 images in {minutes:.1f} min, seed {asked.seed}\n')
    print(f'{"":14s} {"untrained":>10s} {"trained":>10s} {"gain":>8s}')
    for name in before:
        print(f'{name:14s} {before[name]:9.1f}% {after[name]:9.1f}% {after[name] - before[name]:+8.1f}')
    print(f'\nPictures: {folder / "loss.png"}, {folder / "neighbours.png"}\nLog and checkpoints: {folder}')
    return base.Outcome()
