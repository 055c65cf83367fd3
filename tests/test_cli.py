"""The wrapper around every tool's main, and that importing it costs nothing."""

from __future__ import annotations

import argparse
import errno
import re
import shlex
import subprocess
import sys

import pytest

from selfsup import cli
from selfsup.errors import ConfigError, UsageError


def test_user_errors_are_one_line_and_status_1(capsys, monkeypatch):
    monkeypatch.delenv('WORLD_SIZE', raising=False)

    def main():
        print('before')
        raise ConfigError('lr is a word; write a number.')

    with pytest.raises(SystemExit) as leave:
        cli.run(main)
    assert leave.value.code == 1
    out, err = capsys.readouterr()
    assert (out, err) == ('before\n', 'error: lr is a word; write a number.\n')


def test_what_was_typed_wrongly_is_status_2(capsys, monkeypatch):
    monkeypatch.delenv('WORLD_SIZE', raising=False)

    def main():
        raise UsageError('no.py is not a file')

    with pytest.raises(SystemExit) as leave:
        cli.run(main)
    assert leave.value.code == 2 and capsys.readouterr().err == 'error: no.py is not a file\n'


def test_rank_is_named_where_there_are_several(capsys, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    monkeypatch.setenv('RANK', '1')

    def main():
        raise ConfigError('x')

    with pytest.raises(SystemExit):
        cli.run(main)
    assert capsys.readouterr().err == '[rank 1] error: x\n'


def test_a_lost_peer_leaves_the_reason_to_that_peer(capsys, monkeypatch):
    def main():
        raise RuntimeError('[pair.cc:561] Connection closed by peer [127.0.0.1]:10942. GLHF!')

    monkeypatch.setenv('WORLD_SIZE', '2')
    monkeypatch.setenv('RANK', '1')
    with pytest.raises(SystemExit) as leave:
        cli.run(main)
    assert leave.value.code == 1
    assert capsys.readouterr().err == '[rank 1] another process ended, so this one cannot go on\n'
    monkeypatch.setenv('WORLD_SIZE', '1')
    with pytest.raises(RuntimeError, match='Connection closed'):
        cli.run(main)


def test_interrupt_and_faults(capsys):
    def interrupted():
        raise KeyboardInterrupt

    def faulty():
        raise ZeroDivisionError('ours')

    with pytest.raises(SystemExit) as leave:
        cli.run(interrupted)
    assert leave.value.code == 130 and 'interrupted' in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError, match='ours'):
        cli.run(faulty)
    cli.run(lambda: None)  # a main that returns lets the process go on


def test_a_warning_of_ours_is_one_line():
    code = """
import warnings
from selfsup import cli, errors
def main():
    warnings.warn('neg_num=60 is large.', errors.SelfSupWarning)
    warnings.warn('of another library')
cli.run(main)
warnings.warn('after it', errors.SelfSupWarning)
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    first, second, third = done.stderr.splitlines()
    assert first == 'SelfSupWarning: neg_num=60 is large.'
    assert second == '<string>:6: UserWarning: of another library'
    assert third == '<string>:8: SelfSupWarning: after it'


def test_options():
    parser = argparse.ArgumentParser()
    cli.add_cfg_options(parser)
    cli.add_launcher(parser)
    assert parser.parse_args([]).cfg_options == []
    args = parser.parse_args(
        ['--cfg-options', 'a.b=1', 'c=[1, 2]', '--cfg-options', 'd=x', '--launcher', 'slurm', '--port', '29501']
    )
    assert args.cfg_options == ['a.b=1', 'c=[1, 2]', 'd=x'] and args.launcher == 'slurm' and args.port == 29501
    assert parser.parse_args([]).cfg_options == []  # the default list is not shared


def test_import_is_light():
    code = (
        "import sys, selfsup.cli; print([m for m in ('torch', 'mmengine', 'numpy', 'torchvision') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout == '[]\n'


@pytest.mark.parametrize(
    ('text', 'seed'), [('0', 0), ('4294967295', 2**32 - 1), ('-1', None), ('4294967296', None), ('one', None)]
)
def test_seeds_are_what_numpy_takes(capsys, text, seed):
    parser = argparse.ArgumentParser()
    parser.add_argument('--seed', type=cli.seed)
    if seed is not None:
        assert parser.parse_args(['--seed', text]).seed == seed
        return
    with pytest.raises(SystemExit):
        parser.parse_args([f'--seed={text}'])
    assert f"'{text}' is no whole number from 0 to 2**32 - 1" in capsys.readouterr().err


def _no_space():
    raise OSError(errno.ENOSPC, 'No space left on device')


def _no_folder(path='/nowhere/at/all'):
    open(path)


def _too_large():
    import torch

    torch.empty(2**55, dtype=torch.uint8)


def _cuda():
    import torch

    raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.\nSee the documentation')


@pytest.mark.parametrize(
    'main, expected',
    [
        (_no_space, r'^error: a file: No space left on device\. Nothing more was written\.\n$'),
        (_no_folder, r'^error: /nowhere/at/all: No such file or directory\. Nothing more was written\.\n$'),
        (lambda: bytearray(2**62), r'^error: There is not enough memory for this: lower data\.imgs_per_gpu .*\n$'),
        (_too_large, r"^error: .*(can't allocate|not enough) memory.*There is not enough memory for this.*\n$"),
        (_cuda, r'^error: CUDA out of memory\. Tried to allocate 2\.00 GiB\. There is not enough memory for this.*\n$'),
    ],
)
def test_what_the_machine_refuses_is_one_line(main, expected, capsys, monkeypatch):
    monkeypatch.delenv('WORLD_SIZE', raising=False)
    with pytest.raises(SystemExit) as leave:
        cli.run(main)
    assert leave.value.code == 1
    assert re.match(expected, capsys.readouterr().err)


def test_an_error_without_a_file_stays_a_fault_of_ours():
    def main():
        raise ConnectionResetError(errno.ECONNRESET, 'Connection reset by peer')

    with pytest.raises(ConnectionResetError):
        cli.run(main)


def test_a_closed_pipe_is_no_error():
    code = "from selfsup import cli\ndef main():\n    while True: print('x' * 1000)\ncli.run(main)"
    done = subprocess.run(
        f'{shlex.quote(sys.executable)} -c {shlex.quote(code)} | head -1; echo ${{PIPESTATUS[0]}}',
        shell=True,
        executable='/bin/bash',
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[1:] == ['141'] and done.stderr == ''
