"""Damaged settings end in one clear error or in a run; never in a traceback, never in a run that hangs."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
import torch

from selfsup.config import load
from selfsup.errors import ConfigError
from tests.resume import test_matrix as matrix
from tests.resume.runs import write_images

from .mutations import mutate
from .runs import as_text, outcome

GROUPS, PER_GROUP = 20, 20  # 400 configs
NETWORK = {'type': 'ResNet', 'depth': 18, 'stage_blocks': (1, 1, 1, 1), 'base_channels': 4, 'out_indices': (4,)}
LONGEST = 2500  # characters of a message: the names of all arguments or registered types may stand in it


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp('hostile')
    images = write_images(folder / 'images', matrix.IMAGES)
    (images / 'labels.txt').write_text(''.join(f'{i:03d}.jpg {i % 5}\n' for i in range(matrix.IMAGES)))
    return folder


@pytest.fixture(scope='module')
def good(folder):
    """Settings of every method that run as they are."""
    found = {}
    for name in matrix.ALGORITHMS:
        values: dict = {}
        exec(matrix.write(folder, folder / 'images', name, NETWORK).read_text(), values)
        found[name] = {key: value for key, value in values.items() if not key.startswith('__')}
    return found


def test_the_settings_run_as_they_are(good, folder):
    for name, settings in good.items():
        path = folder / 'good.py'
        path.write_text(as_text(settings))
        assert outcome(path, folder / f'good_{name}') == 'ran'


@pytest.mark.parametrize('group', range(GROUPS))
def test_damaged_settings(group, good, folder):
    refused = 0
    for seed in range(group * PER_GROUP, (group + 1) * PER_GROUP):
        rng = random.Random(seed)
        name = rng.choice(matrix.ALGORITHMS)
        what, settings = mutate(good[name], rng)
        path = folder / f'c{seed}.py'
        path.write_text(as_text(settings))
        try:
            said = outcome(path, folder / f'w{seed}')
        except Exception as error:
            raise AssertionError(f'seed {seed}, {name}: {what}: {type(error).__name__}: {error}') from error
        assert 'Traceback' not in said and len(said) < LONGEST, f'seed {seed}, {name}: {what}: {said}'
        refused += said != 'ran'
    assert refused > PER_GROUP // 2  # most of what `mutate` does cannot be meant


TINY = '''"""A config."""
model = dict(type='SimCLR', backbone=dict(type='ResNet', depth=18), neck=dict(type='AvgPoolNeck'), head=dict(type='ContrastiveHead'))
data = dict(imgs_per_gpu=4, train=dict(type='ContrastiveDataset', data_source=dict(type='ImageFolder', root='x'), pipeline=[]))
optimizer = dict(type='SGD', lr=0.1)
total_epochs = 1
'''
SIMCLR_AGAIN = 'from selfsup.registry import MODELS\n@MODELS.register_module()\nclass SimCLR: pass\n'
MODULES = {  # what a module that the user wrote does when it is imported -> what the message must say
    'raises': ("x = 1\nraise ValueError('no licence\\nfor this')\n", r':2: ValueError: no licence for this\.$'),
    'syntax': ('def broken(:\n    pass\n', r':1: invalid syntax: def broken\(:$'),
    'indentation': ('def f():\nreturn 1\n', r':2: .*return 1$'),
    'exits': ('import sys\nsys.exit(3)\n', r':2: SystemExit: 3\.$'),
    'asserts': ('assert False\n', r':1: AssertionError: \.?'),
    'zero': ('1 / 0\n', r':1: ZeroDivisionError: division by zero\.$'),
    'name': ('undefined\n', r":1: NameError: name 'undefined' is not defined"),
    'key': ("{}['a']\n", r":1: KeyError: 'a'\.$"),
    'import': ('import nowhere_at_all\n', r":1: No module named 'nowhere_at_all'"),
    'from': ('from os import nothing_like_it\n', r":1: cannot import name 'nothing_like_it'"),
    'taken': (
        SIMCLR_AGAIN,
        r'already registered .*Give your class a name of its own, or register it with force=True\.$',
    ),
    'null': ('x = "\0"\n', r'null bytes'),
    'recursion': ('def f(): f()\nf()\n', r'RecursionError: maximum recursion depth'),
}


@pytest.mark.parametrize('way', ['file', 'option'])
@pytest.mark.parametrize('case', MODULES)
def test_modules_of_the_users(case, way, tmp_path, monkeypatch):
    text, expected = MODULES[case]
    module = f'users_{case}_{way}'
    (tmp_path / f'{module}.py').write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / 'x.py'
    path.write_text(TINY + (f"custom_imports = dict(imports=['{module}'])\n" if way == 'file' else ''))
    with pytest.raises(ConfigError, match=expected) as caught:
        load(path, [f"custom_imports.imports=['{module}']"] if way == 'option' else None)
    place = 'x.py:6' if way == 'file' else '--cfg-options'
    assert str(caught.value).startswith('custom_imports (') and f'{place}): {module} cannot be imported: ' in str(
        caught.value
    )
    assert len(str(caught.value).splitlines()) == 1
    sys.modules.pop(module, None)


HOOKS = {
    'type no name': ('[dict(type=5)]', 'custom_hooks.0.type=5 (x.py:6) must be the name of a hook, in quotes.'),
    'type a list': (
        "[dict(type=['KNNHook'])]",
        "custom_hooks.0.type=['KNNHook'] (x.py:6) must be the name of a hook, in quotes.",
    ),
    'priority no name': (
        "[dict(type='BYOLHook', priority='NORMLA')]",
        "custom_hooks.0.priority='NORMLA' (x.py:6) must be a name or a number from 0 (first) to 100. Did you mean "
        "'NORMAL'",
    ),
    'priority a list': (
        "[dict(type='BYOLHook', priority=[1])]",
        'custom_hooks.0.priority=[1] (x.py:6) must be a name or a number',
    ),
    'priority too high': (
        "[dict(type='BYOLHook', priority=101)]",
        'custom_hooks.0.priority=101 (x.py:6) must be a name or a number',
    ),
    'priority a float': (
        "[dict(type='BYOLHook', priority=0.5)]",
        'custom_hooks.0.priority=0.5 (x.py:6) must be a name or a number',
    ),
}


@pytest.mark.parametrize('case', HOOKS)
def test_names_and_priorities_of_hooks(case, tmp_path):
    value, expected = HOOKS[case]
    path = tmp_path / 'x.py'
    path.write_text(TINY + f'custom_hooks = {value}\n')
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert expected in str(caught.value).replace(f'{tmp_path}/', '')


@pytest.mark.parametrize('value', ['LOW', 'low', 0, 100])
def test_priorities_that_mmengine_knows(value, tmp_path):
    path = tmp_path / 'x.py'
    path.write_text(TINY + f"custom_hooks = [dict(type='BYOLHook', priority={value!r})]\n")
    assert load(path).cfg['custom_hooks'][0]['priority'] == value


@pytest.mark.parametrize(
    'section', ['optimizer', 'model', 'model.backbone', 'model.neck', 'data.train', 'data.train.data_source']
)
def test_types_that_are_no_names(section, tmp_path):
    path = tmp_path / 'x.py'
    path.write_text(TINY)
    with pytest.raises(
        ConfigError, match=rf'^{section}.type=1.5 \(--cfg-options\) must be the name of an? [a-z ]+, in quotes\.'
    ):
        load(path, [f'{section}.type=1.5'])


FILES = {  # bytes of a config file -> what the message must say
    'latin-1': ('"""Gr\xfc\xdfe"""\n'.encode('latin-1') + TINY.encode(), r'x\.py: .*utf-8'),
    'null byte': (TINY.encode() + b'x = "\0"\n', r'null byte'),
    'unclosed': (TINY.encode() + b'custom_hooks = [\n', r"x\.py:6: '\[' was never closed"),
    'utf-16': (TINY.encode('utf-16'), r'x\.py: .*utf-8'),
    'picture': (b'\x89PNG\r\n\x1a\n' + bytes(range(256)), r'x\.py: '),
    'empty': (b'', 'x.py has no '),
    'exit': (b'import sys\nsys.exit(1)\n', r'x\.py:2: SystemExit: 1'),
    'based on itself': (b"_base_ = './x.py'\n", 'is based on it in turn'),
    'base is a folder': (b"_base_ = '.'\n", 'does not exist'),
    'raises': (b"raise KeyError('a')\n", r"x\.py:1: KeyError: 'a'"),
    'deep': (b'x = ' + b'[' * 300 + b']' * 300 + b'\n', r'x\.py:1: too many nested'),
    'model a class': (TINY.replace("dict(type='SimCLR'", 'dict(type=dict').encode(), 'is no literal'),
}


@pytest.mark.parametrize('case', FILES)
def test_config_files_that_are_none(case, tmp_path):
    content, expected = FILES[case]
    path = tmp_path / 'x.py'
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=expected) as caught:
        load(path)
    assert 'Traceback' not in str(caught.value)


OPTIONS = {
    'total_epochs=abc': 'total_epochs=',
    'total_epochs=nan': 'total_epochs=',
    '=1': 'is not written path=value',
    'model': 'is not written path=value',
    'model.backbone.depth.x=1': 'has nothing inside',
    'data.train.pipeline.7.size=1': 'is a list of 0',
    'optimizer.lr=1e400': 'optimizer.lr',
    'custom_hooks=BYOLHook': 'custom_hooks=',
    'model.=1': 'model.',
    '.=1': 'is not a config key',
    'optimizer=[1]': 'optimizer=',
    "optimizer={'type': 'SGD', 'lr': -1}": 'optimizer.lr=-1',
    "data={'imgs_per_gpu': 0}": 'data.imgs_per_gpu=0',
    "custom_imports={'imports': 5}": 'custom_imports',
    'custom_imports=x': 'custom_imports=',
}


@pytest.mark.parametrize('option', OPTIONS)
def test_options_that_cannot_be_meant(option, tmp_path):
    path = tmp_path / 'x.py'
    path.write_text(TINY)
    with pytest.raises(ConfigError) as caught:
        load(path, [option])
    assert OPTIONS[option] in str(caught.value)
    assert Path(path).read_text() == TINY
