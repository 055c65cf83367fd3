"""Write the features of a data set as NumPy files, for linear classifiers on frozen layers.

    python tools/extract.py CFG --pretrained W.pth --dataset-config DATA.py --layer-ind 0,1,2,3,4 [--work_dir DIR]

gives {work_dir}/features/{split}_feat{N}.npy, (images, numbers) float32, N = position in --layer-ind from 1 on. DATA.py has
`data = dict(imgs_per_gpu=32, workers_per_gpu=2, extract=dict(type='ExtractDataset', ...))`, `split_name = ['a', 'b']` and
`split_at = [5011]`: the rows where the next split begins. {split}_names.json lists the images of the rows, extracted.json says what
each array is of: features of other weights, layers or images are replaced with --force only.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfsup import cli
from selfsup.errors import ConfigError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file: its backbone is used')
    weights = parser.add_mutually_exclusive_group(required=True)
    weights.add_argument('--checkpoint', help='checkpoint of a run with this config')
    weights.add_argument('--pretrained', help="backbone weights, or 'random' for none")
    parser.add_argument(
        '--dataset-config', default='benchmarks/extract_info/voc07.py', help='images and splits (default: VOC2007)'
    )
    parser.add_argument('--layer-ind', default='0,1,2,3,4', help='layers, 0 = stem (default: all five)')
    parser.add_argument('--work_dir', help='default: work_dirs/ + path of the config')
    parser.add_argument('--force', action='store_true', help='replace features of other weights, layers or images')
    cli.add_launcher(parser)
    cli.add_cfg_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    try:
        layers = [int(word) for word in args.layer_ind.split(',')]
    except ValueError:
        raise ConfigError(
            f'--layer-ind {args.layer_ind!r}: write numbers with commas, for example 0,1,2,3,4.'
        ) from None

    from selfsup import config
    from selfsup.evaluation import extracted
    from selfsup.evaluation.layer_features import pool_layers, read_splits, refuse_unreadable, save_splits

    data, names, at = read_splits(args.dataset_config)
    compiled = config.compile_config(config.load(args.config, args.cfg_options))
    compiled['model']['backbone']['out_indices'] = layers
    weights, folder = (
        args.checkpoint or args.pretrained,
        Path(args.work_dir or config.work_dir_of(compiled, args.config)) / 'features',
    )
    made_of = extracted.origin(compiled['model'], weights, bool(args.checkpoint), layers, data['extract'])
    extracted.check_free(folder, made_of, names, args.force)

    from selfsup import distributed as dist
    from selfsup.datasets.loaders import build_loader
    from selfsup.engine.launch import init_distributed, shut_down
    from selfsup.evaluation.features import collect, evaluating
    from selfsup.weights.load import build_with_weights

    device = init_distributed(args.launcher, port=args.port)
    model = build_with_weights(compiled['model'], weights, whole=bool(args.checkpoint)).to(device)
    loading = {
        'batch_size': data['imgs_per_gpu'],
        'num_workers': data.get('workers_per_gpu', 2),
        'dataset': data['extract'],
        'sampler': {'type': 'EpochSampler', 'shuffle': False},
    }
    loader = build_loader(loading, seed=0, device=device, rank=dist.rank(), world_size=dist.world_size())

    def features_of(batch: dict) -> dict:
        refuse_unreadable(loader.dataset)
        return pool_layers(model.extract(batch['img']), layers)

    with evaluating(model):
        features = collect(features_of, loader)
    loader.close()
    if dist.is_main():
        for path, shape in save_splits(features, folder, names, at):
            print(f'{path}: {shape[0]:,} x {shape[1]:,}')
        extracted.note(folder, made_of, names, at, loader.dataset)
    shut_down()


if __name__ == '__main__':
    cli.run(main)
