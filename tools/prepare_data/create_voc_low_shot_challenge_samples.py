"""Low-shot samples of VOC2007: per class k positives and 19 k negatives.

    python tools/prepare_data/create_voc_low_shot_challenge_samples.py --targets_data_file train_targets.json --output_path DIR [--seed 0]

writes train_targets_sample{s}_k{k}.npy and .json: 1 and 0 for the chosen images, -1 for all others. Other samples that are there already
are replaced with --force only: results of different samples cannot be compared.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from selfsup import cli


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--targets_data_file', type=Path, required=True, help='JSON: image -> labels, from create_voc_data_files.py'
    )
    parser.add_argument('--output_path', type=Path, required=True)
    parser.add_argument(
        '--k_values', default='1,2,4,8,16,32,64,96', help='positives per class (default: 1,2,4,8,16,32,64,96)'
    )
    parser.add_argument('--num_samples', type=int, default=5, help='samples of each size (default: 5)')
    parser.add_argument('--seed', type=int, default=0, help='default: 0')
    parser.add_argument('--force', action='store_true', help='replace other samples')
    args = parser.parse_args()
    import numpy as np

    from selfsup.errors import DataError
    from selfsup.evaluation.arrays import read_array
    from selfsup.evaluation.svm.voc07_labels import draw_samples

    try:
        ks = [int(word) for word in args.k_values.split(',')]
    except ValueError:
        raise DataError(f'--k_values {args.k_values!r}: write numbers with commas, for example 1,2,4.') from None
    try:
        targets = json.loads(args.targets_data_file.read_text())
        labels = np.array(list(targets.values()), np.int32)
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f'{args.targets_data_file} cannot be read as image -> labels: {error}.') from None
    if labels.ndim != 2:
        raise DataError(
            f'{args.targets_data_file} holds no lists of labels; make it with create_voc_data_files.py --generate_json 1.'
        )
    samples = draw_samples(labels, ks, args.num_samples, args.seed)
    for (s, k), chosen in samples.items():
        path = args.output_path / f'train_targets_sample{s}_k{k}.npy'
        if path.exists() and not args.force and not np.array_equal(read_array(path, 'Remove it.'), chosen):
            raise DataError(
                f'{path} holds another sample, of another seed or other labels; give --force to replace it.'
            )
    try:
        args.output_path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f'{args.output_path} cannot be made: {error.strerror}.') from None
    for (s, k), chosen in samples.items():
        path = args.output_path / f'train_targets_sample{s}_k{k}'
        np.save(path.with_suffix('.npy'), chosen)
        path.with_suffix('.json').write_text(json.dumps(dict(zip(targets, chosen.tolist(), strict=True))))
    print(f'{len(samples)} samples in {args.output_path}, seed {args.seed}')


if __name__ == '__main__':
    cli.run(main)
