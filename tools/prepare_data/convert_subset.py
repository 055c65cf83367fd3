"""Turn a list of ImageNet file names, as SimCLR publishes for 1 % and 10 %, into lines `wnid/file label`.

python tools/prepare_data/convert_subset.py 1percent.txt data/imagenet/meta/train_labeled_1percent.txt
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfsup import cli
from selfsup.errors import DataError


def lines_of(path: Path) -> list[str]:
    """Lines of a list that are not empty.

    Raises:
        DataError: the file cannot be read, or has none.
    """
    try:
        lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{path} cannot be read as a list: {error}.') from None
    if not lines:
        raise DataError(f'{path} is empty.')
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('input', type=Path, help='one file name per line: n01440764_10026.JPEG')
    parser.add_argument('output', type=Path, help='list to write')
    parser.add_argument(
        '--labeled',
        type=Path,
        default=Path('data/imagenet/meta/train_labeled.txt'),
        help='lines "wnid/file label" of all images (default: data/imagenet/meta/train_labeled.txt)',
    )
    parser.add_argument('--force', action='store_true', help='replace an existing list')
    args = parser.parse_args()
    if args.output.exists() and not args.force:
        raise DataError(f'{args.output} exists; give --force to replace it, or another name.')
    wanted, lines = lines_of(args.input), lines_of(args.labeled)
    known = {line.rsplit(maxsplit=1)[0].rpartition('/')[2]: line for line in lines}
    missing = [name for name in wanted if name not in known]
    if missing:
        raise DataError(
            f'{args.labeled} lacks {len(missing)} of the {len(wanted)} images of {args.input}: {", ".join(missing[:3])}.'
        )
    if len(known) < len(lines):
        raise DataError(
            f'{args.labeled} has {len(lines):,} lines, but {len(known):,} names of files; each name must be unique.'
        )
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(''.join(f'{known[name]}\n' for name in wanted))
    print(f'{args.output}: {len(wanted):,} images')


if __name__ == '__main__':
    cli.run(main)
