"""Count the parameters of a config's model: python tools/count_parameters.py CFG [--table] [--size 224]

--table adds parameters per module, and the FLOPs of the backbone for one image. One multiplication with its addition
counts as 2 FLOPs (papers often count it as 1); only matrix products and convolutions are counted.
"""

from __future__ import annotations

import argparse

from selfsup import cli


def millions(module) -> tuple[float, float]:
    """Parameters in millions: trained, frozen."""
    counts = {True: 0, False: 0}
    for p in module.parameters():
        counts[p.requires_grad] += p.numel()
    return counts[True] / 1e6, counts[False] / 1e6


def flops(model, size: int) -> dict[str, int]:
    """FLOPs of the backbone per module name ('backbone' in all), for one image of size x size; nothing is computed."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    model = model.to('meta').eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.extract(torch.empty(1, 3, size, size, device='meta'))
    root = type(model.backbone).__name__
    counts = {name.replace(root, 'backbone', 1): sum(ops.values()) for name, ops in counter.get_flop_counts().items()
              if name == root or name.startswith(root + '.')}
    return {'backbone': counter.get_total_flops(), **counts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('--table', action='store_true', help='per module, with FLOPs')
    parser.add_argument('--size', type=int, default=224, help='side of the image in pixels (for FLOPs)')
    cli.add_cfg_options(parser)
    args = parser.parse_args()

    from selfsup import config
    from selfsup.registry import MODELS
    model = MODELS.build(config.compile_config(config.load(args.config, args.cfg_options))['model'])

    print(f"{'millions of parameters':24s}{'with grad':>12s}{'without':>12s}{'together':>12s}")
    for name, module in (('backbone', model.backbone), ('total', model)):
        trained, frozen = millions(module)
        print(f'{name:24s}{trained:12.3f}{frozen:12.3f}{trained + frozen:12.3f}')
    if not args.table:
        return
    modules = [(name, module) for name, module in model.named_modules() if name and name.count('.') < 2]
    rows = [(name, *millions(module)) for name, module in modules if any(True for _ in module.parameters())]
    counted = flops(model, args.size)
    width = max(len(name) for name, *_ in rows) + 2
    print(f"\n{'module':{width}s}{'with grad':>12s}{'without':>12s}{f'GFLOPs at {args.size}':>16s}")
    for name, trained, frozen in rows:
        work = f'{counted[name] / 1e9:16.3f}' if name in counted else ''
        print(f'{name:{width}s}{trained:12.3f}{frozen:12.3f}{work}')


if __name__ == '__main__':
    cli.run(main)
