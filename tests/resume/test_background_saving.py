"""Checkpoints that a thread writes while training goes on: exact, in order, with errors that reach everybody."""

import itertools
import os
import re
import threading
import time
from collections import OrderedDict

import pytest
import torch
from mmengine.hooks import Hook
from torch import nn

from selfsup.engine.resume.lineage import Saved, peek
from selfsup.engine.resume.snapshot import Snapshot
from selfsup.engine.resume.writer import Writer
from selfsup.errors import CheckpointError, ConfigError, TrainingError
from selfsup.registry import HOOKS
from tests.distributed.helpers import run_ranks

from .runs import differences, train, write_config

EACH = ('checkpoint_config.by_epoch=False', 'checkpoint_config.interval=1', 'total_epochs=1')


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp('config'))


def slow(monkeypatch, seconds):
    """Let each write in the background begin that much later, when training has long changed the weights."""
    real = Writer._store

    def store(self, content, file):
        time.sleep(seconds)
        real(self, content, file)

    monkeypatch.setattr(Writer, '_store', store)


def fails_at(monkeypatch, iteration):
    """A disk that is full for the checkpoint of one iteration."""
    real = Writer._store

    def store(self, content, file):
        if content['meta']['iter'] == iteration:
            file.write(b'x' * 100)
            raise OSError(28, 'No space left on device')
        real(self, content, file)

    monkeypatch.setattr(Writer, '_store', store)


def names(folder):
    return sorted(path.name for path in folder.glob('*_*.pth'))


@HOOKS.register_module(force=True)
class Listener(Hook):
    """Looks at each file when it hears of it."""

    def __init__(self):
        self.heard = Listener.heard = []

    def after_save_checkpoint(self, runner, path, iteration):
        assert threading.current_thread() is threading.main_thread()
        self.heard.append((path.name, iteration, torch.load(path, weights_only=True)['meta']['iter']))


@pytest.mark.parametrize('method', ['MOCO', 'BYOL'])
def test_files_are_those_of_the_moment_of_the_save(tmp_path, monkeypatch, method):
    """With the average of the weights, whose hook adds to the checkpoint."""
    config = write_config(tmp_path / 'config', method)
    hooks = "custom_hooks=[dict(type='EMAHook', momentum=0.5), dict(type='Listener')]"
    at_once = train(config, tmp_path / 'at_once', *EACH, hooks, 'checkpoint_config.background=False', curves=False)
    expected, Listener.heard = list(Listener.heard), []
    slow(monkeypatch, 0.05)
    later = train(config, tmp_path / 'later', *EACH, hooks, curves=False)
    assert names(later) == [f'iter_{n}.pth' for n in range(1, 7)]
    for name in names(later):
        assert differences(at_once / name, later / name) == []
    assert [peek(later / f'iter_{n}.pth')[0].number for n in range(1, 7)] == [1, 2, 3, 4, 5, 6]
    assert Listener.heard == expected == [(f'iter_{n}.pth', n, n) for n in range(1, 7)]


@HOOKS.register_module(force=True)
class ReadsAtOnce(Hook):
    """A hook of a user, which knows nothing of threads."""

    priority = 'LOWEST'

    def after_train_iter(self, runner, **kwargs):
        done = runner.iter + 1
        assert torch.load(runner.last_checkpoint, weights_only=True)['meta']['iter'] == done  # of CheckpointHook
        path = runner.save_checkpoint(f'mine_{done}.pth', epoch=runner.epoch, iteration=done)
        assert torch.load(path, weights_only=True)['meta']['iter'] == done and runner.last_checkpoint == path


def test_a_hook_that_saves_and_reads(config, tmp_path, monkeypatch):
    slow(monkeypatch, 0.2)
    work_dir = train(config, tmp_path, *EACH, "custom_hooks=[dict(type='ReadsAtOnce')]", curves=False)
    numbers = [peek(work_dir / f'{kind}_{n}.pth')[0].number for n in range(1, 7) for kind in ('iter', 'mine')]
    assert numbers == list(range(1, 13))


@HOOKS.register_module(force=True)
class SavesTooEarly(Hook):
    def after_train_iter(self, runner, **kwargs):  # before the schedules, by its priority
        runner.save_checkpoint('mine.pth', epoch=runner.epoch, iteration=runner.iter + 1)


def test_a_hook_that_saves_before_the_schedules_moved_is_told(config, tmp_path):
    with pytest.raises(
        TrainingError, match=r"mine\.pth was to be saved before all hooks of iteration 1 .* priority = 'LOWEST'"
    ):
        train(config, tmp_path, "custom_hooks=[dict(type='SavesTooEarly')]", curves=False)
    assert names(tmp_path) == []


