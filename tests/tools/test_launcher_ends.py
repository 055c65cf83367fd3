"""Whatever ends the launcher ends its processes; a process without a launcher does not train on for good."""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FORKS = multiprocessing.get_context('forkserver')
FORKS.set_forkserver_preload(
    ['torch.distributed.run', 'torch.distributed.elastic.multiprocessing.errors']
)  # once for all launchers
# what a rank is for its launcher; a pipe that nobody writes into is a dead mount for one of its workers
RANK = """
import multiprocessing, os, signal, subprocess, sys, time
from pathlib import Path
from selfsup.cluster.leaving import leave_with_launcher

folder = Path(sys.argv[1])
if 'handle' in sys.argv:
    def note(number, frame):
        (folder / f"heard{os.environ['RANK']}").touch()
    signal.signal(signal.SIGUSR1, note)
if 'linger' in sys.argv:
    signal.signal(signal.SIGTERM, lambda number, frame: None)
signal.signal(signal.SIGINT, signal.SIG_DFL)
leave_with_launcher()
stubborn = 'signal.signal(signal.SIGTERM, signal.SIG_IGN);' if 'linger' in sys.argv else ''
code = f'import signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); {stubborn} print(flush=True); open(sys.argv[1]).read()'
workers = [subprocess.Popen([sys.executable, '-c', code, str(folder / 'pipe')], stdout=subprocess.PIPE) for _ in range(2)]
for worker in workers:
    worker.stdout.read(1)
ready = folder / f"ready{os.environ['RANK']}"
ready.with_suffix('.part').write_text(' '.join(map(str, [os.getpid(), *(worker.pid for worker in workers)])))
ready.with_suffix('.part').rename(ready)
while True:
    time.sleep(0.1)
"""


