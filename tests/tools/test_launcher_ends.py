"""Whatever ends the launcher ends its processes; a process without a launcher does not train on for good."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RANK = """
import os, signal, sys, time
from pathlib import Path
from selfsup.engine.processes.launch import init_distributed

folder = Path(sys.argv[1])
if 'handle' in sys.argv:
    def note(number, frame):
        (folder / f"heard{os.environ['RANK']}").touch()
    signal.signal(signal.SIGUSR1, note)
init_distributed('pytorch')
(folder / f"ready{os.environ['RANK']}").write_text(str(os.getpid()))
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


@pytest.fixture
def start(tmp_path):
    """`start(*words)`: a launcher with two ranks, and their process ids; all are ended after the test."""
    started = []

    def run(*words):
        (tmp_path / 'rank.py').write_text(RANK)
        with (tmp_path / 'err').open('w') as err:
            launcher = subprocess.Popen(
                [
                    sys.executable,
                    str(ROOT / 'tools' / 'torchrun.py'),
                    '--standalone',
                    '--nproc_per_node=2',
                    str(tmp_path / 'rank.py'),
                    str(tmp_path),
                    *words,
                ],
                stderr=err,
                env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
            )
        started.append(launcher.pid)
        ready = [tmp_path / f'ready{rank}' for rank in range(2)]
        wait_for(lambda: all(path.exists() and path.read_text() for path in ready))
        ranks = [int(path.read_text()) for path in ready]
        started.extend(ranks)
        return launcher, ranks

    yield run
    for pid in started:
        if is_running(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.dist
def test_ranks_of_a_killed_launcher_end(start, tmp_path):
    launcher, ranks = start()
    launcher.kill()
    launcher.wait()
    wait_for(lambda: not any(map(is_running, ranks)), 20)
    assert (tmp_path / 'err').read_text().count('the launcher is gone, so this process ends') == 2


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.parametrize('number', [signal.SIGUSR2, signal.SIGTERM])
def test_a_signal_to_the_launcher_stops_all(start, tmp_path, number):
    launcher, ranks = start()
    launcher.send_signal(number)
    assert launcher.wait(60) == 128 + number
    wait_for(lambda: not any(map(is_running, ranks)), 20)
    text = (tmp_path / 'err').read_text()
    assert f'stopped by {number.name}' in text and 'Traceback' not in text


@pytest.mark.slow
@pytest.mark.dist
def test_a_signal_that_all_ranks_handle_goes_on_to_them(start, tmp_path):
    launcher, ranks = start('handle')
    launcher.send_signal(signal.SIGUSR1)
    wait_for(lambda: all((tmp_path / f'heard{rank}').exists() for rank in range(2)), 20)
    time.sleep(2)
    assert launcher.poll() is None and all(map(is_running, ranks))
    launcher.send_signal(signal.SIGUSR2)  # which they do not handle
    assert launcher.wait(60) == 128 + signal.SIGUSR2
    wait_for(lambda: not any(map(is_running, ranks)), 20)


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
