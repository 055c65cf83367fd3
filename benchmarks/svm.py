"""VOC2007 linear SVMs on extracted features: the full protocol, or with --low-shot the low-shot one.

    python benchmarks/svm.py WORK_DIR --features feat4 feat5 [--low-shot] [--force]

reads WORK_DIR/features/voc07_{trainval,test}_{feat}.npy and the labels that tools/prepare_data/prepare_voc07_cls.sh makes. Writes
WORK_DIR/svm/{feat}/ (crossval_ap.npy, chosen_cost.npy, test_ap.npy, json_preds.json, result.json) or WORK_DIR/svm_lowshot/{feat}/
(test_ap_sample{s}_k{k}.npy, test_ap_{mean,min,max,std}.npy, result.json), and adds lines to WORK_DIR/logs/eval_svm.log.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from selfsup import cli
from selfsup.errors import ConfigError, DataError
from selfsup.files import write_obstacle


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', type=Path, help='folder with features/')
    parser.add_argument('--features', nargs='+', default=['feat5'], help='layers, feat1 to feat5 (default: feat5)')
    parser.add_argument('--low-shot', action='store_true', help='1 to 96 positives per class instead of all')
    parser.add_argument(
        '--labels',
        type=Path,
        default=Path('data/VOCdevkit/VOC2007/SVMLabels'),
        help='default: data/VOCdevkit/VOC2007/SVMLabels',
    )
    parser.add_argument('--k', type=int, nargs='+', help='low-shot: positives per class (default: 1 2 4 8 16 32 64 96)')
    parser.add_argument('--samples', type=int, nargs='+', help='low-shot: draws (default: 1 2 3 4 5)')
    parser.add_argument(
        '--solver', choices=('batched', 'sklearn'), default='batched', help='sklearn: LinearSVC, for checking'
    )
    parser.add_argument('--device', help='of the batched solver (default: cuda where there is one)')
    parser.add_argument('--config', help='config of the network, recorded in result.json')
    parser.add_argument('--weights', help='weights that were judged, recorded in result.json')
    parser.add_argument(
        '--check',
        action='store_true',
        help='only say whether outputs are free and labels fit together; needs no features',
    )
    parser.add_argument('--force', action='store_true', help='replace results that exist')
    return parser.parse_args()


def folder_of(args: argparse.Namespace, feature: str) -> Path:
    """Where results go.

    Raises:
        DataError: there are results, and not --force; or nothing can be written there.
    """
    folder = args.work_dir / ('svm_lowshot' if args.low_shot else 'svm') / feature
    obstacle = write_obstacle(folder)
    if obstacle:
        raise DataError(f'{folder} cannot be written: {obstacle} is a file or read-only.')
    if folder.is_dir() and any(folder.iterdir()) and not args.force:
        raise DataError(
            f'{folder} holds results; give --force (FORCE=1 for the scripts) to replace them, or another work directory.'
        )
    return folder


def write(
    folder: Path,
    arrays: dict,
    numbers: dict,
    lines: list[str],
    args: argparse.Namespace,
    settings: dict,
    seconds: float,
) -> None:
    """Arrays, result.json and lines of the log; arrays of an earlier run go, as it may have had other k or samples."""
    import numpy as np

    from selfsup.evaluation.results.record import write_result

    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob('test_ap*.npy'):
        path.unlink()
    for name, values in arrays.items():
        np.save(folder / f'{name}.npy', values)
    write_result(
        folder / 'result.json',
        protocol='voc07_lowshot' if args.low_shot else 'voc07_svm',
        numbers=numbers,
        config=args.config,
        weights=args.weights,
        device=args.device,
        seconds=seconds,
        settings=settings,
        force=args.force,
    )
    log = args.work_dir / 'logs' / 'eval_svm.log'
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, 'a') as file:
        for line in lines:
            print(line)
            print(line, file=file)


def run_full(args: argparse.Namespace, feature: str, data: dict, solver) -> tuple[dict, dict, list[str]]:
    """Arrays, numbers and lines of the full protocol."""
    from selfsup.evaluation.svm import files as svm_files
    from selfsup.evaluation.svm import voc07 as voc_svm

    names = svm_files.read_names(args.labels / 'test_images.npy', len(data['test']))
    found = voc_svm.full_protocol(solver, **data)
    predictions = {name: [round(float(v), 6) for v in row] for name, row in zip(names, found.scores.T, strict=True)}
    folder = args.work_dir / 'svm' / feature
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'json_preds.json').write_text(json.dumps(predictions))
    arrays = {name: getattr(found, name) for name in ('crossval_ap', 'chosen_cost', 'test_ap')}
    numbers = {
        'mAP': 100 * found.test_ap.mean(),
        **{f'AP class {c}': 100 * ap for c, ap in enumerate(found.test_ap[:, 0])},
    }
    return arrays, numbers, [f'{feature} svm: Mean AP: {found.test_ap.mean():.4f}']


def run_low_shot(args: argparse.Namespace, feature: str, data: dict, solver) -> tuple[dict, dict, list[str]]:
    """Arrays, numbers and lines of the low-shot protocol."""
    from selfsup.evaluation.svm import voc07 as voc_svm

    ks, samples = sorted(args.k or voc_svm.K_VALUES), sorted(args.samples or voc_svm.SAMPLES)
    found = voc_svm.low_shot_protocol(solver, targets=low_shot_targets(args, ks, samples, data['train_labels']), **data)
    arrays = {
        f'test_ap_sample{s}_k{k}': found.test_ap[i, j][None] for i, s in enumerate(samples) for j, k in enumerate(ks)
    }
    arrays |= {f'test_ap_{name}': getattr(found.test_ap, name)(0) for name in ('mean', 'min', 'max', 'std')}
    documented, honest = 100 * found.chosen_on_test(), 100 * found.chosen_on_held_out()
    numbers = {f'k={k}': value for k, value in zip(ks, documented, strict=True)}
    numbers |= {f'k={k}, cost by held-out images': value for k, value in zip(ks, honest, strict=True) if value == value}
    lines = [
        f'{feature} low-shot svm, k: {" ".join(map(str, ks))}',
        f'{feature} low-shot svm, mAP, cost chosen on the test set (documented): {" ".join(f"{v:.2f}" for v in documented)}',
        f'{feature} low-shot svm, mAP, cost chosen on held-out training images: {" ".join(f"{v:.2f}" for v in honest)}',
    ]
    return arrays, numbers, lines


def low_shot_targets(args: argparse.Namespace, ks: list[int], samples: list[int], train_labels) -> dict:
    """(sample, k) -> labels."""
    from selfsup.evaluation.svm import files as svm_files

    folder = args.labels / 'low_shot' / 'labels'
    return {
        (s, k): svm_files.read_sample(folder / f'train_targets_sample{s}_k{k}.npy', train_labels)
        for s in samples
        for k in ks
    }


def main() -> None:
    args = parse_args()
    folders = {feature: folder_of(args, feature) for feature in args.features}
    if len(folders) < len(args.features):
        raise ConfigError(f'--features names a layer twice: {" ".join(args.features)}.')
    import torch

    from selfsup.evaluation.svm import files as svm_files
    from selfsup.evaluation.svm import voc07 as voc_svm
    from selfsup.evaluation.svm.batched import BatchedSolver
    from selfsup.evaluation.svm.liblinear import SklearnSolver

    train_labels = svm_files.read_labels(args.labels / 'train_labels.npy')
    test_labels = svm_files.read_labels(args.labels / 'test_labels.npy', classes=train_labels.shape[1])
    if args.low_shot:
        low_shot_targets(args, args.k or voc_svm.K_VALUES, args.samples or voc_svm.SAMPLES, train_labels)
    if args.check:
        return
    args.device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    solver = BatchedSolver(args.device) if args.solver == 'batched' else SklearnSolver()
    settings = {'solver': args.solver, 'costs': list(voc_svm.COSTS), 'folds': voc_svm.FOLDS}
    for feature, folder in folders.items():
        start = time.perf_counter()
        train, test = (svm_files.read_features(args.work_dir, split, feature) for split in ('train', 'test'))
        svm_files.check_fit(train, test, train_labels, test_labels, feature)
        data = {'train': train, 'train_labels': train_labels, 'test': test, 'test_labels': test_labels}
        arrays, numbers, lines = (run_low_shot if args.low_shot else run_full)(args, feature, data, solver)
        write(folder, arrays, numbers, lines, args, {'feature': feature, **settings}, time.perf_counter() - start)


if __name__ == '__main__':
    cli.run(main)