def wait_for(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'this did not happen in time'
        time.sleep(0.1)


def is_running(pid):
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except OSError:
        return False
    return state != 'Z'


def run_launcher(folder, words):
    """tools/torchrun.py, in a process that was forked with torch in it."""
    os.environ.update(PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    out = os.open(folder / 'err', os.O_CREAT | os.O_WRONLY)
    os.dup2(out, 2)
    sys.stderr = open(2, 'w', buffering=1, closefd=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup would have it ignored
    sys.argv = ['torchrun.py', '--standalone', '--nproc_per_node=2', str(folder / 'rank.py'), str(folder), *words]
    runpy.run_path(str(ROOT / 'tools' / 'torchrun.py'), run_name='__main__')


class Launched:
    """A launcher with two ranks, each with two workers.

    Attributes:
        ranks: their process ids.
        below: those of the ranks and their workers.
    """

    def __init__(self, folder, words):
        (folder / 'rank.py').write_text(RANK)
        os.mkfifo(folder / 'pipe')
        self.folder, self.below = folder, []
        self.process = FORKS.Process(target=run_launcher, args=(folder, words))
        self.process.start()
        ready = [folder / f'ready{rank}' for rank in range(2)]
        wait_for(lambda: all(path.exists() for path in ready))
        numbers = [[int(pid) for pid in path.read_text().split()] for path in ready]
        self.ranks, self.below = [each[0] for each in numbers], [pid for each in numbers for pid in each]

    def signal(self, number):
        os.kill(self.process.pid, number)

    def status(self, seconds=60):
        self.process.join(seconds)
        return self.process.exitcode

    def text(self):
        return (self.folder / 'err').read_text()


@pytest.fixture
def start(tmp_path):
    """`start(*words)`: see `Launched`; all is ended after the test."""
    started = []

    def run(*words):
        started.append(Launched(tmp_path, words))
        return started[-1]

    yield run
    for one in started:
        for pid in [one.process.pid, *one.below]:
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)


def assert_nothing_is_left(launched):
    wait_for(lambda: not any(map(is_running, launched.below)), 10)


@pytest.mark.dist
@pytest.mark.parametrize('words', [(), ('linger',)])
def test_ranks_of_a_killed_launcher_end(start, words):
    """Also those that have a handler for SIGTERM, and go on."""
    launched = start(*words)
    launched.signal(signal.SIGKILL)
    launched.status()
    assert_nothing_is_left(launched)
    assert launched.text().count('the launcher is gone, so this process ends') == 2


@pytest.mark.dist
@pytest.mark.parametrize('name', ['TERM', 'INT', 'HUP', 'QUIT', 'USR1', 'USR2'])
def test_a_signal_to_the_launcher_stops_all(start, name):
    number = signal.Signals[f'SIG{name}']
    launched = start()
    launched.signal(number)
    assert launched.status() == 128 + number
    assert_nothing_is_left(launched)
    assert f'stopped by {number.name}' in launched.text() and 'Traceback' not in launched.text()


@pytest.mark.dist
def test_a_signal_that_all_ranks_handle_goes_on_to_them(start, tmp_path):
    launched = start('handle')
    launched.signal(signal.SIGUSR1)
    wait_for(lambda: all((tmp_path / f'heard{rank}').exists() for rank in range(2)), 20)
    time.sleep(2)
    assert launched.process.is_alive() and all(map(is_running, launched.ranks))
    launched.signal(signal.SIGUSR2)  # which they do not handle
    assert launched.status() == 128 + signal.SIGUSR2
    assert_nothing_is_left(launched)


def launch(script, *args, **env):
    return subprocess.run(
        ['bash', str(ROOT / 'tools' / script), *args],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, 'PYTHON': 'echo', **env},
    )  # what would be started is printed


@pytest.mark.parametrize(
    ('env', 'message'),
    [
        ({'PORT': '0'}, "PORT='0' is not a number from 1 to 65535"),
        ({'PORT': '70000'}, "PORT='70000' is not a number from 1 to 65535"),
        ({'PORT': '-1'}, "PORT='-1' is not a number"),
        ({'PORT': '99999999999999999999'}, "PORT='99999999999999999999' is not a number"),
        ({'PORT': '29500x'}, "PORT='29500x' is not a number"),
        ({'NNODES': 'two'}, "NNODES='two' is not a number"),
        ({'NNODES': '0'}, "NNODES='0' is not a number from 1"),
        ({'NNODES': '1:2'}, "NNODES='1:2' is not a number"),
        ({'NNODES': '2', 'NODE_RANK': '2', 'MASTER_ADDR': 'a'}, "NODE_RANK='2' is not a number from 0 to 1"),
        ({'NNODES': '2', 'NODE_RANK': 'first', 'MASTER_ADDR': 'a'}, "NODE_RANK='first' is not a number"),
        ({'NNODES': '2', 'NODE_RANK': '1'}, 'MASTER_ADDR'),
    ],
)
def test_numbers_that_cannot_be_meant(env, message):
    done = launch('dist_train.sh', 'config.py', '2', **env)
    assert done.returncode != 0 and message in done.stderr and len(done.stderr.splitlines()) == 1 and not done.stdout


@pytest.mark.parametrize(
    ('env', 'message'),
    [
        ({'PORT': '0'}, "PORT='0' is not a number from 1 to 65535"),
        ({'GPUS_PER_NODE': 'all'}, "GPUS_PER_NODE='all' is not a number"),
        ({'GPUS_PER_NODE': '0'}, "GPUS_PER_NODE='0' is not a number from 1"),
        ({'CPUS_PER_TASK': 'x'}, "CPUS_PER_TASK='x' is not a number"),
    ],
)
def test_numbers_that_cannot_be_meant_under_slurm(env, message):
    done = launch('srun_train.sh', 'part', 'config.py', '2', **env)
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ('env', 'words'),
    [
        ({'PORT': '29501'}, '--nnodes=1 --nproc_per_node=2 --master_addr=127.0.0.1 --master_port=29501'),
        (
            {'NNODES': '2', 'NODE_RANK': '1', 'MASTER_ADDR': 'a'},
            '--nnodes=2 --nproc_per_node=2 --node_rank=1 --master_addr=a --master_port=',
        ),
        ({}, '--nnodes=1 --nproc_per_node=2 --standalone'),
    ],
)
def test_numbers_that_can_be_meant(env, words):
    clean = dict.fromkeys(('PORT', 'NNODES', 'NODE_RANK', 'MASTER_ADDR'), '')
    done = launch('dist_train.sh', 'config.py', '2', **{**clean, **env})
    assert done.returncode == 0 and words in done.stdout
