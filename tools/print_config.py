"""Print a config: as it is after inheritance and options, or compiled to what the runner gets.

    python tools/print_config.py configs/selfsup/moco/r50_v2.py [--compiled] [--cfg-options optimizer.lr=0.1 ...]

The output is Python text, itself a config file.
"""

from __future__ import annotations

import argparse

from selfsup import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config file')
    parser.add_argument('--compiled', action='store_true', help='show the runner config instead of the merged file')
    cli.add_cfg_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from selfsup.config import compile_config, load, to_text

    loaded = load(args.config, args.cfg_options)
    print(to_text(compile_config(loaded)) if args.compiled else loaded.text, end='')


if __name__ == '__main__':
    cli.run(main)