def test_a_third_save_waits(config, tmp_path, monkeypatch):
    waiting, store, wait = threading.Event(), Writer._store, Writer._wait_for_oldest

    def store_late(self, content, file):
        assert waiting.wait(300)
        store(self, content, file)

    def wait_for_oldest(self):
        waiting.set()
        wait(self)

    monkeypatch.setattr(Writer, '_store', store_late)
    monkeypatch.setattr(Writer, '_wait_for_oldest', wait_for_oldest)
    work_dir = train(config, tmp_path, *EACH, 'checkpoint_config.max_keep_ckpts=2', curves=False)
    log = next(work_dir.glob('*/*.log')).read_text().splitlines()
    waits = [line for line in log if 'Training waited' in line]
    assert 'for iter_1.pth to be written' in waits[0]
    assert names(work_dir) == ['iter_5.pth', 'iter_6.pth'] and (work_dir / 'latest.pth').resolve().name == 'iter_6.pth'
    saved = [line[line.index('Saved ') :] for line in log if ' Saved ' in line]
    assert [line.split(': ')[0] for line in saved] == [f'Saved {work_dir}/iter_{n}.pth' for n in range(1, 7)]
    assert all(re.search(r': training stood still for \d+\.\d\d s, written in \d+\.\d\d s$', line) for line in saved)


def test_a_file_is_finished_when_an_error_ends_the_run(config, tmp_path, monkeypatch):
    slow(monkeypatch, 0.5)
    work_dir = train(config, tmp_path, *EACH, stop_after=3, curves=False)
    assert names(work_dir) == ['iter_1.pth', 'iter_2.pth', 'iter_3.pth'] and not list(work_dir.glob('.*.tmp'))
    end = time.monotonic() + 20
    while any(thread.name.startswith('checkpoint') for thread in threading.enumerate()):
        assert time.monotonic() < end  # a pool's thread ends a moment after its last task
        time.sleep(0.05)


def test_a_full_disk_ends_the_run_and_leaves_older_files(config, tmp_path, monkeypatch):
    fails_at(monkeypatch, 3)
    with pytest.raises(CheckpointError, match=r'iter_3.pth could not be written: No space.*last good .*iter_2.pth'):
        train(config, tmp_path, *EACH, 'checkpoint_config.max_keep_ckpts=1', 'total_epochs=2', curves=False)
    assert names(tmp_path) == ['iter_2.pth'] and not list(tmp_path.glob('.*.tmp'))


def test_the_emergency_folder(config, tmp_path, monkeypatch):
    fails_at(monkeypatch, 3)
    monkeypatch.setattr('selfsup.engine.resume.branch.Branch._store', _fails_in_work_dir)
    train(config, tmp_path / 'work', *EACH, emergency_dir=str(tmp_path / 'spare'), curves=False)
    (folder,) = (tmp_path / 'spare').iterdir()
    assert names(folder) == ['iter_3.pth'] and 'iter_6.pth' in names(tmp_path / 'work')


def _fails_in_work_dir(self, checkpoint, path, save, real=None):
    from selfsup.weights.write import write_checkpoint_atomic

    write_checkpoint_atomic(checkpoint, path, save if path.parent == self.work_dir else None)


def _two(config, work_dir, what):
    with pytest.MonkeyPatch.context() as patch:
        if what == 'full':
            fails_at(patch, 2)
        options = [*EACH, 'data.imgs_per_gpu=2', 'total_epochs=3']
        if what == 'clock':
            # each rank reads another clock; only that of rank 0 counts
            now = iter(range(10**6))
            far = int(os.environ['RANK']) * 10**6
            patch.setattr('selfsup.hooks.checkpoint_hook.time.monotonic', lambda: far + 10.0 * next(now))
            options = ['data.imgs_per_gpu=2', 'checkpoint_config.interval=2', 'checkpoint_config.every_minutes=0.5']
        try:
            train(config, work_dir, *options, launcher='pytorch', curves=False)
        except CheckpointError as error:
            return str(error)
    return ''


@pytest.mark.dist
def test_an_error_of_the_thread_reaches_all_ranks(config, tmp_path):
    one, other = run_ranks(_two, 2, config, tmp_path, 'full', init_group=False, timeout=400)
    assert one == other and 'iter_2.pth could not be written: No space left on device' in one
    assert names(tmp_path) == ['iter_1.pth']


