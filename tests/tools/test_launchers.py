"""The shell launchers, with real processes on the CPU; srun is stood in for by a script that starts the tasks."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.resume.runs import differences, train, write_config

ROOT = Path(__file__).resolve().parents[2]
FAKE_SRUN = """#!/usr/bin/env bash
# records its arguments, then starts the tasks as srun would
echo "$@" > "$SRUN_RECORD"
while [[ $1 == -* ]]; do
    case $1 in -p | -w) shift ;; --ntasks=*) tasks=${1#*=} ;; esac
    shift
done
export SLURM_NTASKS=$tasks SLURM_JOB_ID=$$ SLURM_STEP_ID=0 SLURM_NNODES=1 SLURM_JOB_NODELIST=n1
pids=()
for ((i = 0; i < tasks; i++)); do SLURM_PROCID=$i SLURM_LOCALID=$i "$@" & pids+=($!); done
for pid in "${pids[@]}"; do wait "$pid" || exit 1; done
"""


def launch(script, *args, **env):
    return subprocess.run(
        ['bash', str(ROOT / 'tools' / script), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1', **env},
    )


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp('config'))


@pytest.mark.slow
@pytest.mark.dist
def test_dist_train_with_one_and_two_processes(config, tmp_path):
    options = ('--cfg-options', 'total_epochs=1')
    one = launch('dist_train.sh', config, 1, '--work_dir', tmp_path / 'one', *options)
    assert one.returncode == 0, one.stderr
    direct = train(config, tmp_path / 'direct', 'total_epochs=1')
    assert differences(tmp_path / 'one' / 'epoch_1.pth', direct / 'epoch_1.pth') == []
    two = launch('dist_train.sh', config, 2, '--work_dir', tmp_path / 'two', *options, 'data.imgs_per_gpu=2')
    assert two.returncode == 0, two.stderr
    assert (tmp_path / 'two' / 'epoch_1.pth').exists()


@pytest.mark.slow
@pytest.mark.dist
def test_srun_train(config, tmp_path):
    fake = tmp_path / 'bin' / 'srun'
    fake.parent.mkdir()
    fake.write_text(FAKE_SRUN)
    fake.chmod(0o755)
    done = launch(
        'srun_train.sh',
        'part',
        config,
        2,
        '--work_dir',
        tmp_path / 'work',
        '--cfg-options',
        'total_epochs=1',
        PATH=f'{fake.parent}:{os.environ["PATH"]}',
        SRUN_RECORD=str(tmp_path / 'args'),
        GPUS_PER_NODE='4',
        CPUS_PER_TASK='3',
        SRUN_ARGS='-w n01 --time=10',
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'work' / 'epoch_1.pth').exists()
    args = (tmp_path / 'args').read_text()
    assert args.startswith(
        '-p part --job-name=selfsup --gres=gpu:2 --ntasks=2 --ntasks-per-node=2 --cpus-per-task=3 --kill-on-bad-exit=1 '
        '-w n01 --time=10'
    )
    assert '--launcher slurm' in args


@pytest.mark.parametrize(
    ('script', 'args', 'message'),
    [
        ('dist_train.sh', ('config.py',), 'usage: bash tools/dist_train.sh CONFIG NGPUS'),
        ('dist_train.sh', ('config.py', 'two'), "NGPUS='two' is not a positive number"),
        ('dist_train.sh', ('config.py', '0'), "NGPUS='0' is not a positive number"),
        ('srun_train.sh', ('part', 'config.py'), 'usage: bash tools/srun_train.sh PARTITION CONFIG NGPUS'),
        ('srun_train.sh', ('part', 'config.py', '-1'), "NGPUS='-1' is not a positive number"),
    ],
)
def test_wrong_arguments(script, args, message):
    done = launch(script, *args)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_failing_process_is_heard_and_torchrun_is_brief(config):
    done = launch('dist_train.sh', config, 2, '--cfg-options', 'optimizr.lr=1')
    assert done.returncode == 1
    own, last = done.stderr.splitlines()[0], done.stderr.splitlines()[-1]
    assert 'error: optimizr (--cfg-options) is not a config key' in own and 'Traceback' not in done.stderr
    assert last.startswith('error: rank ') and 'ended with exit status 1' in last


def test_a_port_that_is_taken_or_no_number(config):
    with socket.socket() as taken:
        taken.bind(('0.0.0.0', 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = launch('dist_train.sh', config, 1, PORT=port)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert f'error: 127.0.0.1:{port} is in use by another process. Set PORT to a free port.' in done.stderr
    done = launch('dist_train.sh', config, 1, PORT='x')
    assert done.returncode == 2 and "PORT='x' is not a number" in done.stderr


def test_several_machines_need_their_names():
    done = launch('dist_train.sh', 'config.py', 2, NNODES='2')
    assert done.returncode != 0 and 'NODE_RANK' in done.stderr
