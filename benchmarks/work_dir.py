"""Where a protocol script writes: python benchmarks/work_dir.py CONFIG [WEIGHTS] prints the work dir of CONFIG, then the name of WEIGHTS.

The work dir is that of tools/train.py: the config's own `work_dir`, or work_dirs/ and the path of the config below the last folder named
configs (its name, where there is none). It lies below the folder in which the command was started.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfsup import cli


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('weights', nargs='?', help="file of weights, or 'random'")
    args = parser.parse_args()
    from selfsup import config

    work_dir = config.work_dir_of(config.compile_config(config.load(args.config)), args.config)
    print(Path(work_dir, Path(args.weights).name) if args.weights else Path(work_dir))


if __name__ == '__main__':
    cli.run(main)
