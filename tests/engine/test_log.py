"""Logs on disks that fill up, fail and come back: no line that can be written is lost, and no run ends for one."""

import errno
import json
import os
import resource
import shutil
import signal

import pytest
import torch
from mmengine.hooks import Hook

from selfsup.engine.logs.log import KEPT, LastingFile, LogTrouble
from selfsup.errors import TrainingError
from selfsup.registry import HOOKS
from tests.resume.runs import differences, train, write_config


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp('config'))


@pytest.fixture(scope='module')
def straight(config, tmp_path_factory):
    return train(config, tmp_path_factory.mktemp('straight') / 'work')


@pytest.fixture
def file_limit():
    """Sets the largest size of a file, as a full disk would; (None) takes it back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (soft if size is None else size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@HOOKS.register_module(force=True)
class CallAt(Hook):
    """Calls `steps[n](runner)` before the n-th iteration is logged."""

    steps = {}  # noqa: RUF012

    def after_train_iter(self, runner, **_):
        self.steps.get(runner.iter + 1, lambda _: None)(runner)


def run(config, work_dir, steps, *options, **start):
    CallAt.steps = steps
    return train(config, work_dir, "custom_hooks=[dict(type='CallAt')]", 'log_config.interval=1', *options, **start)


def rows(work_dir):
    return [json.loads(line) for path in work_dir.glob('*/vis_data/2*.json') for line in path.read_text().splitlines()]


def log_of(work_dir):
    (path,) = work_dir.glob('*/*.log')
    return path.read_text()


def events(work_dir):
    """Steps of the loss, as tensorboard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (path,) = work_dir.glob('*/vis_data/events.out.tfevents.*')
    board = EventAccumulator(str(path))
    board.Reload()
    return [event.step for event in board.Scalars('loss')]


def test_a_part_of_a_record_never_stays(tmp_path, file_limit, said):
    """The disk takes half of a line: it is taken back, and comes whole when there is space."""
    file = LastingFile(tmp_path / 'log', LogTrouble(), header=b'head\n')
    file.append(b'one\n')
    file_limit(12)
    file.append(b'a long line\n')
    file.append(b'two\n')
    assert (tmp_path / 'log').read_bytes() == b'head\none\n'
    assert [m.partition(':')[0] for m in said.messages] == [
        f'{tmp_path / "log"} cannot be written'
    ] and 'File too large' in said.text
    file_limit(None)
    file.append(b'three\n')
    assert (tmp_path / 'log').read_bytes() == b'head\none\na long line\ntwo\nthree\n'
    assert said.messages[1:] == ['The logs are written again.']


