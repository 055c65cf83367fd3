"""Turn a list of ImageNet file names, as SimCLR publishes for 1 % and 10 %, into lines `wnid/file label`.

    python tools/prepare_data/convert_subset.py 1percent.txt data/imagenet/meta/train_labeled_1percent.txt
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfsup import cli
from selfsup.errors import DataError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('input', type=Path, help='one file name per line: n01440764_10026.JPEG')
    parser.add_argument('output', type=Path, help='list to write')
    parser.add_argument('--labeled', type=Path, default=Path('data/imagenet/meta/train_labeled.txt'),
                        help='lines "wnid/file label" of all images (default: data/imagenet/meta/train_labeled.txt)')
    args = parser.parse_args()
    try:
        lines = args.labeled.read_text().split('\n')
        wanted = [line.strip() for line in args.input.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise DataError(f'{error.filename} cannot be read: {error.strerror}.') from None
    known = {line.rsplit(maxsplit=1)[0].rpartition('/')[2]: line.strip() for line in lines if line.strip()}
    missing = [name for name in wanted if name not in known]
    if missing or not wanted:
        raise DataError(f'{args.labeled} lacks {len(missing)} of the {len(wanted)} images of {args.input}: {", ".join(missing[:3])}.')
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(''.join(f'{known[name]}\n' for name in wanted))
    print(f'{args.output}: {len(wanted):,} images')


if __name__ == '__main__':
    cli.run(main)
