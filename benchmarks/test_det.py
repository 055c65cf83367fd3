"""Average precision of a trained detector on data.val, printed and as JSON: python benchmarks/test_det.py CFG CKPT

The checkpoint must fit the model in every tensor, and the categories must be those that it was trained with. Several processes:
bash benchmarks/dist_train_det.sh runs this after training.
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
    parser.add_argument(
        '--config_of_run', metavar='CFG', help='file to name in the result, where `config` is a merged copy of it'
    )
    parser.add_argument(
        '--pretrained', help='backbone that the detector started from: the weights that the result is of'
    )
    parser.add_argument(
        '--seconds', type=float, default=0.0, help='that the training took, to be added to the time in the result'
    )
    parser.add_argument('--work_dir', help='where detection.json goes (default: the folder of the checkpoint)')
    parser.add_argument('--ema', action='store_true', help='test the moving average of the weights (EMAHook)')
    parser.add_argument(
        '--show', type=int, default=0, metavar='N', help='draw N images with their objects: detections.png'
    )
    parser.add_argument('--force', action='store_true', help='replace detection.json and detections.png if they exist')
    cli.add_launcher(parser)
    cli.add_cfg_options(parser)
    args = parser.parse_args()
    if args.show < 0:
        parser.error('--show must be 0 or more')
    return args


def main() -> None:
    args = parse_args()
    from selfsup.evaluation.results.record import check_free, write_result

    work_dir = Path(args.work_dir or Path(args.checkpoint).parent)
    path, picture = check_free(work_dir / 'detection.json', args.force), work_dir / 'detections.png'
    if args.show:
        check_free(picture, args.force)

    import numpy as np

    from selfsup import config
    from selfsup.errors import ConfigError

    compiled = config.compile_config(config.load(args.config, args.cfg_options))
    if compiled['val_dataloader'] is None or compiled['model']['type'] != 'Detection':
        raise ConfigError(
            f'{args.config} is no detector with data to test on: it needs model.type=Detection and data.val.'
        )

    from selfsup import distributed as dist
    from selfsup.datasets.loaders import build_loader
    from selfsup.datasets.robust import unreadable
    from selfsup.engine.launch import init_distributed, shut_down
    from selfsup.engine.resume.state_checks import read_meta
    from selfsup.evaluation.class_names import check_checkpoint_classes
    from selfsup.evaluation.detection.average_precision import detect_and_evaluate
    from selfsup.optim.trained import parameters_by_part
    from selfsup.registry import MODELS
    from selfsup.visualization.detections import detection_grid
    from selfsup.weights.load import load_model
    from selfsup.weights.read import read_checkpoint

    start = time.perf_counter()
    device = init_distributed(args.launcher, port=args.port)
    model = MODELS.build(compiled['model'])
    load_model(model, args.checkpoint, strict=True, average=args.ema)
    model = model.to(device)
    loader = build_loader(
        compiled['val_dataloader'], seed=0, device=device, rank=dist.rank(), world_size=dist.world_size()
    )
    checkpoint = read_checkpoint(args.checkpoint)
    unknown = check_checkpoint_classes(
        checkpoint, args.checkpoint, loader.dataset, (compiled['train_dataloader'] or {}).get('dataset')
    )
    numbers, found = detect_and_evaluate(model, loader)
    loader.close()
    if dist.is_main():
        meta = read_meta(checkpoint, args.checkpoint)
        missing = unreadable(loader.dataset)
        kept = np.setdiff1d(np.arange(len(loader.dataset)), missing)
        settings = {
            'images': len(kept),
            'left_out': len(missing),
            'classes': model.num_classes,
            'cfg_options': args.cfg_options,
            'ema': args.ema,
            'checkpoint': args.checkpoint,
            'iterations': meta.get('iter'),
            'world_size': dist.world_size(),
            'parameters': parameters_by_part(model),
        }
        write_result(
            path,
            protocol='detection',
            numbers=numbers,
            config=args.config_of_run or args.config,
            force=args.force,
            weights=args.pretrained or args.checkpoint,
            seed=meta.get('fingerprint', {}).get('seed', 0),
            device=device,
            seconds=args.seconds + time.perf_counter() - start,
            settings=settings,
        )
        lines = [
            f'{args.checkpoint} on {len(kept):,} images',
            *(f'{k}: {v:.2f}' for k, v in numbers.items()),
            str(path),
        ]
        lines += [] if unknown is None else [unknown]
        if args.show:
            lines.append(
                str(
                    detection_grid(
                        loader.dataset.data_source, found, args.show, picture, title=args.checkpoint, kept=kept
                    )
                )
            )
        print('\n'.join(lines))
    shut_down()


if __name__ == '__main__':
    cli.run(main)
