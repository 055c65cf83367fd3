"""Measure weights by a protocol: python tools/evaluate.py PROTOCOL [arguments of that protocol]

PROTOCOL --help lists its arguments. Each writes its result as JSON into the work dir. Several processes: the scripts in benchmarks/.
"""

from __future__ import annotations

import argparse
import sys

from selfsup import cli, protocols
from selfsup.errors import did_you_mean


def protocol(name: str) -> str:
    if name not in protocols.PROTOCOLS:
        raise argparse.ArgumentTypeError(f"'{name}' is no protocol.{did_you_mean(name, protocols.PROTOCOLS)}")
    return name


def main() -> None:
    known = '\n'.join(f'  {name:14s} {what}' for name, (_, what) in protocols.PROTOCOLS.items())
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f'protocols:\n{known}', formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('protocol', metavar='PROTOCOL', type=protocol, help='one of those below')
    name = parser.parse_args(sys.argv[1:2]).protocol
    module, _ = protocols.PROTOCOLS[name]
    run = protocols.command(module, name if module == 'transfer' else None)
    run(sys.argv[2:], f'{parser.prog} {name}')


if __name__ == '__main__':
    cli.run(main)
