"""The VOC2007 SVM protocols by the batched solver and by the documented route, on the same cores and synthetic features.

    python benchmarks/speed/svm.py --out benchmarks/results/speed/svm.json

Documented route: scikit-learn's LinearSVC (dual, tol 1e-4, max_iter 2000), one process per core, prediction and AP included. Its
thousands of fits would take many minutes, so a random subset of them (the same share of every cost) is timed and scaled up; the
batched solver runs in full. Accuracy: decision values and mAP of every cost against LinearSVC with a tight tolerance
(tol 1e-8; the primal solver, which gets there sooner), for --exact random classes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path


def make_features(images: int, width: int, classes: int, seed: int):
    """Features like those of a pooled ReLU layer, (images, width) of length about 1, and labels like VOC2007's.

    Several classes per image, one of them (a person) in two images of five, shown more or less strongly; 400 factors that mean
    nothing, of falling variance; noise. One label of 100 is difficult (-1), one of 200 wrong.
    """
    import torch

    shared = torch.Generator().manual_seed(0)
    centres = torch.randn(classes, 128, generator=shared)
    to_features = torch.randn(128, width, generator=shared) / 128**0.5
    factors = torch.randn(400, width, generator=shared) * torch.arange(1, 401)[:, None] ** -0.5
    offset = 0.3 * torch.randn(width, generator=shared) - 0.5
    of_split = torch.Generator().manual_seed(seed)
    often = torch.linspace(0.045, 0.14, classes)
    often[14 % classes] = 0.4
    shown = torch.rand(images, classes, generator=of_split) < often
    strength = 0.6 + 0.8 * torch.rand(images, classes, generator=of_split)
    x = (
        0.2 * (shown * strength) @ centres @ to_features
        + 0.6 * torch.randn(images, 400, generator=of_split) @ factors
        + offset
    )
    x = torch.relu(x + 0.35 * torch.randn(images, width, generator=of_split)).double()
    luck = torch.rand(images, classes, generator=of_split)
    labels = torch.where(luck < 0.01, -1, torch.where(luck > 0.995, ~shown, shown).long())
    return x / (x.norm(dim=1, keepdim=True) + 1e-5), labels


def timed(function, *args, **kwargs):
    """Result and seconds."""
    start = time.perf_counter()
    result = function(*args, **kwargs)
    return result, time.perf_counter() - start


def documented_seconds(tasks: list[tuple], others: dict, total: int, jobs: int) -> dict:
    """Seconds that `total` fits would take, from those of `tasks`: (rows, labels in {1, -1}, cost, what to predict)."""
    from joblib import Parallel, delayed

    run = Parallel(n_jobs=jobs, batch_size=1)
    # Starts the processes.
    run(delayed(one_fit)(others, rows, positive, 1e-6, where) for rows, positive, _, where in tasks[:jobs])
    _, seconds = timed(run, (delayed(one_fit)(others, *task) for task in tasks))
    return {
        'fits_timed': len(tasks),
        'fits': total,
        'seconds_timed': round(seconds, 2),
        'seconds': round(seconds * total / len(tasks), 1),
    }


def one_fit(data: dict, rows, positive, cost: float, where: str) -> float:
    """Fit, predict, AP: what the documented route does for one SVM. `where`: 'test', or 'train' for the fold it did not see.

    On the test set AP is that of class 0 for every SVM, which takes as long as that of its own.
    """
    import numpy as np
    import torch

    from selfsup.evaluation.svm.average_precision import average_precision
    from selfsup.evaluation.svm.liblinear import fit_one

    torch.set_num_threads(1)
    svm = fit_one(data['train'][rows], positive[rows], cost)
    held_out = np.setdiff1d(np.arange(len(positive)), rows) if where == 'train' else slice(None)
    scores = svm.decision_function(data[where][held_out])
    labels = positive[held_out].astype(int) if where == 'train' else data['test_positive']
    return float(average_precision(torch.from_numpy(scores)[None], torch.from_numpy(labels))[0])


def full_tasks(positive, folds, costs, share: float, rng) -> list[tuple]:
    """A random share of the fits of every cost."""
    import numpy as np

    tasks = []
    for cost in costs:
        plan = [(c, fold) for c in range(positive.shape[1]) for fold in (0, 1, 2, None)]
        for i in rng.permutation(len(plan))[: max(1, round(share * len(plan)))]:
            c, fold = plan[i]
            rows = np.arange(len(positive)) if fold is None else np.flatnonzero(folds[:, c] != fold)
            tasks.append((rows, positive[:, c], cost, 'test' if fold is None else 'train'))
    return tasks


def low_shot_tasks(targets: dict, costs, share: float, rng) -> list[tuple]:
    """The same share of the fits of every k and cost, classes and samples at random."""
    import numpy as np

    tasks = []
    for k in sorted({k for _, k in targets}):
        columns = [t[:, c] for (_, size), t in targets.items() if size == k for c in range(t.shape[1])]
        for cost in costs:
            for i in rng.permutation(len(columns))[: max(1, round(share * len(columns)))]:
                tasks.append((np.flatnonzero(columns[i] != -1), columns[i] == 1, cost, 'test'))
    return tasks


def accuracy(ours, data: dict, test, test_labels, costs, classes: list[int], jobs: int) -> dict:
    """Differences of the SVMs trained on all images from LinearSVC with a tight tolerance, for some classes and every cost."""
    import torch
    from joblib import Parallel, delayed

    from selfsup.evaluation.svm.average_precision import average_precision
    from selfsup.evaluation.svm.liblinear import fit_one

    fitted = Parallel(n_jobs=jobs)(
        delayed(fit_one)(data['train'], data['positive'][:, c], cost, 1e-8, 1000, dual=False)
        for cost in costs
        for c in classes
    )
    decision, ap = {}, {}
    for at, cost in enumerate(costs):
        svms = fitted[at * len(classes) : (at + 1) * len(classes)]
        exact = torch.stack([torch.from_numpy(f.decision_function(test.numpy())) for f in svms])
        mine = ours.test[at, classes].double()
        decision[f'{cost:g}'] = float(((mine - exact).abs().amax(1) / exact.abs().amax(1)).max())
        gaps = [
            average_precision(torch.stack([m, e]), test_labels[:, c])
            for m, e, c in zip(mine, exact, classes, strict=True)
        ]
        ap[f'{cost:g}'] = abs(100 * float(torch.stack([g[0] - g[1] for g in gaps]).mean()))
    return {
        'classes': classes,
        'largest_relative_difference_of_decision_values': decision,
        'difference_of_map_in_points': ap,
        'largest': {'decision_values': max(decision.values()), 'map_points': max(ap.values())},
    }


def report(measured: dict, part: str, out: Path | None) -> None:
    """Print a part; write what there is so far."""
    print(json.dumps({part: measured[part]}), flush=True)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(measured, indent=1) + '\n')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--images', type=int, nargs=2, default=(5011, 4952), metavar=('TRAIN', 'TEST'), help='default: 5011 4952'
    )
    parser.add_argument('--width', type=int, default=2048, help='numbers per image (default: 2048)')
    parser.add_argument('--classes', type=int, default=20, help='default: 20')
    parser.add_argument(
        '--share', type=float, default=0.05, help='of the fits of the documented route that is timed (default: 0.05)'
    )
    parser.add_argument('--low-shot-share', type=float, default=0.02, help='the same for low-shot (default: 0.02)')
    parser.add_argument('--exact', type=int, default=4, help='classes compared with a tight LinearSVC (default: 4)')
    parser.add_argument(
        '--threads',
        type=int,
        default=os.cpu_count(),
        help='threads of ours, processes of the other (default: all cores)',
    )
    parser.add_argument(
        '--parts', nargs='+', choices=('full', 'low_shot', 'accuracy'), default=['full', 'low_shot', 'accuracy']
    )
    parser.add_argument('--out', type=Path, help='JSON file to write')
    args = parser.parse_args()
    os.environ['OMP_NUM_THREADS'] = '1'  # of the processes of the documented route
    import numpy as np
    import torch

    from selfsup.evaluation.svm import voc07 as voc_svm
    from selfsup.evaluation.svm.batched import BatchedSolver
    from selfsup.evaluation.svm.voc07_labels import draw_samples

    torch.set_num_threads(args.threads)
    train, train_labels = make_features(args.images[0], args.width, args.classes, seed=1)
    test, test_labels = make_features(args.images[1], args.width, args.classes, seed=2)
    everything = {'train': train, 'train_labels': train_labels, 'test': test, 'test_labels': test_labels}
    positive, rng, costs = train_labels == 1, np.random.default_rng(0), voc_svm.COSTS
    numpy_data = {
        'train': train.numpy(),
        'test': test.numpy(),
        'positive': positive.numpy(),
        'test_positive': test_labels[:, 0].numpy(),
    }
    measured = {name: getattr(args, name) for name in ('images', 'width', 'classes', 'threads')}
    measured |= {'torch': torch.__version__, 'machine': platform.machine()}
    if 'full' in args.parts:
        tasks = full_tasks(positive.numpy(), voc_svm.stratified_folds(positive).numpy(), costs, args.share, rng)
        theirs = documented_seconds(tasks, numpy_data, len(costs) * args.classes * 4, args.threads)
        result, seconds = timed(voc_svm.full_protocol, BatchedSolver(), **everything)
        measured['full'] = {
            'batched_seconds': round(seconds, 2),
            'documented': theirs,
            'times_as_fast': round(theirs['seconds'] / seconds, 2),
            'mAP': round(100 * float(result.test_ap.mean()), 2),
        }
        report(measured, 'full', args.out)
    if 'low_shot' in args.parts:
        targets = draw_samples(train_labels.numpy(), voc_svm.K_VALUES, len(voc_svm.SAMPLES), seed=0)
        theirs = documented_seconds(
            low_shot_tasks(targets, costs, args.low_shot_share, rng),
            numpy_data,
            len(targets) * args.classes * len(costs),
            args.threads,
        )
        both = {'targets': {key: torch.from_numpy(t) for key, t in targets.items()}, **everything}
        result, seconds = timed(voc_svm.low_shot_protocol, BatchedSolver(), **both, held_out=False)
        measured['low_shot'] = {
            'batched_seconds': round(seconds, 2),
            'documented': theirs,
            'times_as_fast': round(theirs['seconds'] / seconds, 2),
            'mAP': dict(zip(voc_svm.K_VALUES, (100 * result.chosen_on_test()).round(2).tolist(), strict=True)),
        }
        report(measured, 'low_shot', args.out)
    if 'accuracy' in args.parts:
        solved = BatchedSolver().fit_full(train, positive, voc_svm.stratified_folds(positive), test, costs)
        classes = sorted(rng.permutation(args.classes)[: args.exact].tolist())
        measured['accuracy'] = accuracy(solved, numpy_data, test, test_labels, costs, classes, args.threads)
        report(measured, 'accuracy', args.out)


if __name__ == '__main__':
    main()
