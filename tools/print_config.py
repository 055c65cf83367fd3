"""Print a config: as it is after inheritance and options, or compiled to what the runner gets.

    python tools/print_config.py configs/selfsup/moco/r50_v2.py [--compiled] [--cfg-options optimizer.lr=0.1 ...]

The output is Python text, itself a config file.
"""

from __future__ import annotations

import argparse
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config file')
    parser.add_argument('--compiled', action='store_true', help='show the runner config instead of the merged file')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='values to set, such as optimizer.lr=0.1')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    from selfsup.config import compile_config, load, to_text
    from selfsup.errors import SelfSupError
    try:
        loaded = load(args.config, args.cfg_options)
        print(to_text(compile_config(loaded)) if args.compiled else loaded.text, end='')
    except SelfSupError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
