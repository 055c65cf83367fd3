"""The job that submitit runs, without Slurm: what it hands on, and what it makes of the end of training."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from selfsup.cluster.submit import TrainingJob, submit
from selfsup.errors import ConfigError, TrainingError

pytest.importorskip('submitit')
# Stands in for training: says where it works, then ends as it is told or, with 'wait', at SIGUSR2 as a run does that saved its state.
CHILD = """
import signal, sys, time
def leave(*_):
    sys.exit(75)
signal.signal(signal.SIGUSR2, leave)
print('work dir', sys.argv[-1], file=sys.stderr, flush=True)
if sys.argv[1] != 'wait':
    sys.exit(int(sys.argv[1]))
time.sleep(60)
"""


@pytest.fixture
def job(tmp_path, monkeypatch):
    """`job('3')`: training that ends with status 3."""
    monkeypatch.setenv('SLURM_JOB_ID', '77')
    monkeypatch.delenv('SLURM_PROCID', raising=False)
    (tmp_path / 'child.py').write_text(CHILD)
    return lambda *words: TrainingJob([str(tmp_path / 'child.py'), *words], str(tmp_path / 'run_%j'), patience_s=30)


def test_the_end_of_training_is_that_of_the_job(job, tmp_path, capfd):
    assert job('0')() == 0
    assert f'work dir {tmp_path}/run_77' in capfd.readouterr().err
    with pytest.raises(TrainingError, match=r'exit status 3:\nwork dir .*run_77'):
        job('3')()


def test_a_checkpoint_stops_training_and_gives_the_job_that_goes_on(job):
    """Called as submitit does, by a signal handler that interrupts the waiting."""
    running, given = job('wait'), []

    def handle(*_):
        given.append(running.checkpoint())
        raise SystemExit  # submitit requeues and leaves

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 3.0)
    start = time.monotonic()
    try:
        with pytest.raises(SystemExit):
            running()
    finally:
        signal.signal(signal.SIGALRM, before)
    (delayed,) = given
    assert time.monotonic() - start < 30 and delayed.function is not running
    assert vars(delayed.function) == {**vars(running), '_child': None}


@pytest.mark.parametrize(
    ('code', 'patience_s', 'said'),
    [
        ('sys.exit(0)', 30, ''),  # it was done
        ('sys.exit(4)', 30, 'training ended with exit status 4'),
        ('time.sleep(60)', 30, f'training ended with exit status {128 + signal.SIGUSR2}'),  # before it listens
        (
            'signal.signal(signal.SIGUSR2, signal.SIG_IGN); print(1, flush=True); time.sleep(60)',
            1,
            'did not end in 1 s',
        ),
    ],
)
def test_however_training_ends_its_newest_checkpoint_counts(job, capfd, code, patience_s, said):
    asked = job('0')
    asked.patience_s = patience_s
    asked._child = child = subprocess.Popen(
        [sys.executable, '-c', f'import signal, sys, time; {code}'], stdout=subprocess.PIPE
    )
    if 'exit' in code:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    elif 'print' in code:
        child.stdout.readline()
    assert asked.checkpoint().function.command == asked.command
    assert said in capfd.readouterr().out and child.wait(20) is not None


def test_a_time_that_is_too_short_to_begin_is_no_reason_to_try_again(job, monkeypatch):
    monkeypatch.setenv('SLURM_JOB_END_TIME', str(int(time.time()) + 60))
    asked = job('0')
    asked._child = child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
    with pytest.raises(TrainingError, match='give it a longer --timeout'):
        asked.checkpoint()
    child.wait()


def test_a_cancelled_job_is_not_requeued(job, monkeypatch, tmp_path):
    """SIGTERM of scancel: training has saved its state, and squeue no longer says RUNNING."""
    (tmp_path / 'squeue').write_text('#!/bin/sh\necho COMPLETING\n')
    (tmp_path / 'squeue').chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:/usr/bin:/bin')
    with pytest.raises(TrainingError, match='cancelled, so it is not requeued'):
        job('75')()


def test_what_is_missing_is_said_in_one_line(job, monkeypatch, tmp_path):
    asked = {'folder': str(tmp_path), 'nodes': 1, 'tasks_per_node': 1, 'cpus_per_task': 1, 'minutes': 1, 'signal_s': 1}
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(ConfigError, match='srun is not found, so this is no machine to submit from; --local'):
        submit(job('0'), gres=None, others={}, **asked)
    monkeypatch.setitem(sys.modules, 'submitit', None)
    with pytest.raises(ConfigError, match='Submitting needs submitit: pip install submitit'):
        submit(job('0'), gres=None, others={}, **asked)


def test_what_slurm_is_asked_for(job, monkeypatch, tmp_path):
    """The script that sbatch gets."""
    for name, text in (('srun', ''), ('sbatch', f'cp $1 {tmp_path}/script; echo Submitted batch job 12')):
        (tmp_path / name).write_text(f'#!/bin/sh\n{text}\n')
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:/usr/bin:/bin')
    number, log = submit(
        job('0'),
        folder=str(tmp_path / '%j'),
        nodes=2,
        tasks_per_node=8,
        cpus_per_task=10,
        minutes=4320,
        signal_s=120,
        gres='gpu:8',
        others={'partition': 'big', 'comment': "it's mine"},
    )
    assert (number, log) == ('12', tmp_path / '12' / '12_0_log.out')
    lines = (tmp_path / 'script').read_text().splitlines()
    expected = ['nodes=2', 'ntasks-per-node=8', 'cpus-per-task=10', 'time=4320', 'signal=USR2@120', 'gres=gpu:8']
    for option in (*expected, 'partition=big', 'open-mode=append', 'requeue'):
        assert f'#SBATCH --{option}' in lines
    (command,) = (line for line in lines if line.startswith('srun'))
    assert '--cpus-per-task=10' in command and '--kill-on-bad-exit=1' in command
