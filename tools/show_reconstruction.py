"""Draw what a masked autoencoder reconstructs: a grid of images, their visible blocks, and the reconstruction with these pasted in.

python tools/show_reconstruction.py CFG CKPT IMAGES... [--out grid.png] [--size 224] [--seed 0] [--channels 3 2 1] [--cfg-options a.b=c ...]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfsup import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config of a SparK or FCMAE run')
    parser.add_argument('checkpoint', help="checkpoint of such a run, or the authors' with its decoder")
    parser.add_argument('images', nargs='+', help='image files')
    parser.add_argument(
        '--out',
        type=cli.picture,
        metavar='FILE.png',
        help='the picture (default: reconstruction.png beside the checkpoint)',
    )
    parser.add_argument('--size', type=cli.positive, help='side of the images in pixels (default: as in training)')
    parser.add_argument('--seed', type=int, default=0, help='of the hidden blocks (default: 0)')
    cli.add_channels(parser)
    cli.add_cfg_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import torch  # after the arguments: --help must not wait for it

    from selfsup import config
    from selfsup.datasets.base import open_like
    from selfsup.datasets.pipelines import build_pipeline
    from selfsup.errors import ConfigError
    from selfsup.registry import MODELS
    from selfsup.visualization.reconstruction import evaluation_steps, normalisation, reconstruction_grid
    from selfsup.weights.load import load_model

    compiled = config.compile_config(config.load(args.config, args.cfg_options))
    settings = compiled['train_dataloader']
    steps = settings['dataset'].get('pipeline', [])
    shown = evaluation_steps(steps, settings['img_norm_cfg'], args.size)
    model = MODELS.build(compiled['model'])
    if not hasattr(model, 'reconstruct'):
        raise ConfigError(
            f'{args.config} trains {type(model).__name__}, which reconstructs nothing: give a config of SparK or FCMAE.'
        )
    load_model(model, args.checkpoint)
    model.eval()
    pipeline = build_pipeline(shown)
    source = settings['dataset'].get('data_source', {})
    images = torch.stack([pipeline(open_like(path, source)) for path in args.images])
    visible = model.masking.draw(images, torch.Generator().manual_seed(args.seed))
    out = args.out or Path(args.checkpoint).with_name('reconstruction.png')
    pictures = model.reconstruct(images, visible)
    scale, title = normalisation(shown), Path(args.checkpoint).name
    print(reconstruction_grid(images, visible, pictures, out, *scale, title=title, channels=args.channels))


if __name__ == '__main__':
    cli.run(main)
