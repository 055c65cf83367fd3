"""Linear classification on cached features: extract once, train all heads at several learning rates at once.

    python tools/linear_cached.py CFG --pretrained W.pth --lrs 0.01,0.1,1,10,30 --epochs 100

CFG is a config of linear classification; its backbone is used frozen and in evaluation mode, its heads in float32. Without --views
the images are seen as in data.val; with --views N in N draws of the pipeline of data.train, epoch e using draw e modulo N.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from selfsup import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('config', help='config file')
    add('--pretrained', required=True, help="backbone weights, or 'random' for none")
    add('--lrs', help='learning rates with commas (default: that of the config)')
    add('--epochs', type=int, help='default: those of the config')
    add('--batch-size', type=int, help='images per step (default: imgs_per_gpu)')
    add('--views', type=int, default=0, help='draws of the training pipeline (default: 0, no augmentation)')
    add('--flip', action='store_true', help='each draw mirrored too')
    add('--dtype', default='float16', help='float16 (default) or float32, of the cache')
    add(
        '--cache',
        type=Path,
        help='folder of the cache (default: cache/ in the work dir); a cache that fits is used again',
    )
    add('--seed', type=cli.seed, default=0, help='of heads, order and draws')
    add('--work_dir', type=Path, help='default: work_dirs/ + path of config + name of weights')
    add('--force', action='store_true', help='replace linear_cached.json, and a cache of other features')
    cli.add_launcher(parser)
    cli.add_cfg_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    start = time.perf_counter()
    from selfsup import config
    from selfsup.engine.launch import init_distributed, shut_down
    from selfsup.evaluation.linear import cached as linear
    from selfsup.evaluation.linear.head_inputs import both_caches
    from selfsup.evaluation.results.record import check_free, write_result
    from selfsup.weights.load import build_with_weights

    compiled = config.compile_config(config.load(args.config, args.cfg_options))
    work_dir = args.work_dir or Path(config.work_dir_of(compiled, args.config), Path(args.pretrained).name)
    path = check_free(work_dir / 'linear_cached.json', args.force)
    rates = linear.parse_rates(args.lrs, compiled)
    linear.check_run(compiled, rates, args.epochs, args.batch_size)
    device = init_distributed(args.launcher, port=args.port)
    model = build_with_weights(compiled['model'], args.pretrained, seed=args.seed).to(device)
    train, test, accuracy = both_caches(
        model,
        compiled,
        args.cache or work_dir / 'cache',
        weights=args.pretrained,
        views=args.views,
        flip=args.flip,
        dtype=args.dtype,
        seed=args.seed,
        device=device,
        force=args.force,
    )
    shut_down()
    if train is None:  # rank 0 goes on alone
        return
    epochs = args.epochs or compiled['train_cfg']['max_epochs']
    heads = linear.CachedHeads(
        model.head,
        rates,
        compiled,
        train,
        batch_size=args.batch_size or compiled['train_dataloader']['batch_size'],
        epochs=epochs,
        seed=args.seed,
        drop_last=compiled['train_dataloader'].get('drop_last', False),
    )
    extracted = time.perf_counter()
    for epoch in range(epochs):
        losses = heads.train_epoch(epoch)
        if (epoch + 1) % max(1, epochs // 5) == 0 or epoch + 1 == epochs:
            print(
                f'epoch {epoch + 1}: loss',
                *(f'{loss:.4f} (lr {rate:g})' for loss, rate in zip(losses, rates, strict=True)),
                flush=True,
            )
    numbers, chosen = linear.best_rates(heads.evaluate(test, accuracy), rates)
    write_result(
        path,
        protocol='linear_cached',
        numbers=numbers,
        config=args.config,
        weights=args.pretrained,
        seed=args.seed,
        device=device,
        seconds=time.perf_counter() - start,
        force=args.force,
        merged=compiled,
        settings={
            'views': args.views,
            'flip': args.flip,
            'dtype': args.dtype,
            'rates': rates,
            'rate_chosen_on_the_test_set': chosen,
            'epochs': epochs,
            'batch_size': heads.batch_size,
            'seconds_extraction': round(extracted - start, 2),
            'left_out': {'train': train.left_out, 'test': test.left_out},
            'parameters': heads.parameters(model),
            'cfg_options': args.cfg_options,
        },
    )
    print(*(f'{name}: {value:.2f}' for name, value in numbers.items()), f'result: {path}', sep='\n')


if __name__ == '__main__':
    cli.run(main)
