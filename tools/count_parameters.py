"""Count the parameters of a config's model: python tools/count_parameters.py CFG [--table] [--nonzero [CKPT]] [--size 224]

--table adds parameters per module, and the FLOPs of the backbone for one image. One multiplication with its addition
counts as 2 FLOPs (papers often count it as 1); only matrix products and convolutions are counted.
--nonzero counts what is not exactly zero in a checkpoint of a sparse run (without one, in the untrained model).
"""

from __future__ import annotations

import argparse

from selfsup import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('--table', action='store_true', help='per module, with FLOPs')
    parser.add_argument('--nonzero', nargs='?', const='', metavar='CKPT', help='parameters and FLOPs without zeros')
    parser.add_argument(
        '--ema', action='store_true', help='with --nonzero: of the moving average of the weights (EMAHook)'
    )
    parser.add_argument('--size', type=int, default=224, help='side of the image in pixels (for FLOPs)')
    cli.add_cfg_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from selfsup import config
    from selfsup.evaluation.analysis.parameters import flops, nonzero_flops, size_and_nonzero
    from selfsup.optim.trained import trained_and_frozen
    from selfsup.registry import MODELS
    from selfsup.weights.load import load_model

    model = MODELS.build(config.compile_config(config.load(args.config, args.cfg_options))['model'])
    if args.nonzero:
        load_model(model, args.nonzero, strict=True, average=args.ema)

    columns = ['with grad', 'without', 'together', *(['not zero'] if args.nonzero is not None else [])]
    print(f'{"millions of parameters":24s}' + ''.join(f'{column:>12s}' for column in columns))
    for name, module in (('backbone', model.backbone), ('total', model)):
        trained, frozen = trained_and_frozen(module)
        numbers = [
            trained,
            frozen,
            trained + frozen,
            *(size_and_nonzero(module)[1:] if args.nonzero is not None else ()),
        ]
        print(f'{name:24s}' + ''.join(f'{number / 1e6:12.3f}' for number in numbers))
    if args.table:
        modules = [(name, module) for name, module in model.named_modules() if name and name.count('.') < 2]
        rows = [
            (name, *trained_and_frozen(module)) for name, module in modules if any(True for _ in module.parameters())
        ]
    if args.nonzero is not None:
        dense, nonzero = nonzero_flops(model, args.size)
        print(
            f'GFLOPs of the backbone at {args.size}: {dense / 1e9:.3f}, without zeros {nonzero / 1e9:.3f} '
            f'({nonzero / 2e9:.3f} G multiplications with their additions)'
        )
    if not args.table:
        return
    counted = flops(model, args.size)
    width = max(len(name) for name, *_ in rows) + 2
    print(f'\n{"module":{width}s}{"with grad":>12s}{"without":>12s}{f"GFLOPs at {args.size}":>16s}')
    for name, trained, frozen in rows:
        work = f'{counted[name] / 1e9:16.3f}' if name in counted else ''
        print(f'{name:{width}s}{trained / 1e6:12.3f}{frozen / 1e6:12.3f}{work}')


if __name__ == '__main__':
    cli.run(main)
