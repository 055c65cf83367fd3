"""The matrix of sources: from each, MoCo trains with one line of data changed, and goes on in the middle of an epoch to equal bytes.

Batches are compared for every source and every number of workers and processes. Whole runs take longer: those that are resumed in this
process, for every source; those of two processes and those that are killed with loader workers, for a source of each kind of order:
any, block by block, forwards. A tenth of them, drawn from a seed, is run always, the others when long tests are asked for.
"""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from selfsup.datasets.loaders import build_loader
from tests.datasets.stores.written import COUNT, FORMS
from tests.distributed.helpers import run_ranks

from .runs import differences, train, write_config

CPU = torch.device('cpu')
BATCH, SKIP = 8, 2  # six batches in an epoch
VIEWS = [
    dict(type='RandomResizedCrop', size=8, scale=(0.3, 1.0)),
    dict(type='RandomHorizontalFlip'),
    dict(type='ToTensor'),
]
WORKERS = (0, 1, 3)
STOP = 9  # of 12 iterations, in the middle of the second epoch
OPTIONS = ('checkpoint_config.by_epoch=False', 'total_epochs=2', f'data.imgs_per_gpu={BATCH}')
EACH_ORDER = ('lmdb', 'parquet', 'hf stream')
DRAWN = random.Random(8).sample(sorted(FORMS), -(-len(FORMS) // 10))
DRAWN_ORDER = random.Random(8).choice(EACH_ORDER)


def whole_runs(forms, always):
    """Parameters of a test of whole runs: long, but for the forms that are run always."""
    return [pytest.param(form, marks=() if form in always else pytest.mark.long) for form in forms]


pytestmark = pytest.mark.filterwarnings('ignore:This DataLoader will create')


@pytest.fixture(scope='module')
def addresses(tmp_path_factory):
    """form -> address; the images are written once."""
    written = {}

    def address(form):
        if form not in written:
            written[form] = FORMS[form](tmp_path_factory.mktemp('data'))
        return written[form]

    return address


def loader_of(address, workers=0, rank=0, world_size=1):
    return build_loader(
        dict(
            batch_size=BATCH // world_size,
            num_workers=workers,
            dataset=dict(type='ContrastiveDataset', data_source=address, pipeline=VIEWS),
        ),
        seed=3,
        device=CPU,
        rank=rank,
        world_size=world_size,
    )


def rest_of_epoch(address, epoch, skip, **how):
    """Batches of an epoch from `skip` on, out of a loader that is as new as in a new process."""
    loader = loader_of(address, **how)
    loader.set_position(epoch, skip)
    return [batch['img'] for batch in loader]


@pytest.mark.parametrize('form', FORMS)
def test_batches_go_on_for_any_number_of_workers_and_processes(form, addresses):
    address = addresses(form)
    loader = loader_of(address)
    epochs = []
    for epoch in range(2):
        loader.set_position(epoch)
        epochs.append([batch['img'] for batch in loader])
    straight = epochs[1]
    assert len(straight) == COUNT // BATCH
    assert not torch.equal(torch.cat(epochs[0]), torch.cat(straight))
    for workers in WORKERS:
        resumed = rest_of_epoch(address, 1, SKIP, workers=workers)
        assert len(resumed) == len(straight) - SKIP
        assert all(torch.equal(a, b) for a, b in zip(resumed, straight[SKIP:], strict=True))
    ranks = [rest_of_epoch(address, 1, SKIP, rank=rank, world_size=2) for rank in range(2)]
    for *parts, whole in zip(*ranks, straight[SKIP:], strict=True):
        assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize('form', EACH_ORDER)
def test_what_is_left_of_an_epoch_goes_to_other_ranks(form, addresses):
    """After two batches of 8, three ranks take 2 or 4 images each at a time: the views are those of the straight epoch."""
    address = addresses(form)

    def views(batches):
        return {view.numpy().tobytes() for batch in batches for view in batch}

    loader = loader_of(address)
    loader.set_position(1)
    straight = [batch['img'] for batch in loader]
    for batch_size, workers in ((2, 0), (4, 1)):
        found, count = set(), 0
        for rank in range(3):
            ranked = build_loader(
                dict(
                    batch_size=batch_size,
                    num_workers=workers,
                    dataset=dict(type='ContrastiveDataset', data_source=address, pipeline=VIEWS),
                ),
                seed=3,
                device=CPU,
                rank=rank,
                world_size=3,
            )
            ranked.set_position(1, 0, SKIP * BATCH)
            batches = [batch['img'] for batch in ranked]
            count += sum(map(len, batches))
            found |= views(batches)
        left = views(straight[SKIP:])
        assert found >= left and len(found - left) == count - len(left) < 3


def config_of(folder, address):
    """The config of these tests with one line changed."""
    config = write_config(folder)
    text = config.read_text()
    line = next(line for line in text.splitlines() if line.startswith('source = '))
    config.write_text(text.replace(line, f'source = {address!r}'))
    return config


@pytest.mark.parametrize('form', whole_runs(FORMS, DRAWN))
def test_moco_resumed_in_the_middle_of_an_epoch_equals_straight(form, addresses, tmp_path):
    config = config_of(tmp_path / 'config', addresses(form))
    straight = train(config, tmp_path / 'straight', *OPTIONS, curves=False)
    resumed = train(
        config, tmp_path / 'resumed', *OPTIONS, resume_from=str(straight / f'iter_{STOP}.pth'), curves=False
    )
    assert differences(straight / 'iter_12.pth', resumed / 'iter_12.pth') == []


def _train(config, work_dir, stop_after=None, auto_resume=False):
    train(config, work_dir, *TWO, stop_after=stop_after, launcher='pytorch', auto_resume=auto_resume, curves=False)


# without workers: test_two_processes.py has them
TWO = (*OPTIONS[:2], f'data.imgs_per_gpu={BATCH // 2}', 'data.workers_per_gpu=0')


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.long
@pytest.mark.parametrize('form', EACH_ORDER)
def test_two_processes_stopped_and_resumed_equal_straight(form, addresses, tmp_path):
    config = config_of(tmp_path / 'config', addresses(form))
    run_ranks(_train, 2, config, tmp_path / 'straight', init_group=False, timeout=400)
    run_ranks(_train, 2, config, tmp_path / 'part', STOP, init_group=False, timeout=400)
    run_ranks(_train, 2, config, tmp_path / 'part', None, True, init_group=False, timeout=400)
    assert differences(tmp_path / 'straight' / 'iter_12.pth', tmp_path / 'part' / 'iter_12.pth') == []


KILLED = """
import os, signal, sys
from mmengine.hooks import Hook
from selfsup.registry import HOOKS
from tests.resume import runs

class StopAt(Hook):
    priority = 'LOWEST'
    only_watches = True

    def __init__(self, at):
        self.at = at

    def after_train_iter(self, runner, **kwargs):
        if runner.iter + 1 == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

runs.register_stop_hook = lambda: HOOKS.register_module(module=StopAt, force=True)
runs.train(sys.argv[1], sys.argv[2], *sys.argv[3:], stop_after=9, curves=False)
"""


@pytest.mark.slow
@pytest.mark.parametrize('form', whole_runs(EACH_ORDER, [DRAWN_ORDER]))
def test_killed_with_workers_and_resumed_with_others_equals_straight(form, addresses, tmp_path):
    config = config_of(tmp_path / 'config', addresses(form))
    straight = train(config, tmp_path / 'straight', *OPTIONS, curves=False)
    part = tmp_path / 'part'
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, '-c', KILLED, str(config), str(part), *OPTIONS, 'data.workers_per_gpu=3']
    run = subprocess.run(command, cwd=root, env={**os.environ, 'PYTHONPATH': str(root)}, capture_output=True, text=True)
    assert run.returncode == -signal.SIGKILL, run.stderr
    # saves are written beside the training: how many were whole when it was killed depends on the disk
    saved = {int(path.stem.removeprefix('iter_')) for path in part.glob('iter_*.pth')}
    assert saved and max(saved) <= STOP
    train(config, part, *OPTIONS, 'data.workers_per_gpu=1', curves=False, auto_resume=True)
    assert differences(straight / 'iter_12.pth', part / 'iter_12.pth') == []