@pytest.mark.slow
@pytest.mark.dist
def test_saves_by_the_clock_of_rank_0(config, tmp_path):
    """Epochs 2 and 3 are saved by the interval, the others in between when half a minute has passed since the latest."""
    assert run_ranks(_two, 2, config, tmp_path / 'clock', 'clock', init_group=False, timeout=400) == ['', '']
    by_clock = sorted(int(name[5:-4]) for name in names(tmp_path / 'clock') if name.startswith('iter_'))
    assert len(by_clock) >= 3 and min(b - a for a, b in itertools.pairwise(by_clock)) >= 2
    assert {'epoch_2.pth', 'epoch_3.pth'} <= set(names(tmp_path / 'clock'))
    run_ranks(_two_straight, 2, config, tmp_path / 'on', str(tmp_path / 'clock' / f'iter_{by_clock[0]}.pth'),
              init_group=False, timeout=400)  # fmt: skip
    assert differences(tmp_path / 'clock' / 'epoch_3.pth', tmp_path / 'on' / 'epoch_3.pth') == []


def _two_straight(config, work_dir, path):
    train(config, work_dir, 'data.imgs_per_gpu=2', launcher='pytorch', curves=False, resume_from=path)


def test_files_kept_by_time(config, tmp_path, monkeypatch):
    """A save every 25 minutes; the newest stays, and of the older ones one an hour, whether the run was resumed or not."""
    from selfsup.engine.resume import saving

    class Clock:
        """Of the saves alone: 25 minutes for each iteration."""

        now = 0.0

        def time(self):
            Clock.now += 1500
            return Clock.now

        def __getattr__(self, name):
            return getattr(time, name)

    monkeypatch.setattr(saving, 'time', Clock())
    options = (*EACH, 'checkpoint_config.max_keep_ckpts=1', 'checkpoint_config.keep_every_hours=1')
    straight = train(config, tmp_path / 'straight', *options, 'total_epochs=2', curves=False)
    assert names(straight) == sorted(f'iter_{n}.pth' for n in (1, 4, 7, 10, 12))
    Clock.now = 0.0
    resumed = train(config, tmp_path / 'resumed', *options, 'total_epochs=2', stop_after=5, curves=False)
    train(config, resumed, *options, 'total_epochs=2', auto_resume=True, curves=False)
    assert names(resumed) == names(straight)
    with pytest.raises(ConfigError, match=r'keep_every_hours=1 says which .* set max_keep_ckpts too'):
        train(config, tmp_path / 'all', *EACH, 'checkpoint_config.keep_every_hours=1', curves=False)


def test_a_clock_that_was_set_back(tmp_path):
    from selfsup.engine.resume.branch import spread_out

    files = [
        Saved(tmp_path / f'iter_{i}.pth', (('a', i),), i, moment) for i, moment in enumerate([9e3, 9.1e3, 10, 20, 4e3])
    ]
    assert [file.iteration for file in spread_out(files, 3600)] == [0, 2, 4]


def test_a_snapshot_shares_nothing_with_what_it_copies():
    weight = nn.Parameter(torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last))
    big = torch.randn(3, 1 << 18)
    state = OrderedDict(
        a=weight, tied=weight.detach(), view=big[1], rows=big.T, empty=torch.zeros(0, 2), step=torch.tensor(3.0)
    )
    tree = {
        'state': state,
        'list': [1, {'x': [2]}],
        'tuple': (big[0], 'y'),
        'half': big[:, :7].bfloat16(),
        'again': None,
    }
    tree['again'] = tree['list']
    expected = torch.load(_saved(tree), weights_only=False)
    snapshot = Snapshot()
    for _ in range(2):  # the second time with the memory of the first
        snapshot.begin()
        copied = snapshot.copy(tree)
        snapshot.finish()
        with torch.no_grad():
            weight.add_(1)
            big.mul_(2)
            state['step'].add_(1)
        tree['list'][1]['x'].append(3)
        _equal(copied, expected)
        assert type(copied['state']) is OrderedDict and copied['again'] is copied['list']
        assert copied['state']['a'].data_ptr() == copied['state']['tied'].data_ptr()
        assert copied['state']['a'].stride() == weight.stride()
        with torch.no_grad():
            weight.copy_(expected['state']['a'])
            big.copy_(expected['state']['rows'].T)
            state['step'].copy_(expected['state']['step'])
        del tree['list'][1]['x'][1:]


def _saved(tree):
    import io

    file = io.BytesIO()
    torch.save(tree, file)
    file.seek(0)
    return file


def _equal(one, other):
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype and torch.equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            _equal(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert type(one) is type(other) and len(one) == len(other)
        for x, y in zip(one, other, strict=True):
            _equal(x, y)
    else:
        assert one == other
