"""One training of the comparison and its measurement, as commands of tools/ in processes of their own, and the record of it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from selfsup.errors import DataError
from selfsup.files import write_atomic
from selfsup.provenance import git_commit, version_of

from .comparing import (
    CORES,
    ROOT,
    Method,
    backbone_facts,
    images_text,
    iterations_in,
    linear_text,
    rate_of,
    training_text,
    with_rate,
)
from .training_time import FILE

PILOT_ITERATIONS = 25
LONG_START = 0.05  # of the budget: who works so long before the first iterations may do so again between later ones
RATES, PROBE_EPOCHS = (0.01, 0.1, 1, 10, 30), 30
NOT_FINITE = 'finite'  # a run that ends with such an error has diverged, which is a result


class Failed(Exception):
    """A command of a run ended with an error; its last lines."""


@dataclass(frozen=True)
class Budget:
    """Training time of a run.

    Attributes:
        minutes: on all cores.
        jobs: runs side by side, each on its share of the cores and `jobs` times as long.
        clock: 'wall', or 'cpu' for the processor seconds that the cores have in those minutes.
    """

    minutes: float
    jobs: int
    clock: str

    @property
    def seconds(self) -> float:
        return self.minutes * 60 * (self.jobs if self.clock == 'wall' else CORES)

    def described(self) -> dict[str, Any]:
        return {**asdict(self), 'cores': CORES // self.jobs, 'seconds': self.seconds}


@dataclass(frozen=True)
class Place:
    """Where a run reads and works: the folder of images, the numbers of the cores."""

    data: str
    cores: frozenset[int]


def pilot(method: Method, place: Place, budget: Budget) -> dict[str, Any]:
    """The time of a few iterations; of a third of the budget, where a method worked long before the first."""
    with tempfile.TemporaryDirectory() as folder:
        measured = train(method, place, Path(folder), PILOT_ITERATIONS, 1.0, 0)['time']
    prefix = '' if budget.clock == 'wall' else 'cpu_'
    iterations = iterations_in(measured, budget.seconds / 3, budget.clock)
    if measured[f'warm_{prefix}seconds'] > LONG_START * budget.seconds and iterations > PILOT_ITERATIONS:
        with tempfile.TemporaryDirectory() as folder:
            measured = train(method, place, Path(folder), iterations, 1.0, 0)['time']
    return {'budget': budget.described(), 'time': measured}


def searched(method: Method, place: Place, budget: Budget, iterations: int, factor: float, seed: int) -> dict[str, Any]:
    """A run of the search: its kNN-20, None where it diverged."""
    return _trained(method, place, budget, iterations, factor, seed, probe=False)


def finished(method: Method, place: Place, budget: Budget, iterations: int, factor: float, seed: int) -> dict[str, Any]:
    """A run of the table: kNN-20 and the linear probe."""
    return _trained(method, place, budget, iterations, factor, seed, probe=True)


def _trained(
    method: Method, place: Place, budget: Budget, iterations: int, factor: float, seed: int, probe: bool
) -> dict[str, Any]:
    started = time.perf_counter()
    result: dict[str, Any] = {'budget': budget.described(), 'factor': factor, **described(method, seed)}
    result['rate'] = rate_of(with_rate(method.cfg['optimizer'], factor))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            result |= train(method, place, folder, iterations, factor, seed)
        except Failed as error:
            if NOT_FINITE not in str(error):
                raise
            return {**result, 'iterations': iterations, 'time': None, 'numbers': {'knn_20': None}, 'error': str(error)}
        result['numbers'] = measure(method, place, folder, folder / 'run' / 'latest.pth', seed, probe)
    return {**result, 'seconds_of_all': round(time.perf_counter() - started)}


def untrained(method: Method, place: Place, seed: int) -> dict[str, Any]:
    """What the network of a method gives with random weights."""
    with tempfile.TemporaryDirectory() as folder:
        numbers = measure(method, place, Path(folder), None, seed, probe=True)
    return {**described(method, seed), 'method': method.untrained, 'title': 'Untrained', 'numbers': numbers}


def described(method: Method, seed: int) -> dict[str, Any]:
    """What is the same for all runs of a method, and where it was run."""
    return {
        'method': method.name,
        'title': method.title,
        'config': f'configs/{method.config}',
        'untrained': method.untrained,
        'seed': seed,
        **backbone_facts(method),
        'data': 'CIFAR-10',
        'git': git_commit(),
        'torch': version_of('torch'),
        'machine': platform.machine(),
        'cores_of_machine': os.cpu_count(),
    }


def train(method: Method, place: Place, folder: Path, iterations: int, factor: float, seed: int) -> dict[str, Any]:
    """Train into `folder`/run; its time, and the last line of its log."""
    path = folder / 'training.py'
    path.write_text(training_text(method, place.data, iterations, factor))
    call(['tools/train.py', path, '--work_dir', folder / 'run', '--seed', seed], place.cores)
    measured = json.loads((folder / 'run' / FILE).read_text())
    (log,) = (folder / 'run').rglob('vis_data/20*.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    last = {key: value for line in lines for key, value in line.items()}  # the latest of each
    return {
        'iterations': iterations,
        'time': measured,
        'embedding_std': last.get('embedding_std'),
        'embedding_rank': last.get('embedding_rank'),
        'loss': last.get('loss'),
    }


def measure(
    method: Method, place: Place, folder: Path, checkpoint: Path | None, seed: int, probe: bool
) -> dict[str, float]:
    """kNN-20 top-1 of a checkpoint or of random weights, in percent; with `probe` also that of the linear probe at the best of `RATES`."""
    training, images = folder / 'training.py', folder / 'images.py'
    if checkpoint is None:
        training.write_text(training_text(method, place.data, 1))
    images.write_text(images_text(method, place.data))
    weights = ['--pretrained', 'random'] if checkpoint is None else ['--checkpoint', checkpoint]
    knn = [
        'tools/knn.py',
        training,
        *weights,
        '--k',
        20,
        '--dataset-config',
        images,
        '--seed',
        seed,
        '--work_dir',
        folder / 'knn',
    ]
    call(knn, place.cores)
    numbers = {'knn_20': json.loads((folder / 'knn' / 'knn.json').read_text())['numbers']['knn_20']}
    if not probe:
        return numbers
    linear = folder / 'linear.py'
    linear.write_text(linear_text(method, place.data, backbone_facts(method)['channels']))
    command = ['tools/linear_cached.py', linear, '--pretrained', checkpoint or 'random', '--seed', seed]
    command += ['--lrs', ','.join(map(str, RATES)), '--epochs', PROBE_EPOCHS, '--work_dir', folder / 'linear']
    call(command, place.cores)
    found = json.loads((folder / 'linear' / 'linear_cached.json').read_text())['numbers']
    return {**numbers, 'linear': found['head0_top1']} | {
        f'linear_lr{rate}': found[f'head0_top1_lr{rate}'] for rate in RATES
    }


def call(words: list[Any], cores: frozenset[int]) -> None:
    """Run a tool of this checkout with a thread per core, on the cores of this thread.

    Raises:
        Failed: it ended with an error.
    """
    threads = {'OMP_NUM_THREADS': str(len(cores)), 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=ROOT, env={**os.environ, **threads}, capture_output=True, text=True
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Failed(f'{words[0]} ended with {done.returncode}: {" ".join(lines[-3:])[-600:]}')


def write_json(path: Path, result: dict[str, Any]) -> None:
    """Whole or not at all: a file that is there belongs to a run that was finished."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=1) + '\n'
    write_atomic(path, lambda file: file.write(text.encode()), DataError)


def read_budgeted(path: Path, budget: Budget | None) -> dict[str, Any]:
    """A result that is there; runs of different budgets are no comparison.

    Raises:
        Failed: it was made with another budget, or is no result.
    """
    try:
        result = json.loads(path.read_text())
    except ValueError:
        result = None
    if not isinstance(result, dict) or (budget is not None and 'budget' not in result):
        raise Failed(f'{path} is damaged or no result of this comparison: remove it, and it is made again')
    if budget is not None and result['budget'] != budget.described():
        raise Failed(
            f'{path} was made with {result["budget"]} and not with {budget.described()}: give another --out, or remove it'
        )
    return result
