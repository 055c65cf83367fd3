"""Documented commands of SparK, ConvNeXt V2, SLaK and OpenSelfSup, as they are run here.

    python tools/from_command.py "COMMAND" --out FILE.py

Prints what became of each flag, the config, and the command that runs it. See docs/coming_from.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfsup import cli
from selfsup.errors import UsageError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('command', help='the command, in quotes')
    parser.add_argument('--out', metavar='FILE.py', type=Path, help='write the config there (default: it is printed)')
    parser.add_argument('--force', action='store_true', help='replace the file if it exists')
    parser.add_argument('--all', action='store_true', help='show the flags that the command leaves out too')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.out is not None and args.out.suffix != '.py':
        raise UsageError(f'--out {args.out}: a config ends in .py')
    if args.out is not None and args.out.exists() and not args.force:
        raise UsageError(f'--out {args.out} exists: give another name, or --force to replace it')
    from selfsup.foreign import translate

    found = translate(args.command, args.out)
    if args.out is not None and not found.config:
        raise UsageError('this command reads no config: leave out --out')
    rows = [row for row in found.rows if args.all or row.given or row.status == 'taken']
    wide = min(44, max((len(row.flag) for row in rows), default=0))
    for row in rows:
        print(f'{row.flag:{wide}}  {row.status:10}  {row.text}{"" if row.given else " (documented default)"}')
    if len(rows) < len(found.rows):
        print(f'{len(found.rows) - len(rows)} flags that were left out change nothing here (--all shows them)')
    print(*(f'note: {note}' for note in found.notes), sep='\n' if found.notes else '')
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(found.config)
        print(f'config: {args.out}')
    elif found.config:
        print('config (--out FILE.py writes it):\n')
        print(found.config)
    print(f'command: {found.command}')


if __name__ == '__main__':
    cli.run(main)