def test_what_waits_has_a_limit(tmp_path):
    path = tmp_path / 'folder' / 'log'
    (tmp_path / 'folder').touch()
    file = LastingFile(path, LogTrouble())
    for number in range(5):
        file.append(bytes([number]) * (KEPT // 3))
    (tmp_path / 'folder').unlink()
    file.append(b'end')
    assert {*path.read_bytes()} == {3, 4, *b'end'}


@pytest.mark.parametrize('how', ['the folder is removed', 'the file is removed', 'another file stands there'])
def test_a_file_that_is_gone_is_made_again(how, tmp_path):
    path = tmp_path / 'folder' / 'log'
    file = LastingFile(path, LogTrouble(), header=b'head\n')
    file.append(b'one\n')
    if how == 'the folder is removed':
        shutil.rmtree(path.parent)
    else:
        path.unlink()
    if how == 'another file stands there':
        path.write_bytes(b'other\n')
    file.append(b'two\n')
    assert path.read_bytes() == (b'other\ntwo\n' if how == 'another file stands there' else b'head\ntwo\n')


def test_curves_and_log_of_an_ordinary_run(straight):
    """Tensorboard's own reader takes the events; the JSON lines and the log are those of mmengine's writers."""
    assert events(straight) == [2, 4, 6, 8, 10, 12, 14, 16, 18] == [row['step'] for row in rows(straight)]
    assert 'Epoch 3 of 3 is done' in log_of(straight)


def test_a_full_disk_at_a_log_line(config, straight, tmp_path, file_limit, said):
    """From the fourth to the tenth line no log can grow: the run goes on, and all lines are there in the end."""

    def fill(runner):
        sizes = [path.stat().st_size for path in tmp_path.rglob('2*.json')] + [
            path.stat().st_size for path in tmp_path.rglob('events*')
        ]
        file_limit(min(sizes) + 5)

    options = ('checkpoint_config.interval=3',)
    work_dir = run(config, tmp_path / 'work', {4: fill, 11: lambda _: file_limit(None)}, *options)
    assert [row['step'] for row in rows(work_dir)] == list(range(1, 19)) == events(work_dir)
    assert all(f'[{epoch}][{i}/6]' in log_of(work_dir) for epoch in (1, 2, 3) for i in range(1, 7))
    assert said.text.count('cannot be written: File too large. Training goes on') == 1
    assert said.messages.count('The logs are written again.') == 1
    assert differences(straight / 'epoch_3.pth', work_dir / 'epoch_3.pth') == []


def test_a_work_dir_that_is_removed(config, straight, tmp_path, said):
    """It is made again, with the next log line and the next checkpoint."""

    def remove(runner):
        runner.checkpoints.wait()  # the one of epoch 1 is written in the background
        shutil.rmtree(runner.work_dir)

    work_dir = run(config, tmp_path / 'work', {8: remove})
    assert sorted(path.name for path in work_dir.glob('*.pth')) == ['epoch_2.pth', 'epoch_3.pth', 'latest.pth']
    assert [row['step'] for row in rows(work_dir)] == list(range(8, 19)) == events(work_dir)
    assert differences(straight / 'epoch_3.pth', work_dir / 'epoch_3.pth') == []


def test_a_log_folder_that_cannot_be_written_for_a_while(config, straight, tmp_path, said):
    """A file in its place: what a mount that has gone away leaves, for a test that runs as root."""

    def spoil(runner):
        os.rename(runner.log_dir, tmp_path / 'away')
        open(runner.log_dir, 'w').close()

    def mend(runner):
        os.unlink(runner.log_dir)
        os.rename(tmp_path / 'away', runner.log_dir)

    work_dir = run(config, tmp_path / 'work', {3: spoil, 15: mend})
    assert [row['step'] for row in rows(work_dir)] == list(range(1, 19)) == events(work_dir)
    assert said.text.count('cannot be written: Not a directory') == 1
    assert differences(straight / 'epoch_3.pth', work_dir / 'epoch_3.pth') == []


def test_a_backend_that_loses_its_server(config, tmp_path, said):
    from mmengine.visualization import BaseVisBackend

    from selfsup.registry import roots

    class Server(BaseVisBackend):
        experiment = None

        def _init_env(self):
            pass

        def add_scalars(self, scalar_dict, step=0, file_path=None, **_):
            if 3 <= step < 9:
                raise ConnectionResetError(errno.ECONNRESET, 'Connection reset by peer')

    roots.VISBACKENDS.register_module(module=Server, force=True)
    visualizer = "visualizer=dict(vis_backends=[dict(type='LocalVisBackend'), dict(type='Server')])"
    work_dir = run(config, tmp_path / 'work', {}, visualizer)
    assert [row['step'] for row in rows(work_dir)] == list(range(1, 19))
    assert said.text.count('Server cannot be written: Connection reset by peer. Training goes on') == 1


def test_files_beside_the_checkpoints_that_cannot_be_written(config, straight, tmp_path, said):
    """Folders stand where the copies of the config go."""
    work_dir = tmp_path / 'work'
    (work_dir / config.name).mkdir(parents=True)
    run(config, work_dir, {})
    assert said.text.count('cannot be written: Is a directory') == 1
    assert differences(straight / 'epoch_3.pth', work_dir / 'epoch_3.pth') == []


def test_a_closed_console_is_no_reason_to_stop(config, straight, tmp_path, monkeypatch):
    """The reader of a pipe has left, or the console is a file on a full disk."""
    import sys

    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(sys, 'stdout', open(writer, 'w', buffering=1))
    noise = []
    monkeypatch.setattr('logging.Handler.handleError', lambda self, record: noise.append(record))
    work_dir = run(config, tmp_path / 'work', {})
    assert not noise and 'Epoch 3 of 3 is done' in log_of(work_dir)
    with pytest.raises(BrokenPipeError):
        sys.stdout.close()


def ending(work_dir):
    return log_of(work_dir).rpartition(' - ERROR - ')[2]


def test_a_loss_that_is_not_finite_ends_in_the_log(config, tmp_path):
    def spoil(runner):
        runner.model.backbone.conv1.weight.data.fill_(float('nan'))

    with pytest.raises(TrainingError) as error:
        run(config, tmp_path / 'work', {8: spoil})
    (last,) = ending(tmp_path / 'work').splitlines()
    assert last == (
        f'The run ended at iteration 8: {error.value} The last checkpoint is {tmp_path / "work" / "epoch_1.pth"}.'
    )


def test_a_fault_ends_in_the_log_with_its_traceback(config, tmp_path):
    def fail(runner):
        raise ZeroDivisionError('one by\nnothing')

    with pytest.raises(ZeroDivisionError):
        run(config, tmp_path / 'work', {8: fail})
    first, *trace = ending(tmp_path / 'work').splitlines()
    assert first.startswith('The run ended at iteration 7: ZeroDivisionError: one by nothing. The last checkpoint is')
    assert trace[0] == 'Traceback (most recent call last):' and any('in fail' in line for line in trace)


def test_an_interrupt_ends_in_the_log(config, tmp_path):
    train(config, tmp_path / 'work', stop_after=3)
    assert ending(tmp_path / 'work') == 'The run ended at iteration 2: interrupted (SIGINT).\n'


def test_a_model_that_cannot_be_built_ends_in_the_log(config, tmp_path):
    from selfsup.errors import CheckpointError

    weights = tmp_path / 'weights.pth'
    torch.save({'state_dict': {'foo': torch.zeros(1)}}, weights)
    with pytest.raises(CheckpointError) as error:
        train(config, tmp_path / 'work', f"model.pretrained='{weights}'")
    assert ending(tmp_path / 'work') == f'The run ended at iteration 0: {error.value}\n'


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGHUP', 'SIGUSR1'])
def test_a_signal_that_asks_to_stop_ends_in_the_log(name, config, tmp_path):
    from selfsup.errors import Interrupted

    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_DFL)  # `nohup pytest` passes on that SIGHUP is ignored
    try:
        with pytest.raises(Interrupted) as stop:
            run(config, tmp_path / 'work', {8: lambda _: os.kill(os.getpid(), number)})
    finally:
        signal.signal(number, before)
    assert log_of(tmp_path / 'work').endswith(f' - WARNING - {stop.value}\n')
    assert str(stop.value).startswith(f'Stopped by {name}. {tmp_path / "work" / "iter_8.pth"} holds all of it up to')


def test_a_signal_that_ends_the_run_ends_in_the_log(config, tmp_path):
    """The process still dies of it, as whoever sent it expects."""
    child = os.fork()
    if child == 0:
        try:
            run(config, tmp_path / 'work', {8: lambda _: os.kill(os.getpid(), signal.SIGXCPU)})
        finally:
            os._exit(7)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU
    last = (
        f'The run ended at iteration 7: signal SIGXCPU. The last checkpoint is {tmp_path / "work" / "epoch_1.pth"}.\n'
    )
    assert ending(tmp_path / 'work') == last


def test_signals_are_given_back(config, tmp_path):
    """A handler of the caller is not replaced, and none of ours stays."""

    def mine(*_):
        pass

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    seen = {}
    signal.signal(signal.SIGUSR2, mine)
    try:
        run(
            config,
            tmp_path / 'work',
            {1: lambda _: seen.update({n: signal.getsignal(n) for n in (signal.SIGUSR2, signal.SIGTERM)})},
            'total_epochs=1',
        )
    finally:
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    assert seen[signal.SIGUSR2] is mine and seen[signal.SIGTERM] is not before[signal.SIGTERM]
    assert {number: signal.getsignal(number) for number in before} == before
