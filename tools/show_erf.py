"""Effective receptive field of a config's backbone: a picture, the map as NumPy file, and the table of areas.

python tools/show_erf.py CFG [CKPT] IMAGES... [--size 1024] [--num-images 50] [--out erf.png] [--cfg-options a.b=c ...]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfsup import cli

WEIGHTS = ('.pth', '.pt', '.tar', '.ckpt', '.safetensors')  # endings of checkpoints


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('config', help='config file; of its model the backbone is looked at')
    text = f'a checkpoint of the run or of its backbone ({", ".join(WEIGHTS)}; without one: random weights), then images and folders'
    add('inputs', nargs='+', metavar='[CKPT] IMAGES', help=text)
    add('--size', type=cli.positive, default=1024, help='images are resized to this side in pixels (default: 1024)')
    add('--num-images', type=cli.positive, default=50, help='use the first so many images (default: 50)')
    text = 'the picture; the map is written beside it as .npy (default: erf.png beside the checkpoint, or here)'
    add('--out', type=cli.picture, metavar='FILE.png', help=text)
    cli.add_cfg_options(parser)
    args = parser.parse_args()
    args.checkpoint = args.inputs.pop(0) if args.inputs[0].lower().endswith(WEIGHTS) else None
    if not args.inputs:
        parser.error('give at least one image, or a folder of images')
    return args


def main() -> None:
    args = parse_args()
    import numpy as np  # after the arguments: --help must not wait for torch
    import torch

    from selfsup import config
    from selfsup.datasets.base import open_like
    from selfsup.datasets.data_sources.image_folder import image_files
    from selfsup.datasets.pipelines import build_pipeline
    from selfsup.evaluation.analysis.receptive_field import areas, in_logarithms, receptive_field
    from selfsup.registry import MODELS
    from selfsup.visualization.receptive_field import receptive_field_picture
    from selfsup.visualization.reconstruction import network_steps
    from selfsup.weights.load import load_backbone

    compiled = config.compile_config(config.load(args.config, args.cfg_options))
    settings = compiled['train_dataloader']
    steps = next((value for key, value in settings['dataset'].items() if key.startswith('pipeline')), [])
    resize = {'type': 'Resize', 'size': (args.size, args.size)}
    pipeline = build_pipeline([resize, *network_steps(steps, settings['img_norm_cfg'])])
    files = image_files(args.inputs)[: args.num_images]
    model = MODELS.build(compiled['model'])
    if args.checkpoint:
        load_backbone(model, args.checkpoint)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    model.to(device).eval().requires_grad_(False)
    source = settings['dataset'].get('data_source', {})
    field = receptive_field(model.extract, (pipeline(open_like(file, source)).to(device) for file in files))
    table = areas(field.map)
    folder = Path(args.checkpoint).parent if args.checkpoint else Path(config.default_work_dir(args.config))
    out = Path(args.out or folder / 'erf.png')
    weights = Path(args.checkpoint).name if args.checkpoint else 'random weights'
    title = f'{type(model.backbone).__name__}, {weights}, {field.images} images'
    receptive_field_picture(in_logarithms(field.map), [(area.share, area.side) for area in table], out, title)
    np.save(out.with_suffix('.npy'), field.map)
    skipped = f'; {field.skipped} left out, as their gradients were not finite' if field.skipped else ''
    print(f'{field.images} images{skipped}')
    print('share of contributions    side, pixels    share of area')
    for area in table:
        print(f'{area.share:21.0%}{area.side:16d}{area.ratio:17.2%}')
    print(f'{out}\n{out.with_suffix(".npy")}')


if __name__ == '__main__':
    cli.run(main)
