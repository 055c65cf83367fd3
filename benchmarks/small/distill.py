"""How much of a teacher a student gets without labels: a classifier of one half of the CIFAR-10 images, distilled on the other half.

Both networks are the ResNet-18 of the small runs (0.7 M parameters), both train for the same time, each command as a user types it. What
is measured is kNN-20 top-1 on the test images, with the half that the teacher has not seen as neighbours: of the untrained student, the
teacher, and the student. The share is (student - untrained) / (teacher - untrained).

    python benchmarks/small/distill.py                          # seed 0, 5 minutes of training each, on 2 CPU cores
    python benchmarks/small/distill.py --seeds 0 1 2            # one JSON file per seed
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / 'benchmarks/results/small_distill'
PILOT = 24  # iterations that tell how long one takes; the first half of them is not counted
BATCH, GOAL = 256, 0.8

COMMON = '''"""Written by benchmarks/small/distill.py."""
_base_ = {base!r}
source = dict(type='ImageList', root={root!r}, list_file={half!r})
custom_hooks = [{hook}]
checkpoint_config = dict(interval=1000, max_keep_ckpts=1)
log_config = dict(interval={interval})
total_epochs = {epochs}
total_iters = {iterations}
'''
KNN = """dict(
    type='KNNHook', k=20, interval=1000,  # before training and at its end
    train=dict(
        type='ClassificationDataset',
        data_source=dict(type='ImageList', root={root!r}, list_file={unseen!r}),
        pipeline=_base_.to_tensor),
    test=dict(type='ClassificationDataset', data_source=dict(type='ImageFolder', root={test!r}), pipeline=_base_.to_tensor))"""
TEACHER = """data = dict(drop_last=True, train=dict(data_source=dict(_delete_=True, **source)))
optimizer = dict(type='AdamW', lr=2e-3, weight_decay=1e-4)
lr_config = dict(warmup='linear', warmup_iters=20, warmup_ratio=0.1)
"""
STUDENT = """data = dict(train=dict(data_source=dict(_delete_=True, **source)))
model = dict(teachers=[dict(_delete_=True, type='FileTeacher', file={teacher!r}, backbone=_base_.network, **_base_.img_norm_cfg)])
"""


def halves(root: str, folder: Path) -> tuple[str, str]:
    """Two list files with half of the images of each class: for the teacher, and for the student. The same ones every time."""
    from selfsup.datasets.data_sources import ImageFolder
    from selfsup.datasets.subset import choose_per_class

    source = ImageFolder(root)
    chosen = set(choose_per_class(source.labels, 0.5, seed=0).tolist())
    lines: tuple[list[str], list[str]] = ([], [])
    for i, label in enumerate(source.labels.tolist()):
        lines[i not in chosen].append(f'{os.path.relpath(source.describe(i), root)} {label}\n')
    names = [folder / 'teacher.txt', folder / 'student.txt']
    for name, part in zip(names, lines, strict=True):
        name.write_text(''.join(part))
    return str(names[0]), str(names[1])


def run(text: str, folder: Path, seed: int) -> list[dict[str, Any]]:
    """Train a config; the lines that it logged."""
    folder.mkdir()
    (folder / 'run.py').write_text(text)
    command = [
        sys.executable,
        'tools/train.py',
        str(folder / 'run.py'),
        '--work_dir',
        str(folder / 'work'),
        '--seed',
        str(seed),
    ]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (log,) = (folder / 'work').rglob('vis_data/20*.json')
    return [json.loads(line) for line in log.read_text().splitlines()]


def trained(name: str, parts: dict[str, Any], rest: str, folder: Path, seed: int, minutes: float) -> dict[str, Any]:
    """Train for so long, after a pilot that tells how many epochs these are."""
    pilot = COMMON.format(**parts, hook='', interval=1, epochs=None, iterations=PILOT) + rest
    times = [line['time'] for line in run(pilot, folder / f'{name}_pilot', seed) if 'time' in line]
    second = statistics.mean(times[PILOT // 2 :])
    images = sum(1 for _ in open(parts['half']))
    per_epoch = images // BATCH
    epochs = max(1, round(60 * minutes / (second * per_epoch)))
    whole = COMMON.format(**parts, hook=KNN.format(**parts), interval=10, epochs=epochs, iterations=None)
    lines = run(whole + rest, folder / name, seed)
    found = [line['knn_20'] for line in lines if 'knn_20' in line]
    taken = [line['time'] for line in lines if 'time' in line]
    return {
        'untrained': found[0],
        'trained': found[-1],
        'epochs': epochs,
        'steps': epochs * per_epoch,
        'training_seconds': round(statistics.mean(taken) * epochs * per_epoch),
        'cosine': next((line['cosine'] for line in reversed(lines) if 'cosine' in line), None),
    }


def measure(data: Path, seed: int, minutes: float, teacher_minutes: float) -> dict[str, Any]:
    """Teacher and student of one seed."""
    import torch

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root, test = str(data / 'train'), str(data / 'test')
        seen, unseen = halves(root, folder)
        shared = {'root': root, 'test': test, 'unseen': unseen}
        classify = {**shared, 'half': seen, 'base': str(ROOT / 'configs/_base_/cifar10_classify.py')}
        teacher = trained('teacher', classify, TEACHER, folder, seed, teacher_minutes)
        file = str(folder / 'teacher' / 'work' / 'latest.pth')
        distil = {**shared, 'half': unseen, 'base': str(ROOT / 'configs/selfsup/distill/r18_cifar10_small.py')}
        student = trained('student', distil, STUDENT.format(teacher=file), folder, seed, minutes)
    untrained = student['untrained']
    gain = teacher['trained'] - untrained
    share = (student['trained'] - untrained) / gain if gain > 0 else 0.0  # a teacher without gain has nothing to share
    return {
        'what': 'a ResNet-18 of 0.7 M parameters, distilled without labels from an equal one trained with labels',
        'data': 'CIFAR-10: teacher and student on 10,000 images each, none in common; 5,000 to test',
        'measure': "kNN-20 top-1, percent; neighbours are the student's images",
        'untrained': round(untrained, 2),
        'teacher': round(teacher['trained'], 2),
        'student': round(student['trained'], 2),
        'share_of_gain': round(share, 3),
        'goal': GOAL,
        'reached': share >= GOAL,
        'minutes': {'teacher': teacher_minutes, 'student': minutes},
        'runs': {'teacher': teacher, 'student': student},
        'seed': seed,
        'cores': os.cpu_count(),
        'threads': torch.get_num_threads(),
        'machine': platform.machine(),
        'torch': torch.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument(
        '--data', type=Path, default=ROOT / 'data/cifar10', help='folder of train/<class>/ and test/<class>/'
    )
    parser.add_argument('--minutes', type=float, default=5.0, help='of training, the student')
    parser.add_argument('--teacher-minutes', type=float, help='of training, the teacher; default: as the student')
    parser.add_argument('--out', type=Path, default=RESULTS, help='folder for the JSON files')
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        found = measure(args.data.resolve(), seed, args.minutes, args.teacher_minutes or args.minutes)
        (args.out / f'seed{seed}.json').write_text(json.dumps(found, indent=1) + '\n')
        print(json.dumps(found), flush=True)


if __name__ == '__main__':
    main()
