"""Hours of reading in minutes or more: does the memory of a loader and its workers grow, does Ctrl-C end it at once, does anything hang?

Photos, of which a share is broken, are read for so many minutes, epoch after epoch, by workers that are kept. A second process watches:
it samples the memory that all of them filled (PSS: shared pages are divided), sends the Ctrl-C of a terminal in the middle of an epoch, and
counts the seconds until nothing is left. A batch that does not come within `WATCHDOG` seconds is a hang. Batches are asked for at a
steady, slow pace, so that the machine may do something else.

    python benchmarks/speed/soak.py --minutes 30 --out benchmarks/results/speed/soak.json

Exit status 1 where memory grew by 2 % or more (`--growth`), or something hung or stayed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

WATCHDOG = 60.0  # seconds in which a batch must come
GROWTH = 0.02  # share by which memory may grow, unless another is given
AT_ONCE = 2.0  # seconds after Ctrl-C in which the program says that it ends; Python and torch then take a while to be taken apart
PATIENCE = 30.0  # seconds until what does not end on Ctrl-C is killed
SAMPLES = 240  # of the memory, at most


def write_photos(folder: Path, count: int, broken: float) -> list[str]:
    """`count` JPEGs cut from two photos; a share of them, evenly spaced, loses its second half. Their names."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photos = load_sample_images().images
    rng = np.random.default_rng(0)
    bad = {int(number) for number in np.linspace(0, count - 1, round(broken * count))}
    for number in range(count):
        photo = photos[number % 2]
        top, left = rng.integers(0, photo.shape[0] - 200), rng.integers(0, photo.shape[1] - 260)
        path = folder / f'{number:04d}.jpg'
        Image.fromarray(photo[top : top + 200, left : left + 260]).save(path, quality=90)
        if number in bad:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return [f'{number:04d}.jpg' for number in sorted(bad)]


def read(folder: str, workers: int, pace: float, cache: str | None) -> None:
    """The process that is watched: batches for ever, a line of JSON for each and one that says who works."""
    import torch

    from selfsup.datasets.loaders import build_loader
    from selfsup.datasets.robust import unreadable

    norm = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    steps = [
        dict(type='RandomResizedCrop', size=96),
        dict(type='RandomHorizontalFlip'),
        dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
        dict(type='ToTensor'),
        dict(type='Normalize', **norm),
    ]
    section = dict(
        batch_size=16,
        num_workers=workers,
        max_unreadable=0.1,
        pipeline_backend='fast',
        dataset=dict(type='ContrastiveDataset', data_source=dict(type='ImageFolder', root=folder), pipeline=steps),
        **(dict(cache=dict(size=128, where=cache)) if cache else {}),
    )
    loader = build_loader(section, seed=0, device=torch.device('cpu'))
    batch, due = 0, time.monotonic()
    for epoch in range(1 << 40):
        loader.set_position(epoch)
        for _ in loader:
            batch += 1
            line = {'batch': batch, 'epoch': epoch, 'broken': len(unreadable(loader.dataset))}
            if batch == 1:
                line['pid'] = os.getpid()
            print(json.dumps(line), flush=True)
            due = max(due + pace, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))


def below(pid: int) -> list[int]:
    """A process and everything that it started."""
    found = [pid]
    for one in found:
        try:
            found += [int(child) for child in Path(f'/proc/{one}/task/{one}/children').read_text().split()]
        except OSError:
            continue
    return found


def pss(pid: int) -> int:
    """Bytes of memory that a process filled, pages that several share divided among them; 0 where it is gone.

    Without pages of files: how many of those count follows from who else on the machine has loaded torch.
    """
    try:
        lines = Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(('Pss_Anon:', 'Pss_Shmem:')))


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    try:
        words = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf('SC_CLK_TCK')


def growth(values: list[int]) -> float:
    """By which share the last quarter of some values lies over the second: the first is warming up."""
    quarter = len(values) // 4
    early, late = values[quarter : 2 * quarter], values[-quarter:]
    return statistics.median(late) / statistics.median(early) - 1


