"""Write a list of a share of the images of each class, for semi-supervised training: lines 'path label', in the order of the source.

    python tools/prepare_data/make_subset.py data/cifar10/train data/cifar10/meta/train_1percent.txt --share 0.01
    python tools/prepare_data/make_subset.py data/imagenet/meta/train_labeled.txt OUT.txt --root data/imagenet/train --share 0.1

SOURCE is a folder of class folders, or a list of lines 'path label'. The same seed always gives the same list.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from selfsup import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', help='folder of class folders, or list file')
    parser.add_argument('out', type=Path, help='list to write')
    parser.add_argument('--share', type=float, required=True, help='of each class, in (0, 1]; at least one image')
    parser.add_argument('--root', help='folder that the names of a list file start from')
    parser.add_argument('--seed', type=cli.seed, default=0)
    parser.add_argument('--force', action='store_true', help='replace an existing list')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from selfsup.datasets.data_sources import ImageFolder, ImageList
    from selfsup.datasets.subset import choose_per_class
    from selfsup.errors import ConfigError, DataError
    from selfsup.files import write_atomic

    if args.out.exists() and not args.force:
        raise DataError(f'{args.out} exists; give --force to replace it, or another name.')
    is_list = os.path.isfile(args.source)
    if is_list and args.out.exists() and args.out.samefile(args.source):
        raise DataError(f'{args.out} is the list to choose from; --force does not replace it. Give another name.')
    if is_list and not args.root:
        raise ConfigError(f'{args.source} is a list: give --root, the folder that its names start from.')
    source = ImageList(args.root, args.source) if is_list else ImageFolder(args.source)
    if source.labels is None:
        raise DataError(
            f'{args.source} has no labels: give a folder with one subfolder per class, or a list of lines "path label".'
        )
    chosen = choose_per_class(source.labels, args.share, args.seed)
    lines = [f'{os.path.relpath(source.describe(i), source.root)} {source.labels[i]}\n' for i in chosen.tolist()]
    write_atomic(args.out, lambda file: file.write(''.join(lines).encode(errors='surrogateescape')), DataError)
    print(f'{args.out}: {len(lines):,} of {len(source):,} images, {source.num_classes} classes')


if __name__ == '__main__':
    cli.run(main)
