"""VOC2007 linear SVMs on extracted features: the full protocol, or with --low-shot the low-shot one.

    python benchmarks/svm.py WORK_DIR --features feat4 feat5 [--low-shot] [--force]

reads WORK_DIR/features/voc07_{trainval,test}_{feat}.npy and the labels that tools/prepare_data/prepare_voc07_cls.sh makes. Writes
WORK_DIR/svm/{feat}/ (crossval_ap.npy, chosen_cost.npy, test_ap.npy, json_preds.json, result.json) or WORK_DIR/svm_lowshot/{feat}/
(test_ap_sample{s}_k{k}.npy, test_ap_{mean,min,max,std}.npy, result.json), and adds lines to WORK_DIR/logs/eval_svm.log.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ConfigError, DataError
from ..files import write_obstacle
from . import base
from .options import MISSING, Declared, option

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    Data = tuple[Tensor, Tensor, Tensor, Tensor]  # training features (N, D), labels (N, classes), those of the test

LABELS = Path('data/VOCdevkit/VOC2007/SVMLabels')


class Options(Declared):
    """See the `help` of each field."""

    work_dir: Path = option(MISSING, 'work_dir', type=Path, help='folder with features/')
    features: Sequence[str] = option(('feat5',), nargs='+', help='layers, feat1 to feat5 (default: feat5)')
    low_shot: bool = option(False, help='1 to 96 positives per class instead of all')
    labels: Path = option(LABELS, type=Path, help=f'default: {LABELS}')
    k: Sequence[int] | None = option(
        None, type=int, nargs='+', help='low-shot: positives per class (default: 1 2 4 8 16 32 64 96)'
    )
    samples: Sequence[int] | None = option(None, type=int, nargs='+', help='low-shot: draws (default: 1 2 3 4 5)')
    solver: str = option('batched', choices=('batched', 'sklearn'), help='sklearn: LinearSVC, for checking')
    device: str | None = option(None, help='of the batched solver (default: cuda where there is one)')
    config: str | None = option(None, help='config of the network, recorded in result.json')
    weights: str | None = option(None, help='weights that were judged, recorded in result.json')
    check: bool = option(False, help='only say whether outputs are free and labels fit together; needs no features')
    force: bool = option(False, help='replace results that exist')


class Scores(NamedTuple):
    """What one protocol says of one layer.

    Attributes:
        arrays: name of a file -> array.
        numbers: of the result.
        lines: of the log.
        predictions: image -> decision value of each class; None where they are not written.
    """

    arrays: dict[str, np.ndarray]
    numbers: dict[str, float]
    lines: list[str]
    predictions: dict[str, list[float]] | None = None


class Labels(NamedTuple):
    """Labels of the images.

    Attributes:
        train: (N, classes).
        test: (M, classes).
        samples: of the low-shot protocol, (N, classes) for each (number of the sample, k).
    """

    train: Tensor
    test: Tensor
    samples: dict[tuple[int, int], Tensor]


def folder_of(work_dir: Path, low_shot: bool, feature: str, force: bool) -> Path:
    """Where the results of a layer go.

    Raises:
        DataError: there are results, and not `force`; or nothing can be written there.
    """
    folder = work_dir / ('svm_lowshot' if low_shot else 'svm') / feature
    obstacle = write_obstacle(folder)
    if obstacle:
        raise DataError(f'{folder} cannot be written: {obstacle} is a file or read-only.')
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise DataError(
            f'{folder} holds results; give --force (FORCE=1 for the scripts) to replace them, or another work directory.'
        )
    return folder


def read_labels(asked: Options) -> Labels:
    """All labels that the protocol needs.

    Raises:
        DataError: a file is missing, or they do not fit together.
    """
    from ..evaluation.svm import files, voc07

    train = files.read_labels(asked.labels / 'train_labels.npy')
    test = files.read_labels(asked.labels / 'test_labels.npy', classes=train.shape[1])
    ks, draws = (
        (sorted(asked.k or voc07.K_VALUES), sorted(asked.samples or voc07.SAMPLES)) if asked.low_shot else ([], [])
    )
    folder = asked.labels / 'low_shot' / 'labels'
    samples = {
        (s, k): files.read_sample(folder / f'train_targets_sample{s}_k{k}.npy', train) for s in draws for k in ks
    }
    return Labels(train, test, samples)


def full(feature: str, data: Data, solver: Any, names: Sequence[str]) -> Scores:
    """The full protocol on one layer.

    Args:
        solver: see `evaluation.svm.voc07.Solver`.
        names: of the test images.
    """
    from ..evaluation.svm import voc07

    result = voc07.full_protocol(solver, *data)
    predictions = {name: [round(float(v), 6) for v in row] for name, row in zip(names, result.scores.T, strict=True)}
    arrays = {name: getattr(result, name) for name in ('crossval_ap', 'chosen_cost', 'test_ap')}
    numbers = {
        'mAP': 100 * result.test_ap.mean(),
        **{f'AP class {c}': 100 * ap for c, ap in enumerate(result.test_ap[:, 0])},
    }
    return Scores(arrays, numbers, [f'{feature} svm: Mean AP: {result.test_ap.mean():.4f}'], predictions)


def low_shot(feature: str, data: Data, solver: Any, targets: Mapping[tuple[int, int], Tensor]) -> Scores:
    """The low-shot protocol on one layer; `targets` are the `samples` of `Labels`, for the others see `full`."""
    from ..evaluation.svm import voc07

    result = voc07.low_shot_protocol(solver, *data[:2], targets, *data[2:])
    samples, ks = (sorted(dict.fromkeys(numbers)) for numbers in zip(*targets, strict=True))
    arrays = {
        f'test_ap_sample{s}_k{k}': result.test_ap[i, j][None] for i, s in enumerate(samples) for j, k in enumerate(ks)
    }
    arrays |= {f'test_ap_{name}': getattr(result.test_ap, name)(0) for name in ('mean', 'min', 'max', 'std')}
    documented, honest = 100 * result.chosen_on_test(), 100 * result.chosen_on_held_out()
    numbers = {f'k={k}': value for k, value in zip(ks, documented, strict=True)}
    numbers |= {f'k={k}, cost by held-out images': value for k, value in zip(ks, honest, strict=True) if value == value}
    lines = [
        f'{feature} low-shot svm, k: {" ".join(map(str, ks))}',
        f'{feature} low-shot svm, mAP, cost chosen on the test set (documented): {" ".join(f"{v:.2f}" for v in documented)}',
        f'{feature} low-shot svm, mAP, cost chosen on held-out training images: {" ".join(f"{v:.2f}" for v in honest)}',
    ]
    return Scores(arrays, numbers, lines)


def write(folder: Path, scores: Scores, asked: Options, **record: Any) -> dict[str, Any]:
    """Arrays, predictions and result.json; arrays of an earlier run go, as it may have had other k or samples.

    Args:
        record: device, seconds, settings and backend of the result.
    """
    import numpy as np

    from ..evaluation.results.record import write_result

    folder.mkdir(parents=True, exist_ok=True)
    if scores.predictions is not None:
        (folder / 'json_preds.json').write_text(json.dumps(scores.predictions))
    for path in folder.glob('test_ap*.npy'):
        path.unlink()
    for name, values in scores.arrays.items():
        np.save(folder / f'{name}.npy', values)
    return write_result(
        folder / 'result.json',
        protocol='voc07_lowshot' if asked.low_shot else 'voc07_svm',
        numbers=scores.numbers,
        config=asked.config,
        weights=asked.weights,
        force=asked.force,
        **record,
    )


def run(asked: Options) -> base.Outcome:
    """Train the SVMs of all layers and write their results.

    Raises:
        SelfSupError: what the user can mend.
    """
    folders = {name: folder_of(asked.work_dir, asked.low_shot, name, asked.force) for name in asked.features}
    if len(folders) < len(asked.features):
        raise ConfigError(f'--features names a layer twice: {" ".join(asked.features)}.')
    import torch

    from ..evaluation.extracted import backend_of
    from ..evaluation.svm import files, voc07
    from ..evaluation.svm.batched import BatchedSolver
    from ..evaluation.svm.liblinear import SklearnSolver

    labels = read_labels(asked)
    if asked.check:
        return base.Outcome()
    device = asked.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    solver = BatchedSolver(device) if asked.solver == 'batched' else SklearnSolver()
    lines, results = [], []
    for feature, folder in folders.items():
        start = time.perf_counter()
        train, test = (files.read_features(asked.work_dir, split, feature) for split in ('train', 'test'))
        files.check_fit(train, test, labels.train, labels.test, feature)
        data = (train, labels.train, test, labels.test)
        if asked.low_shot:
            scores = low_shot(feature, data, solver, labels.samples)
        else:
            names = files.read_names(asked.labels / 'test_images.npy', len(test))
            scores = full(feature, data, solver, names)
        settings = {'feature': feature, 'solver': asked.solver, 'costs': list(voc07.COSTS), 'folds': voc07.FOLDS}
        seconds = time.perf_counter() - start
        backend = backend_of(files.features_file(asked.work_dir, 'test', feature))
        record = {'device': device, 'seconds': seconds, 'settings': settings, 'backend': backend}
        results.append(write(folder, scores, asked, **record))
        log = asked.work_dir / 'logs' / 'eval_svm.log'
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, 'a') as file:
            file.writelines(f'{line}\n' for line in scores.lines)
        lines += scores.lines
    return base.Outcome(lines, results)
