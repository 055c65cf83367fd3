"""tools/submit.py: the command that the job runs, and what is refused before anything is sent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selfsup.protocols import training
from selfsup.protocols.jobs import submission
from selfsup.protocols.options import parse, words_of
from tests.resume.runs import write_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    'words',
    [
        ['c.py'],
        ['c.py', '--seed', '3', '--auto_resume', '--deterministic'],
        ['c.py', '--data', 'folder:/my photos', '--cfg-options', 'a=1', 'b=[1, 2]', '--allow-changed', 'data', 'x'],
        ['c.py', '--resume_from=-odd.pth', '--protocol', 'finetune', '--pretrained', 'w.pth', '--work_dir', 'w'],
    ],
)
def test_words_give_the_options_that_they_were_made_of(words):
    asked = parse(training.Options, '', words)
    assert parse(training.Options, '', words_of(asked, training.Options)) == asked


def test_the_options_of_the_job_are_not_those_of_training():
    asked = parse(submission.Options, '', ['c.py', '--nodes', '2', '--sbatch', 'mem=1GB', '--seed', '3'])
    assert words_of(asked, training.Options) == ['c.py', '--seed=3']


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--work_dir', 'x'], 'give --job_dir instead of --work_dir'),
        (['--launcher', 'slurm'], 'leave out --launcher'),
        (['--gpus', '4'], 'give --ngpus 4'),
        (['--local', '--nodes', '2'], '--local is one machine'),
        (['--cpu', '--gres', 'gpu:1'], 'leave out --gres'),
        (['--sbatch', 'exclusive'], '--sbatch exclusive: give KEY=VALUE'),
        (['--nodes', '0'], "'0' must be 1 or more"),
    ],
)
def test_options_that_cannot_be_meant(words, message, capsys):
    with pytest.raises(SystemExit) as left:
        parse(submission.Options, '', ['c.py', *words])
    assert left.value.code == 2 and message in capsys.readouterr().err


def test_what_a_machine_must_have(monkeypatch):
    monkeypatch.delenv('GRES', raising=False)

    def asked(*words):
        return submission._gres(parse(submission.Options, '', ['c.py', '--ngpus', '4', *words]))

    assert (asked(), asked('--gres', 'gpu:a100:4'), asked('--cpu')) == ('gpu:4', 'gpu:a100:4', None)
    monkeypatch.setenv('GRES', '')
    assert asked() is None


@pytest.mark.dist
def test_local_training_shows_what_it_does_and_stops_with_its_state_saved(tmp_path):
    config = write_config(tmp_path)
    options = ['total_epochs=2000', 'log_config.interval=1', 'checkpoint_config.interval=5000']
    command = [sys.executable, str(ROOT / 'tools' / 'submit.py'), str(config), '--local', '--ngpus', '1', '--job_dir']
    training = subprocess.Popen(
        [*command, str(tmp_path / 'run'), '--cfg-options', *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.default_int_handler
        ),  # ignored in the background of a shell
    )
    end, shown = time.monotonic() + 240, ''
    while '[5/6]' not in shown and time.monotonic() < end:
        shown += training.stdout.readline()
    training.send_signal(signal.SIGINT)
    rest, _ = training.communicate(timeout=240)
    assert training.returncode == 130 and 'Traceback' not in rest, rest
    assert (tmp_path / 'run' / 'latest.pth').exists() and 'To go on' in rest
    refused = subprocess.run(
        [*command, str(tmp_path), '--cfg-options', 'optimizr.lr=1'], capture_output=True, text=True, cwd=tmp_path
    )
    assert refused.returncode == 1 and refused.stderr.startswith('error: optimizr (--cfg-options) is not a config key')
