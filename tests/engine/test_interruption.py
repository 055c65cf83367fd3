"""A training that is asked to stop saves its state, says so, and a resumed one equals one that was never asked, to the last bit."""

import os
import signal
import threading
import time
from functools import partial

import mmengine.hooks as stock
import pytest
from mmengine.hooks import Hook
from mmengine.utils import manager

from selfsup.cli import final_status
from selfsup.engine.processes.agreement import SAVE, STOP
from selfsup.engine.processes.interruption import Interruption
from selfsup.errors import CTRL_C, TRY_AGAIN, Interrupted, TrainingError, UsageError
from selfsup.hooks.knn_hook import KNNHook
from selfsup.registry import HOOKS
from tests.distributed.helpers import run_ranks
from tests.resume.runs import differences, train, write_config

LENGTH = 6  # iterations of an epoch
DIGITS = {
    'type': 'ClassificationDataset',
    'data_source': {'type': 'Digits', 'split': 'test', 'size': 8},
    'pipeline': [{'type': 'ToTensor'}],
}
KNN = {'k': [1], 'imgs_per_gpu': 256, 'train': DIGITS, 'test': DIGITS}
HOOKS_OF_RUN = [
    {'type': 'Tally'},
    {'type': 'KNNHook', **KNN},
    {'type': 'SecondKNN', **KNN, 'initial': False},
    {'type': 'MMEngineEMA', 'momentum': 0.1},
    {'type': 'At'},
]


class Tally(Hook):
    """Has state that must change once per epoch, before anything is evaluated."""

    def __init__(self):
        self.epochs = 0

    def after_train_epoch(self, runner):
        self.epochs += 1
        next(runner.model.parameters()).data.add_(0.001 * self.epochs)

    def before_save_checkpoint(self, runner, checkpoint):
        checkpoint['tally'] = self.epochs

    def after_load_checkpoint(self, runner, checkpoint):
        self.epochs = checkpoint['tally']


class SecondKNN(KNNHook):
    """Measures after the first, which has been logged by then; `signal_in` = epoch: a signal comes between its batches."""

    signal_in = None

    def evaluate(self, runner):
        if self.signal_in == runner.epoch:
            os.kill(os.getpid(), signal.SIGTERM)
        return {f'second_{name}': value for name, value in super().evaluate(runner).items()}


class At(Hook):
    """Calls `acts[i]` after iteration i."""

    only_watches = True
    priority = 'LOWEST'
    acts = None

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        (self.acts or {}).get(runner.iter + 1, lambda runner: None)(runner)


