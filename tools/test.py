"""Top-1 and top-5 accuracy of a trained classifier on data.val: python tools/test.py CFG CKPT

The checkpoint must fit the model in every tensor, and the classes of the images must be those that it was trained with.
Several processes: bash tools/dist_test.sh CFG GPUS CKPT.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from selfsup import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint of a run with this config')
    parser.add_argument('--work_dir', help='where the log goes (default: the folder of the checkpoint)')
    parser.add_argument('--topk', type=int, nargs='+', default=[1, 5], help='accuracies to compute')
    parser.add_argument('--ema', action='store_true', help='test the moving average of the weights (EMAHook)')
    cli.add_launcher(parser)
    cli.add_cfg_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from selfsup import config
    from selfsup.errors import ConfigError

    compiled = config.compile_config(config.load(args.config, args.cfg_options))
    if compiled['val_dataloader'] is None:
        raise ConfigError(f'{args.config} has no data.val to test on; add it, or give it with --cfg-options.')
    if compiled['model']['type'] == 'Detection':
        raise ConfigError(f'{args.config} is a detector: use benchmarks/test_det.py, which measures average precision.')

    from selfsup import distributed as dist
    from selfsup.datasets.loaders import build_loader
    from selfsup.engine.launch import init_distributed, shut_down
    from selfsup.evaluation.class_names import check_checkpoint_classes
    from selfsup.evaluation.features import collect, evaluating, left_out
    from selfsup.registry import MODELS
    from selfsup.weights.load import load_model
    from selfsup.weights.read import read_checkpoint

    device = init_distributed(args.launcher, port=args.port)
    model = MODELS.build(compiled['model'])
    load_model(model, args.checkpoint, strict=True, average=args.ema)
    model = model.to(device)
    train = (compiled['train_dataloader'] or {}).get('dataset')
    loader = build_loader(
        compiled['val_dataloader'], seed=0, device=device, rank=dist.rank(), world_size=dist.world_size()
    )
    unknown = check_checkpoint_classes(read_checkpoint(args.checkpoint), args.checkpoint, loader.dataset, train)
    with evaluating(model):
        scores = collect(lambda batch: {k: v.float() for k, v in model.predict(batch['img']).items()}, loader)
    loader.close()
    results = {}
    for name, logits in scores.items():
        results.update(
            loader.dataset.evaluate(
                logits, name, topk=tuple(k for k in args.topk if k <= logits.shape[1]) or tuple(args.topk)
            )
        )
    missing = left_out(loader.dataset)
    if dist.is_main():
        counted = f'{len(loader.dataset) - missing:,} images' + (
            f'; left out, as they cannot be read: {missing:,}' if missing else ''
        )
        lines = [
            f'{args.checkpoint} on {counted}',
            *(f'{k}: {v:.2f}' for k, v in results.items()),
            *filter(None, [unknown]),
        ]
        work_dir = Path(args.work_dir or Path(args.checkpoint).parent)
        work_dir.mkdir(parents=True, exist_ok=True)
        log = work_dir / f'test_{time.strftime("%Y%m%d_%H%M%S")}.log'
        log.write_text('\n'.join(lines) + '\n')
        print('\n'.join([*lines, f'log: {log}']))
    shut_down()


if __name__ == '__main__':
    cli.run(main)
