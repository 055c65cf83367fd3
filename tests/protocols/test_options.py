"""Options of protocols: the same from Python and from a command line, which refuses what does not go together."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from selfsup.errors import UsageError
from selfsup.protocols import PROTOCOLS, detector, doctor, knn, training, transfer
from selfsup.protocols.options import MISSING, Declared, option, parse

ROOT = Path(__file__).resolve().parents[2]


class Some(Declared):
    """One field of each kind."""

    path: str = option(MISSING, 'path')
    number: int = option(3, type=int)
    must: str = option(MISSING)
    flag: bool = option(False, '--a_flag')
    in_python: int = 7


def test_fields_become_arguments():
    assert parse(Some, '', ['x', '--must', 'm']) == Some(path='x', must='m')
    assert parse(Some, '', ['x', '--must', 'm', '--a_flag', '--number', '4']) == Some(
        path='x', must='m', flag=True, number=4
    )
    for words in (['--must', 'm'], ['x'], ['x', '--must', 'm', '--in_python', '1']):
        with pytest.raises(SystemExit):
            parse(Some, '', words)


def test_options_from_python():
    some = Some(path='x', must='m', in_python=8)
    assert (some.path, some.number, some.flag, some.in_python) == ('x', 3, False, 8)
    assert some.but(number=4) == Some(path='x', must='m', in_python=8, number=4) != some
    with pytest.raises(TypeError, match="Some lacks 'must'"):
        Some(path='x')
    with pytest.raises(TypeError, match='nmber: no options'):
        Some(path='x', must='m', nmber=4)


@pytest.mark.parametrize(
    'module', ['training', 'knn', 'classifier', 'transfer', 'extraction', 'doctor', 'linear_cached', 'make_shards']
)
def test_help_imports_nothing_slow(module):
    """Beside argparse, --help loads what the command line needs: each of these takes as long as all of that."""
    code = f'import sys, selfsup.protocols.{module}; print(*sorted(sys.modules))'
    loaded = subprocess.run([sys.executable, '-S', '-c', code], capture_output=True, text=True, cwd=ROOT, check=True)
    slow = {
        'torch',
        'numpy',
        'mmengine',
        'dataclasses',
        'typing',
        'inspect',
        'difflib',
        'annotated_types',
        'selfsup.config',
    }
    assert not slow & set(loaded.stdout.split())


@pytest.mark.parametrize('words', [['c.py'], ['c.py', '--pretrained', 'w', '--checkpoint', 'w']])
def test_weights_are_given_once(words, capsys):
    with pytest.raises(SystemExit):
        parse(knn.Options, '', words)
    assert '--pretrained' in capsys.readouterr().err


def test_starts_exclude_each_other():
    assert parse(training.Options, '', ['c.py']).cfg_options == []
    with pytest.raises(SystemExit):
        parse(training.Options, '', ['c.py', '--auto_resume', '--start_over'])


def test_options_that_do_not_go_together(capsys):
    with pytest.raises(SystemExit):
        parse(doctor.Options, '', ['--all'])
    assert '--all needs a config' in capsys.readouterr().err
    with pytest.raises(UsageError, match='--show must be 0 or more'):
        detector.Options(config='c.py', checkpoint='w.pth', show=-1)


@pytest.mark.parametrize('name', PROTOCOLS)
def test_every_protocol_is_a_module_with_options_and_run(name):
    module = import_module(f'selfsup.protocols.{PROTOCOLS[name][0]}')
    assert module.__doc__ and callable(module.run) and module.Options.fields()


@pytest.mark.parametrize('name', PROTOCOLS)
def test_evaluate_lists_what_a_protocol_takes(name):
    done = subprocess.run(
        [sys.executable, 'tools/evaluate.py', name, '--help'], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.startswith(f'usage: evaluate.py {name} ') and '--cfg-options' in done.stdout


def test_what_a_run_may_not_be_asked(tmp_path):
    missing = transfer.Options(config=str(tmp_path / 'no.py'), weights='random')
    with pytest.raises(UsageError, match=r"the config '.*no\.py' is not a file"):
        transfer.run(missing, 'linear')


def test_a_protocol_that_is_none_is_answered_with_the_nearest():
    done = subprocess.run(
        [sys.executable, 'tools/evaluate.py', 'linaer', 'a.py'], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 2 and "'linaer' is no protocol. Did you mean 'linear'? Known: detection" in done.stderr