@pytest.fixture(autouse=True)
def usual_handlers():
    """Those of a command in the foreground: nohup and the background of a shell ignore some signals."""
    before = {
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def parts():
    for name, module in {'Tally': Tally, 'SecondKNN': SecondKNN, 'At': At, 'MMEngineEMA': stock.EMAHook}.items():
        HOOKS.register_module(name=name, module=module, force=True)
    yield
    SecondKNN.signal_in = At.acts = None


def run(config, work_dir, acts=None, *options, hooks=HOOKS_OF_RUN, **start):
    At.acts = acts or {}
    return train(config, work_dir, f'custom_hooks={hooks!r}', *options, curves=False, **start)


def signals(*numbers):
    return lambda runner: [os.kill(os.getpid(), number) for number in numbers]


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    path = write_config(tmp_path_factory.mktemp('config'))
    path.write_text(
        path.read_text()
        + "lr_config = None\nparam_scheduler = [dict(type='StepLR', step_size=1, gamma=0.5, by_epoch=True)]\n"
    )
    return path


@pytest.fixture(scope='module')
def straight(config, tmp_path_factory):
    for name, module in {'Tally': Tally, 'SecondKNN': SecondKNN, 'At': At, 'MMEngineEMA': stock.EMAHook}.items():
        HOOKS.register_module(name=name, module=module, force=True)
    return run(config, tmp_path_factory.mktemp('straight'))


def measured(checkpoint):
    import torch

    return [sorted(row) for row in torch.load(checkpoint, weights_only=True)['meta']['measured']]


def check_same(straight, work_dir):
    assert not differences(straight / 'epoch_3.pth', work_dir / 'epoch_3.pth')
    assert measured(straight / 'epoch_3.pth') == measured(work_dir / 'epoch_3.pth')
    assert sorted(path.name for path in work_dir.glob('epoch_*.pth')) == [f'epoch_{n}.pth' for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ('act', 'reason', 'status'),
    [
        (signals(signal.SIGUSR1, signal.SIGTERM, signal.SIGUSR2, signal.SIGUSR1), 'SIGUSR1', TRY_AGAIN),
        (signals(signal.SIGTERM), 'SIGTERM', TRY_AGAIN),
        (signals(signal.SIGINT), 'Ctrl-C', CTRL_C),
    ],
)
def test_a_signal_in_the_middle_of_an_epoch(config, straight, tmp_path, act, reason, status):
    with pytest.raises(Interrupted) as stop:
        run(config, tmp_path, {8: act})
    assert stop.value.status == status and str(stop.value).startswith(
        f'Stopped by {reason}. {tmp_path}/iter_8.pth holds'
    )
    run(config, tmp_path, auto_resume=True)
    check_same(straight, tmp_path)


@pytest.mark.parametrize('iteration', [LENGTH, 3 * LENGTH])
def test_a_signal_at_the_end_of_an_epoch_leaves_its_hooks_to_the_resumed_run(config, straight, tmp_path, iteration):
    with pytest.raises(Interrupted):
        run(config, tmp_path, {iteration: signals(signal.SIGHUP)})
    assert (tmp_path / f'iter_{iteration}.pth').exists()
    assert not (tmp_path / f'epoch_{iteration // LENGTH}.pth').exists()
    run(config, tmp_path, auto_resume=True)
    check_same(straight, tmp_path)


@pytest.mark.parametrize('epoch', [0, 2])
def test_an_evaluation_is_given_up_and_done_again(config, straight, tmp_path, epoch):
    """Hooks that had closed the epoch by then (a schedule, a counter, another evaluation) are not applied twice."""
    SecondKNN.signal_in = epoch
    with pytest.raises(Interrupted, match=f'iter_{(epoch + 1) * LENGTH}.pth holds all of it'):
        run(config, tmp_path)
    SecondKNN.signal_in = None
    run(config, tmp_path, auto_resume=True)
    check_same(straight, tmp_path)


def test_a_window_is_finished_first(config, tmp_path):
    option = 'optimizer_config.update_interval=4'  # windows of 4 and 2
    straight = run(config, tmp_path / 'straight', {}, option, hooks=[{'type': 'At'}])
    with pytest.raises(Interrupted, match=r'iter_10\.pth'):
        run(config, tmp_path / 'run', {7: signals(signal.SIGUSR2)}, option, hooks=[{'type': 'At'}])
    run(config, tmp_path / 'run', {}, option, hooks=[{'type': 'At'}], auto_resume=True)
    assert not differences(straight / 'epoch_3.pth', tmp_path / 'run' / 'epoch_3.pth')


def test_what_is_saved_already_is_not_saved_again_and_nothing_trained_is_nothing_saved(config, tmp_path):
    options = ('checkpoint_config.by_epoch=False', 'checkpoint_config.interval=4')
    hooks = [{'type': 'At'}]
    with pytest.raises(Interrupted, match=r'iter_4\.pth holds'):
        run(config, tmp_path, {4: signals(signal.SIGTERM)}, *options, hooks=hooks)
    first = (tmp_path / 'iter_4.pth').stat().st_mtime_ns
    with pytest.raises(Interrupted, match=r'iter_4\.pth holds'):  # before it has trained anything
        run(config, tmp_path, {}, *options, hooks=[*hooks, {'type': 'Early'}], auto_resume=True)
    assert (tmp_path / 'iter_4.pth').stat().st_mtime_ns == first
    with pytest.raises(Interrupted, match='Nothing was trained yet'):
        run(config, tmp_path / 'new', {}, *options, hooks=[*hooks, {'type': 'Early'}])
    assert not list((tmp_path / 'new').glob('*.pth'))


@HOOKS.register_module(force=True)
class Early(Hook):
    """A signal comes while the run is built."""

    only_watches = True

    def before_run(self, runner):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_save_by_the_clock_is_agreed_on(config, tmp_path):
    saved = []

    class Due(Hook):
        def save_is_due(self, runner):
            saved.append((runner.epoch, runner.iter))

    HOOKS.register_module(module=Due, force=True)
    run(config, tmp_path, {7: lambda runner: runner.ask(SAVE)}, hooks=[{'type': 'Due'}, {'type': 'At'}])
    assert saved == [(1, 7)]


def test_a_hook_may_ask_for_the_end(config, tmp_path):
    with pytest.raises(Interrupted, match=r'Stopped by a hook\. .*iter_7\.pth holds'):
        run(config, tmp_path, {7: lambda runner: runner.ask(STOP)}, hooks=[{'type': 'At'}])


def test_the_time_limit(config, tmp_path, monkeypatch):
    monkeypatch.setattr('selfsup.engine.processes.time_limit.SPARE_S', 10**6)
    with pytest.raises(Interrupted, match=r'Stopped by --time_limit 2:00\. .*iter_1.pth'):
        run(config, tmp_path, {}, hooks=[{'type': 'Late'}], limit='2:00')
    with pytest.raises(UsageError, match=r"--time_limit: '2 hours' is not a time: give minutes, MM:SS"):
        run(config, tmp_path, limit='2 hours')
    with pytest.raises(UsageError, match='--time_limit 0:10 is over before anything is trained'):
        run(config, tmp_path, limit='0:10')


def test_no_time_to_begin_is_an_error_and_no_reason_to_start_again(config, tmp_path, monkeypatch):
    """A job that is requeued for exit status 75 would be for ever; processes that torchrun starts again have had their time."""
    monkeypatch.setattr('selfsup.engine.processes.time_limit.SPARE_S', 10**6)
    with pytest.raises(TrainingError, match=r'over before training begins \(--time_limit 2:00\)'):
        run(config, tmp_path / 'short', {}, hooks=[], limit='2:00')
    monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', '1')
    with pytest.raises(Interrupted, match=r'Stopped by --time_limit 2:00\. Nothing was trained yet'):
        run(config, tmp_path / 'again', {}, hooks=[], limit='2:00')


@HOOKS.register_module(force=True)
class Late(Hook):
    """Nothing is near before the first iteration: else the run would end without any."""

    def before_run(self, runner):
        self.limit, runner.safe_points.limit = runner.safe_points.limit, None

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        runner.safe_points.limit = self.limit


@pytest.mark.parametrize(
    ('variable', 'who'), [('TORCHELASTIC_RESTART_COUNT', 'torchrun'), ('SLURM_RESTART_COUNT', 'Slurm')]
)
def test_who_is_started_again_goes_on(config, straight, tmp_path, monkeypatch, said, variable, who):
    with pytest.raises(Interrupted):
        run(config, tmp_path, {8: signals(signal.SIGTERM)})
    monkeypatch.setenv(variable, '1')
    run(config, tmp_path, start_over=True)
    assert f'{who} started this run again ({variable}=1): the run goes on from {tmp_path}/iter_8.pth' in said.text
    assert '--start_over was for the first start' in said.text
    assert ('unset SLURM_RESTART_COUNT' in said.text) == (who == 'Slurm')  # which a shell may have kept
    check_same(straight, tmp_path)


def test_who_is_started_again_without_a_checkpoint_says_so(config, tmp_path, monkeypatch, said):
    monkeypatch.setenv('SLURM_RESTART_COUNT', '2')
    run(config, tmp_path, {}, 'total_epochs=1', hooks=[])
    assert 'holds no checkpoint yet: the run begins from the start' in said.text


def test_the_status_is_left_in_a_file_for_torchrun(tmp_path, monkeypatch):
    assert final_status(TRY_AGAIN) == TRY_AGAIN
    monkeypatch.setenv('SELFSUP_STATUS_FILE', str(tmp_path / 'status'))
    assert final_status(TRY_AGAIN) == 0 and (tmp_path / 'status').read_text() == '75'
    monkeypatch.setenv('SELFSUP_STATUS_FILE', str(tmp_path / 'missing' / 'status'))
    assert final_status(TRY_AGAIN) == TRY_AGAIN


def test_handlers_are_given_back_and_a_thread_has_none(config, tmp_path):
    numbers = [signal.SIGUSR1, signal.SIGTERM, signal.SIGINT]
    before = [signal.getsignal(number) for number in numbers]
    seen = []
    with Interruption() as interruption:
        assert [signal.getsignal(number) for number in numbers] == [interruption._handle] * 3
    # An error inside of mmengine's managers keeps their lock; only other threads than its owner notice, by waiting for ever.
    while manager._lock._is_owned():
        manager._lock.release()
    train_it = partial(run, config, tmp_path, {}, 'total_epochs=1', hooks=[])
    thread = threading.Thread(target=lambda: seen.append(train_it()), daemon=True)
    thread.start()
    thread.join(120)
    assert seen == [tmp_path] and [signal.getsignal(number) for number in numbers] == before


def forked(act):
    """Call `act` in a fork of this process, a group of its own; returns its number and its exit status, or -(the signal that ended it)."""
    child = os.fork()
    if child == 0:
        os.setsid()
        try:
            act()
        except Interrupted as stop:
            os._exit(stop.status)
        finally:
            os._exit(1)
    return child, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def interrupt_twice(runner):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(600)


def hang(runner):
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(600)


def test_a_second_interrupt_ends_at_once(config, tmp_path, capfd):
    _, status = forked(lambda: run(config, tmp_path, {8: interrupt_twice}, hooks=[{'type': 'At'}]))
    said = capfd.readouterr().err
    assert status == CTRL_C and 'stopping at the next safe point; a second Ctrl-C ends the run at once' in said
    assert (
        f'interrupted a second time, so the run ends at once. The newest checkpoint is {tmp_path}/epoch_1.pth.' in said
    )


def test_where_no_safe_point_comes_in_time_the_run_ends(config, tmp_path, capfd):
    option = 'dist_params.stop_within_s=0.5'
    _, status = forked(lambda: run(config, tmp_path, {8: hang}, option, hooks=[{'type': 'At'}]))
    said = capfd.readouterr().err
    assert status == TRY_AGAIN and 'Stopped by SIGUSR1, but no safe point was reached within 0.5 s' in said
    assert (
        f'it was at: hooks after iteration 8): the run ends as it is. The newest checkpoint is {tmp_path}/epoch_1'
        in said
    )


def test_the_wait_for_processes_that_never_come_ends_soon(capfd):
    """The others may have been killed; the launcher tells this one with SIGTERM, which then is no wish to save."""

    def wait():
        with Interruption(launcher='pytorch') as interruption, interruption.meeting():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(600)

    _, status = forked(wait)
    assert status == TRY_AGAIN
    assert 'Stopped by SIGTERM while waiting for other processes, before anything was trained' in capfd.readouterr().err


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_loader_workers_leave_signals_to_the_training(config, tmp_path, number):
    """A terminal and a batch system send them to all processes at once."""
    acts = {2: lambda runner: os.killpg(0, number)}
    child, status = forked(lambda: run(config, tmp_path, acts, 'data.workers_per_gpu=2', hooks=[{'type': 'At'}]))
    assert status == (CTRL_C if number == signal.SIGINT else TRY_AGAIN) and (tmp_path / 'iter_2.pth').exists()
    end = time.monotonic() + 60
    with pytest.raises(ProcessLookupError):  # nobody of the group is left
        while time.monotonic() < end:
            os.killpg(child, 0)
            time.sleep(0.1)


def one_of_two_is_told(config, folder):
    """A signal to one rank stops both at the same iteration."""
    import selfsup.distributed as dist

    HOOKS.register_module(module=At, force=True)
    acts = {4: signals(signal.SIGUSR1)} if dist.rank() == 1 else {}
    options = {'hooks': [{'type': 'At'}], 'launcher': 'pytorch'}
    with pytest.raises(Interrupted) as stop:
        run(config, folder / 'run', acts, **options)
    run(config, folder / 'run', {}, **options, auto_resume=True)
    run(config, folder / 'straight', {}, **options)
    return str(stop.value), stop.value.status, stop.value.told


@pytest.mark.dist
def test_two_processes_stop_together(config, tmp_path):
    results = run_ranks(one_of_two_is_told, 2, config, tmp_path, timeout=600)
    for text, status, _ in results:
        assert (
            text.startswith(f'Stopped by SIGUSR1 (to rank 1). {tmp_path}/run/iter_5.pth holds') and status == TRY_AGAIN
        )
    assert [told for _, _, told in results] == [False, True]
    assert not differences(tmp_path / 'straight' / 'epoch_3.pth', tmp_path / 'run' / 'epoch_3.pth')
