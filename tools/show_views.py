"""Draw what the model sees: a grid of training images and their augmented views, as the training run will draw them.

python tools/show_views.py configs/selfsup/moco/r50_v2.py [-n 8] [--epochs 3] [--out views.png] [--cfg-options a.b=c ...]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfsup import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '-n', type=cli.positive, default=8, help='number of images, spread over the data set (default: 8)'
    )
    parser.add_argument(
        '--epochs', type=cli.positive, default=3, help='draw the views of epochs 0 .. EPOCHS - 1 (default: 3)'
    )
    parser.add_argument(
        '--out',
        type=cli.picture,
        metavar='FILE.png',
        help='the picture (default: views.png in the work dir of the config)',
    )
    parser.add_argument('--seed', type=int, help='run seed (default: that of the config, or 0)')
    cli.add_cfg_options(parser)
    return parser.parse_args()


def normalisation(dataset, settings: dict) -> tuple:
    """Mean and standard deviation that the views went through; of the loader with prefetch."""
    if settings.get('prefetch'):
        return (0.0,), (1.0,)  # these views are uint8 still
    steps = [step for pipeline in dataset.pipelines.values() for step in pipeline.steps]
    return next(((s.mean, s.std) for s in steps if type(s).__name__ == 'Normalize'), ((0.0,), (1.0,)))


def main() -> None:
    args = parse_args()
    import numpy as np  # after the arguments: --help must not wait for torch
    import torch

    from selfsup import config
    from selfsup.datasets.loaders import SeededDataset, collate, first_image, share_steps
    from selfsup.datasets.wrappers import use_backend
    from selfsup.prefetch import read_prefetch
    from selfsup.registry import DATASETS
    from selfsup.visualization.views import to_picture, view_grid, view_names, views_of

    compiled = config.compile_config(config.load(args.config, args.cfg_options))
    settings = compiled['train_dataloader']
    dataset = DATASETS.build(settings['dataset'])
    use_backend(dataset, settings['pipeline_backend'])
    seed = args.seed if args.seed is not None else compiled.get('seed') or 0
    augment = read_prefetch(settings['prefetch']).augment
    # the images need not wait on the device: the views are the same
    share = share_steps(dataset, 0, torch.device('cpu'), images=False) if augment else None
    seeded, (mean, std) = SeededDataset(dataset, seed), normalisation(dataset, settings)

    rows = []
    for index in np.unique(np.linspace(0, len(dataset) - 1, args.n).astype(int)).tolist():
        views = []
        for epoch in range(args.epochs):
            batch = collate([seeded[(epoch, index, 0)]], getattr(dataset, 'ragged', ()))
            if share is not None and 'draws' in batch:
                batch['img'] = share.views(batch['img'], batch['draws'])
            views.append(views_of(first_image(batch)))
        rows.append([dataset.read(index)[0], *(to_picture(view, mean, std) for epoch in views for view in epoch)])
    names = view_names(views[0])
    heads = [('image', ''), *((f'epoch {epoch}', name) for epoch in range(args.epochs) for name in names)]
    out = args.out or Path(config.default_work_dir(args.config)) / 'views.png'
    print(view_grid(rows, heads, out, title=f'{Path(args.config).with_suffix("").as_posix()}, seed {seed}'))


if __name__ == '__main__':
    cli.run(main)
