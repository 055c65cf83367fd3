"""Labels of VOC2007 for the SVM benchmarks.

    python tools/prepare_data/create_voc_data_files.py --data_source_dir data/VOCdevkit/VOC2007 --output_dir LABELS

writes {train,test}_images.npy (paths), {train,test}_labels.npy (images x classes: 1, 0, -1 = difficult), class_names.json and, with
--generate_json 1, {train,test}_targets.json (image -> labels). `train` is trainval; --separate_partitions 1: train is train, and val
is written too.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from selfsup import cli


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--data_source_dir', type=Path, required=True, help='folder VOC2007, with ImageSets and JPEGImages'
    )
    parser.add_argument('--output_dir', type=Path, required=True)
    parser.add_argument(
        '--separate_partitions', type=int, choices=(0, 1), default=0, help='1: train and val apart (default: 0)'
    )
    parser.add_argument(
        '--generate_json', type=int, choices=(0, 1), default=0, help='1: targets as JSON too (default: 0)'
    )
    args = parser.parse_args()
    import numpy as np

    from selfsup.errors import DataError
    from selfsup.evaluation.svm.voc07_labels import read_partition

    partitions = (
        {'train': 'train', 'val': 'val', 'test': 'test'}
        if args.separate_partitions
        else {'train': 'trainval', 'test': 'test'}
    )
    found = {name: read_partition(args.data_source_dir, partition) for name, partition in partitions.items()}
    classes = found['train'][0]
    for name, (names, _, _) in found.items():
        if names != classes:
            raise DataError(f'{name} has the classes {", ".join(names)}; train has {", ".join(classes)}.')
    try:
        args.output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f'{args.output_dir} cannot be made: {error.strerror}.') from None
    (args.output_dir / 'class_names.json').write_text(json.dumps(classes))
    for name, (_, images, labels) in found.items():
        paths = [str(args.data_source_dir / 'JPEGImages' / f'{image}.jpg') for image in images]
        np.save(args.output_dir / f'{name}_images.npy', np.array(paths))
        np.save(args.output_dir / f'{name}_labels.npy', labels)
        if args.generate_json:
            targets = dict(zip(images, labels.tolist(), strict=True))
            (args.output_dir / f'{name}_targets.json').write_text(json.dumps(targets))
        path = args.output_dir / f'{name}_labels.npy'
        print(f'{path}: {labels.shape[0]:,} images x {labels.shape[1]} classes, {(labels == -1).sum()} difficult')


if __name__ == '__main__':
    cli.run(main)
