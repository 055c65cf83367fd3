"""Runs of up to four processes that go on with other numbers of them; all starts of all runs in one set of forked processes."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.hooks import Hook

from selfsup.registry import HOOKS
from tests.distributed.helpers import free_port

from .runs import train

PRELOAD = [
    'selfsup.engine',
    'selfsup.hooks',
    'selfsup.models.algorithms',
    'selfsup.datasets',
    'tests.resume.elastic_runs',
]


@HOOKS.register_module(force=True)
class Seen(Hook):
    """Notes the loss of every iteration and which views it was of, in a file of each rank and start in the work dir."""

    only_watches = True

    def before_train(self, runner) -> None:
        self._file = Path(runner.work_dir) / f'seen_{runner.timestamp}_{runner.rank}.jsonl'

    def after_train_iter(self, runner, batch_idx, data_batch, outputs) -> None:
        views = [hashlib.blake2b(img.numpy().tobytes(), digest_size=8).hexdigest() for img in data_batch['img']]
        row = {
            'epoch': runner.epoch,
            'iter': runner.iter,
            'index': batch_idx,
            'loss': float(outputs.total),
            'views': views,
        }
        with self._file.open('a') as file:
            file.write(json.dumps(row) + '\n')


@dataclass(frozen=True)
class Start:
    """One start of a run: `world` processes with `batch` images each, up to iteration `stop` (None: to the end)."""

    world: int
    batch: int
    stop: int | None = None
    options: tuple[str, ...] = ()
    elastic: bool = True


@dataclass(frozen=True)
class Job:
    """A run: its config, where it goes, and its starts, each of which goes on from the one before."""

    config: str
    work_dir: str
    starts: tuple[Start, ...]
    options: tuple[str, ...] = ()
    seed: int = 0


def _slot(number: int, jobs: list[Job], ports: list[int], folder: str) -> None:
    """What one of the processes does: its part of every start that has a rank for it."""
    torch.set_num_threads(1)
    at = iter(ports)
    try:
        for job in jobs:
            for start in job.starts:
                port = next(at)
                if number >= start.world:
                    continue
                ranks = {name: str(number) for name in ('RANK', 'LOCAL_RANK')}
                sizes = {name: str(start.world) for name in ('WORLD_SIZE', 'LOCAL_WORLD_SIZE')}
                os.environ.update({**ranks, **sizes, 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port)})
                train(
                    job.config,
                    job.work_dir,
                    *job.options,
                    *start.options,
                    f'data.imgs_per_gpu={start.batch}',
                    launcher='pytorch',
                    stop_after=start.stop,
                    auto_resume=True,
                    elastic=start.elastic,
                    seed=job.seed,
                    curves=False,
                )
        Path(folder, f'done_{number}').write_text(f'{time.process_time():.1f} s of CPU time')
    except BaseException:
        Path(folder, f'error_{number}').write_text(traceback.format_exc())
        raise


def run_jobs(jobs: list[Job], folder: Path, timeout: float) -> None:
    """Run `jobs`, one after the other.

    Args:
        folder: for what the processes leave.
        timeout: seconds after which they are killed.

    Raises:
        AssertionError: a process failed, with its traceback, or was not done in time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context('forkserver')  # imports once
    context.set_forkserver_preload(PRELOAD)
    starts = [start for job in jobs for start in job.starts]
    ports = [free_port() for _ in starts]
    slots = max(start.world for start in starts)
    children = [context.Process(target=_slot, args=(number, jobs, ports, str(folder))) for number in range(slots)]
    for child in children:
        child.start()
    end = time.monotonic() + timeout
    try:
        while any(child.is_alive() for child in children) and time.monotonic() < end:
            children[0].join(0.2)
            if any(child.exitcode for child in children):
                break
    finally:
        for child in children:
            child.join(10 if any(other.exitcode for other in children) else 0)
            if child.is_alive():
                child.kill()
            child.join()
    errors = [path.read_text() for path in sorted(folder.glob('error_*'), key=lambda path: path.stat().st_mtime)]
    done = len(list(folder.glob('done_*'))) == slots
    assert done, '\n'.join(errors) or f'not done after {timeout} s'


def seen(work_dir: Path) -> list[dict]:
    """Iterations of all starts of a run in order, each with the views of all ranks and the mean of their losses."""
    starts: dict[str, list[list[dict]]] = {}
    for path in sorted(Path(work_dir).glob('seen_*.jsonl')):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        starts.setdefault(path.name.rpartition('_')[0], []).append(rows)
    found = []
    for ranks in starts.values():
        for parts in zip(*ranks, strict=True):
            losses = [part['loss'] for part in parts]
            views = sorted(view for part in parts for view in part['views'])
            found.append({**parts[0], 'loss': sum(losses) / len(losses), 'views': views, 'ranks': len(parts)})
    return found


def curve(work_dir: Path) -> list[float]:
    """Mean loss of each epoch."""
    epochs: dict[int, list[float]] = {}
    for row in seen(work_dir):
        epochs.setdefault(row['epoch'], []).append(row['loss'])
    return [round(sum(losses) / len(losses), 4) for losses in epochs.values()]
