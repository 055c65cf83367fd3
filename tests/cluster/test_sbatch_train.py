"""tools/sbatch_train.sh with stand-ins for Slurm's programs: what is asked for, and what the job makes of each end of training."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / 'tools' / 'sbatch_train.sh'


@pytest.fixture
def start(tmp_path):
    """`start(words, srun='exit 75')`: run the script; each stand-in writes its arguments into a file of its name."""

    def run(*words, squeue='', srun='', **env):
        stand_ins = {'sbatch': 'echo 12', 'scontrol': '', 'sleep': '', 'squeue': f'echo "{squeue}"', 'srun': srun}
        for name, text in stand_ins.items():
            (tmp_path / name).write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" >> {tmp_path}/{name}.args\n{text}\n')
            (tmp_path / name).chmod(0o755)
        clean = {k: v for k, v in os.environ.items() if k not in ('GRES', 'GPUS_PER_NODE', 'CPUS_PER_TASK', 'PORT')}
        return subprocess.run(
            ['bash', str(SCRIPT), *words],
            capture_output=True,
            text=True,
            timeout=60,
            env={**clean, 'PATH': f'{tmp_path}:/usr/bin:/bin', 'SLURM_JOB_ID': '12', **env},
        )

    return run


def words(tmp_path, name):
    path = tmp_path / f'{name}.args'
    return path.read_text().splitlines() if path.exists() else []


def test_what_sbatch_is_asked_for(start, tmp_path):
    args = ('part', 'my config.py', '16', '--cfg-options', "a='b c'")
    done = start(*args, SBATCH_ARGS='--time=24:00:00 --signal=USR1@300', GPUS_PER_NODE='4', CPUS_PER_TASK='3')
    assert (done.returncode, done.stdout) == (0, '12\n'), done.stderr
    *asked, command = words(tmp_path, 'sbatch')
    assert asked[:2] == ['--parsable', '-p'] and asked[2] == 'part'
    for option in ('gres=gpu:4', 'ntasks=16', 'ntasks-per-node=4', 'cpus-per-task=3', 'requeue', 'open-mode=append'):
        assert f'--{option}' in asked
    assert asked.index('--signal=USR1@300') > asked.index('--signal=USR1@120')  # the last one holds
    wrapped = shlex.split(command.removeprefix('--wrap=exec '))
    assert wrapped == ['bash', str(SCRIPT), '--in-job', *args, '--auto_resume']


def test_sh_reads_the_words_as_they_were(start, tmp_path):
    """It is sh that runs `--wrap`, and the locale of a cluster is often C."""
    hard = ("it's", 'größe', '$HOME `id` "x"', 'a\\b')
    assert start('part', 'c.py', '2', *hard, LC_ALL='C').returncode == 0
    command = words(tmp_path, 'sbatch')[-1].removeprefix('--wrap=exec bash')
    found = subprocess.run(['sh', '-c', f'printf "%s\\n" {command}'], capture_output=True, text=True, timeout=10).stdout
    assert found.splitlines()[-5:-1] == list(hard)


@pytest.mark.parametrize('option', ['--resume_from=x.pth', '--start_over', '--auto_resume'])
def test_a_start_that_says_how_is_left_alone(start, tmp_path, option):
    assert start('part', 'config.py', '2', option).returncode == 0
    assert shlex.split(words(tmp_path, 'sbatch')[-1])[-1] == option


@pytest.mark.parametrize(
    ('status', 'queue', 'requeued'),
    [
        (75, 'RUNNING 1:30', True),
        (75, 'RUNNING UNLIMITED', True),
        (75, 'COMPLETING 20:00', False),  # cancelled
        (75, '', False),  # no answer
        (138, 'RUNNING 20:00', True),  # SIGUSR1 before training listened: preempted
        (138, 'RUNNING 1:30', False),  # the time is too short to begin
        (1, 'RUNNING 20:00', False),
        (0, 'RUNNING 20:00', False),
    ],
)
def test_what_the_job_makes_of_the_end_of_training(start, tmp_path, status, queue, requeued):
    done = start('--in-job', 'part', 'c.py', '2', '--seed', '3', squeue=queue, srun=f'exit {status}')
    assert done.returncode == status
    assert words(tmp_path, 'scontrol') == (['requeue', '12'] if requeued else [])
    assert words(tmp_path, 'srun')[-5:] == ['c.py', '--launcher', 'slurm', '--seed', '3']
    assert ('give it a longer --time' in done.stderr) == (status == 138 and not requeued)


def test_a_job_is_not_requeued_for_ever(start, tmp_path):
    job = {'squeue': 'RUNNING 20:00', 'srun': 'exit 75', 'MAX_REQUEUES': '3'}
    assert start('--in-job', 'part', 'c.py', '2', SLURM_RESTART_COUNT='2', **job).returncode == 75
    assert words(tmp_path, 'scontrol') == ['requeue', '12']
    done = start('--in-job', 'part', 'c.py', '2', SLURM_RESTART_COUNT='3', **job)
    assert done.returncode == 75 and words(tmp_path, 'scontrol') == ['requeue', '12']
    assert 'job 12 was requeued 3 times: submit it again, or set MAX_REQUEUES to more' in done.stderr


def test_sigterm_waits_for_training(start, tmp_path):
    """A preemption sends it to the batch shell as well."""
    done = start('--in-job', 'part', 'c.py', '2', squeue='RUNNING 9:00', srun='kill -TERM $PPID; /bin/sleep 1; exit 75')
    assert done.returncode == 75 and words(tmp_path, 'scontrol') == ['requeue', '12']


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (
            ('part', 'config.py'),
            'usage: bash tools/sbatch_train.sh PARTITION CONFIG NGPUS [arguments of tools/train.py]',
        ),
        (('part', 'config.py', 'two'), "NGPUS='two' is not a positive number"),
    ],
)
def test_wrong_arguments(start, tmp_path, args, message):
    done = start(*args)
    assert done.returncode == 2 and message in done.stderr and not words(tmp_path, 'sbatch')