def listen_to_interrupts() -> None:
    """A shell lets what it starts in the background ignore Ctrl-C, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def watch(minutes: float, workers: int, photos: int, broken: float, pace: float, cache: str | None) -> dict:
    """Run `read` in a session of its own for `minutes`, end it by Ctrl-C, and say what was seen."""
    with tempfile.TemporaryDirectory(prefix='soak_') as folder:
        bad = write_photos(Path(folder), photos, broken)
        command = [sys.executable, __file__, '--read', folder, '--workers', str(workers), '--pace', str(pace)]
        command += ['--cache', cache] if cache else []
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=listen_to_interrupts,
        )
        said: dict = {'at': time.monotonic()}
        errors: list[tuple[float, str]] = []

        def listen() -> None:
            for line in process.stdout:
                said.update(json.loads(line), at=time.monotonic())

        threads = [
            threading.Thread(target=listen, daemon=True),
            threading.Thread(target=lambda: errors.extend((time.monotonic(), x) for x in process.stderr), daemon=True),
        ]
        for thread in threads:
            thread.start()
        of_parent, of_workers, hung = [], [], False
        used = 0.0
        end = time.monotonic() + 60 * minutes
        step = max(1.0, 60 * minutes / SAMPLES)
        while time.monotonic() < end and process.poll() is None:
            time.sleep(step)
            if time.monotonic() - said['at'] > WATCHDOG:
                hung = True
                break
            family = below(process.pid)
            if said.get('batch') and len(family) > workers:
                of_parent.append(pss(family[0]))
                of_workers.append(sum(map(pss, family[1:])))
                used = sum(map(cpu_seconds, family))
        family = below(process.pid)
        begin = time.monotonic()
        died = process.poll()
        if died is None:
            os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(PATIENCE)
            while any(Path(f'/proc/{pid}').exists() for pid in family) and time.monotonic() - begin < PATIENCE:
                time.sleep(0.02)
        except subprocess.TimeoutExpired:
            pass
        seconds = time.monotonic() - begin
        left = [pid for pid in family if Path(f'/proc/{pid}').exists()]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        for thread in threads:
            thread.join(5)
        skipped = sum('skipped unreadable' in line for _, line in errors)
        words = next((at - begin for at, line in errors if line.strip() == 'interrupted'), None)
        return {
            'minutes': minutes,
            'workers': workers,
            'photos': photos,
            'broken': len(bad),
            'cache': cache,
            'batches': said.get('batch', 0),
            'epochs': said.get('epoch', 0),
            'found_broken': said.get('broken', 0),
            'named_in_log': skipped,
            'samples': len(of_parent),
            'growth_parent': growth(of_parent) if len(of_parent) >= 8 else None,
            'growth_workers': growth(of_workers) if len(of_workers) >= 8 else None,
            'parent_mb': [round(value / 2**20, 1) for value in of_parent],
            'workers_mb': [round(value / 2**20, 1) for value in of_workers],
            'cpu_seconds': round(used, 1),
            'ended_before': died,
            'hung': hung,
            'seconds_to_last_words': words if words is None else round(words, 2),
            'seconds_to_exit': round(seconds, 2),
            'exit_status': process.returncode,
            'left_behind': len(left),
            'last_words': errors[-1][1].strip() if errors else '',
        }


def problems(result: dict, limit: float) -> list[str]:
    """What of a result is not as it should be."""
    grown = {name: result[f'growth_{name}'] for name in ('parent', 'workers')}
    found = [
        f'memory of the {name} grew by {value:.1%}'
        if value is not None
        else f'too short to tell the memory of the {name}'
        for name, value in grown.items()
        if value is None or value >= limit
    ]
    found += ['a batch did not come'] if result['hung'] else []
    found += ['it ended before Ctrl-C'] if result['ended_before'] is not None else []
    words, seconds = result['seconds_to_last_words'], result['seconds_to_exit']
    found += [f'Ctrl-C: last words after {words} s'] if words is None or words > AT_ONCE else []
    found += [f'Ctrl-C: gone after {seconds} s'] if seconds >= PATIENCE else []
    found += [f'{result["left_behind"]} processes stayed'] if result['left_behind'] else []
    found += ['not every broken photo was found'] if result['found_broken'] != result['broken'] else []
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--minutes', type=float, default=30)
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--photos', type=int, default=400)
    parser.add_argument('--broken', type=float, default=0.05, help='share of the photos')
    parser.add_argument('--pace', type=float, default=0.5, help='seconds between two batches of 16 images')
    parser.add_argument('--cache', help="'memory' or a folder")
    parser.add_argument('--growth', type=float, default=GROWTH, help='share of the memory by which it may grow')
    parser.add_argument('--out', help='file of the result')
    parser.add_argument('--read', metavar='FOLDER', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        from selfsup import cli

        cli.run(lambda: read(args.read, args.workers, args.pace, args.cache))
        return 0
    result = watch(args.minutes, args.workers, args.photos, args.broken, args.pace, args.cache)
    found = problems(result, args.growth)
    text = json.dumps({**result, 'problems': found}, indent=1)
    if args.out:
        Path(args.out).write_text(text + '\n')
    print(json.dumps({key: value for key, value in result.items() if not key.endswith('_mb')}, indent=1))
    print('\n'.join(found) or 'all good')
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main())
