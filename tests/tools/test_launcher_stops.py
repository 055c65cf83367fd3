"""Signals to the launcher of a real training: its processes save together, and it ends with their status."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.resume.runs import write_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def start(tmp_path):
    """`start(*words)`: tools/dist_train.sh with two processes, and its output; it is killed after the test."""
    config, started = write_config(tmp_path / 'config'), []

    def run(*words):
        said = tmp_path / f'said{len(started)}'
        with said.open('w') as out:
            started.append(
                subprocess.Popen(
                    [
                        'bash',
                        str(ROOT / 'tools/dist_train.sh'),
                        str(config),
                        '2',
                        '--work_dir',
                        str(tmp_path / 'run'),
                        *words,
                    ],
                    stdout=out,
                    stderr=out,
                    env={**os.environ, 'PYTHON': sys.executable, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
                    preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
                )
            )
        return started[-1], said

    yield run
    for process in started:
        process.kill()  # its processes end with it


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.parametrize(
    ('numbers', 'name', 'status'),
    [((signal.SIGTERM, signal.SIGUSR2, signal.SIGTERM), 'SIGTERM', 75), ((signal.SIGINT,), 'Ctrl-C', 130)],
)
def test_processes_stop_together_and_are_not_started_again(start, tmp_path, monkeypatch, numbers, name, status):
    monkeypatch.setenv('MAX_RESTARTS', '2')
    launcher, said = start(
        '--cfg-options', 'total_epochs=5000', 'checkpoint_config.interval=5000', 'data.workers_per_gpu=1'
    )
    end = time.monotonic() + 300
    while 'Epoch(train)' not in said.read_text():
        assert time.monotonic() < end and launcher.poll() is None, said.read_text()
        time.sleep(0.2)
    for number in numbers:
        launcher.send_signal(number)
        time.sleep(0.2)
    assert launcher.wait(120) == status
    text = said.read_text()
    (saved,) = (tmp_path / 'run').glob('iter_*.pth')
    assert text.count(f'Stopped by {name}. {saved} holds all of it up to iteration {saved.stem[5:]}') == 1
    assert (
        f'To go on: MAX_RESTARTS=2 bash {ROOT}/tools/dist_train.sh' in text
        and f'(exit status {status}' in text.splitlines()[-1]
    )
    assert 'Traceback' not in text
