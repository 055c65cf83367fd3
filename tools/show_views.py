"""Draw what the model sees: a grid of training images and their augmented views, as the training run will draw them.

python tools/show_views.py configs/selfsup/moco/r50_v2.py [-n 8] [--epochs 3] [--channels 3 2 1] [--out views.png] [--cfg-options a.b=c ...]
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
    cli.add_data(parser)
    cli.add_channels(parser)
    cli.add_cfg_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import numpy as np  # after the arguments: --help must not wait for torch

    from selfsup import config
    from selfsup.datasets.loaders.preview import Preview
    from selfsup.visualization.views import source_picture, to_picture, view_grid, view_names

    compiled = config.compile_config(config.load(args.config, args.cfg_options, {('--data', 'train'): args.data}))
    seed = args.seed if args.seed is not None else compiled.get('seed') or 0
    preview = Preview(compiled['train_dataloader'], seed)
    rows = []
    for index in np.unique(np.linspace(0, len(preview.dataset) - 1, args.n).astype(int)).tolist():
        views = [view for epoch in range(args.epochs) for view in preview.views(epoch, index)]
        pictures = [to_picture(view, preview.mean, preview.std, args.channels) for view in views]
        rows.append([source_picture(preview.image(index), args.channels), *pictures])
    names = view_names(views[: len(views) // args.epochs])
    heads = [('image', ''), *((f'epoch {epoch}', name) for epoch in range(args.epochs) for name in names)]
    out = args.out or Path(config.default_work_dir(args.config)) / 'views.png'
    print(view_grid(rows, heads, out, title=f'{Path(args.config).with_suffix("").as_posix()}, seed {seed}'))


if __name__ == '__main__':
    cli.run(main)
