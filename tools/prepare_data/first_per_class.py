"""Copy the first images of each class, by file name, into a smaller folder of class folders, as for the small CIFAR-10 configs.

    python tools/prepare_data/first_per_class.py data/cifar10_all data/cifar10 --train 2000 --test 500
    python tools/prepare_data/first_per_class.py data/cifar data/cifar10 --train 2000 --test 500

SOURCE holds train/CLASS/IMAGE and test/CLASS/IMAGE, which are copied as they are; or the unpacked archive, cifar-10-batches-py, whose
images are written as PNG, numbered by their order in the archive.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path

from selfsup import cli
from selfsup.errors import ConfigError, DataError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='folder with train and test, or with cifar-10-batches-py')
    parser.add_argument('out', type=Path, help='folder to make')
    parser.add_argument('--train', type=int, required=True, metavar='N', help='images of each class from train')
    parser.add_argument('--test', type=int, required=True, metavar='N', help='images of each class from test')
    return parser.parse_args()


def copy_images(source: object, chosen: list[int], folder: Path) -> None:
    """Write images of a source into class folders: files as they are, others as PNG."""
    counts = dict.fromkeys(source.classes, 0)
    for index in chosen:
        name = source.classes[source.labels[index]]
        (folder / name).mkdir(parents=True, exist_ok=True)
        path = Path(source.describe(index))
        if path.is_file():
            relative = path.relative_to(Path(source.root) / name)
            (folder / name / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name / relative)
        else:
            source.read_image(index).save(folder / name / f'{counts[name]:04d}.png')
        counts[name] += 1


def main() -> None:
    args = parse_args()
    from selfsup.datasets.data_sources import Cifar10, ImageFolder
    from selfsup.datasets.subset import first_per_class

    if min(args.train, args.test) < 1:
        raise ConfigError(f'--train {args.train} --test {args.test}: write numbers of 1 or more.')
    if args.out.exists():
        raise DataError(f'{args.out} exists; give the name of a folder that is to be made.')
    packed = (args.source / 'cifar-10-batches-py').is_dir()
    sources = {
        split: Cifar10(str(args.source), split) if packed else ImageFolder(str(args.source / split))
        for split in ('train', 'test')
    }
    for source in sources.values():
        if source.labels is None:
            raise DataError(f'{source.root} has no class folders. {source.no_labels}')
    chosen = {split: first_per_class(source.labels, getattr(args, split)) for split, source in sources.items()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    # A cut copy must not look like a whole one.
    with tempfile.TemporaryDirectory(dir=args.out.parent, prefix=f'{args.out.name}.') as part:
        made = Path(part) / 'made'
        for split, source in sources.items():
            copy_images(source, chosen[split].tolist(), made / split)
        os.rename(made, args.out)
    for split, source in sources.items():
        print(f'{args.out / split}: {len(chosen[split]):,} of {len(source):,} images, {source.num_classes} classes')


if __name__ == '__main__':
    cli.run(main)
