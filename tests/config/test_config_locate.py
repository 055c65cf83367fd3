"""Lines of nested keys, inheritance, helper variables, texts and work dirs."""

from __future__ import annotations

import pytest

from selfsup.arguments import arguments_of
from selfsup.config import default_work_dir, load, locate, to_text
from selfsup.config.keys import all_keys


def lines(text: str, small) -> dict[str, int]:
    """Dotted path -> line, without the file."""
    return {path: line for path, (_, line) in locate.flatten(locate.read(small(text)).tree).items()}


def test_displays_calls_and_helpers(small):
    got = lines(
        """\
        a = dict(
            b=1,
            c={'d': [dict(e=1),
                     dict(e=2)]},
        )
        helper = dict(
            x=1)
        f = dict(g=helper, h=[helper, *a['c']['d']],
                 **helper)
        f['new'] = dict(
            y=2)
        p, q = 1, dict(
            r=3)
        steps = [dict(t=1)]
        steps.append(
            dict(t=2))
        steps += [
            dict(t=3)]
        if not p:
            steps.extend([
                dict(t=4)])
        f.update(z=4)
        s: dict = dict(u=1)
        """,
        small,
    )
    wanted = {
        'a': 1,
        'a.b': 2,
        'a.c': 3,
        'a.c.d': 3,
        'a.c.d.0.e': 3,
        'a.c.d.1.e': 4,
        'f.g': 8,
        'f.g.x': 7,
        'f.h.0.x': 7,
        'f.h.1.e': 3,
        'f.h.2.e': 4,
        'f.x': 7,
        'f.new': 10,
        'f.new.y': 11,
        'q.r': 13,
        'steps.0.t': 14,
        'steps.1.t': 16,
        'steps.2.t': 18,
        'steps.3.t': 21,
        'f.z': 22,
        's.u': 23,
    }
    assert {k: got.get(k) for k in wanted} == wanted


def test_copies_and_sums_are_followed(small):
    got = lines(
        """\
        import copy
        a = [dict(x=1)]
        b = copy.deepcopy(a)
        c = a + [
            dict(x=2)]
        d = dict(c[1],
                 y=1)
        """,
        small,
    )
    assert (got['b.0.x'], got['c.0.x'], got['c.1.x'], got['d.x'], got['d.y']) == (2, 2, 5, 5, 7)


def test_a_child_wins_over_its_base_and_delete_forgets_it(small):
    small('a = dict(x=1,\n         y=[dict(k=1)])\nb = dict(x=1)\nlr = 1\n', 'base.py')
    tree = locate.read(
        small("""\
        _base_ = ['./base.py']
        a = dict(y=[
            dict(m=1)])
        b = dict(
            _delete_=True, z=1)
        c = _base_.a
        d = {{_base_.a}}
        """)
    ).tree
    got = {path: (file.rsplit('/', 1)[-1], line) for path, (file, line) in locate.flatten(tree).items()}
    assert got['a.x'] == ('base.py', 1) and got['a.y.0.m'] == ('x.py', 3) and 'a.y.0.k' not in got
    assert got['b.z'] == ('x.py', 5) and 'b.x' not in got
    assert got['c'] == ('x.py', 6) and got['c.y.0.k'] == got['d.y.0.k'] == ('base.py', 2)


def test_values_and_places_after_inheritance(small):
    small(small.text, 'configs/base.py')
    loaded = load(
        small(
            """\
        _base_ = '../configs/base.py'
        optimizer = dict(lr=_base_.optimizer.lr * 2)
        model = dict(neck=dict(_delete_=True, type='LinearNeck', in_channels=1, out_channels=2))
        """,
            'configs/a.py',
        ),
        ['seed=1'],
    )
    assert loaded.cfg['optimizer'] == {'type': 'SGD', 'lr': 0.06, 'momentum': 0.9}
    assert loaded.cfg['model']['neck'] == {'type': 'LinearNeck', 'in_channels': 1, 'out_channels': 2}
    assert all(
        type(v) is dict
        for v in (loaded.cfg['model'], loaded.cfg['model']['neck'], loaded.cfg['data']['train']['pipeline'][0])
    )
    assert [f.rsplit('/', 2)[-1] for f in loaded.files] == ['base.py', 'a.py']
    assert loaded.locations['optimizer.lr'] == (loaded.files[1], 2)
    assert loaded.locations['optimizer.type'] == (loaded.files[0], 4)
    assert loaded.locations['seed'] == ('--cfg-options', 0)
    assert loaded.path == 'configs/a.py'


def test_helpers_imports_and_bases_of_helpers_are_fine(small):
    small(
        'factor = 2\nunused_here = 3\n' + small.text.replace('total_epochs = 200', 'total_epochs = 100 * factor'),
        'base.py',
    )
    loaded = load(
        small("""\
        import os
        from math import (
            pi)
        _base_ = 'base.py'
        __version__ = 1
        def double(x):
            return 2 * x
        for i in range(2):
            j = i
            k = [j]
        width = {{_base_.unused_here}}
        optimizer = dict(lr=double(0.25), weight_decay=0 if os.sep else width + k[0])
        """)
    )
    assert loaded.cfg['optimizer']['lr'] == 0.5 and loaded.cfg['total_epochs'] == 200
    assert set(loaded.cfg) == {'model', 'data', 'optimizer', 'lr_config', 'total_epochs'}


def test_variables_of_the_environment(small, monkeypatch):
    monkeypatch.setenv('EPOCHS', '7')
    assert load(small(small.text.replace('200', '{{$EPOCHS:3}}'))).cfg['total_epochs'] == 7
    monkeypatch.delenv('EPOCHS')
    assert load(small(small.text.replace('200', '{{$EPOCHS:3}}'))).cfg['total_epochs'] == 3


@pytest.mark.parametrize(
    ('path', 'work_dir'),
    [
        ('configs/selfsup/moco/r50_v2.py', 'work_dirs/selfsup/moco/r50_v2'),
        ('/home/me/configs/repo/configs/a.py', 'work_dirs/a'),
        ('./configs/a/b.c.py', 'work_dirs/a/b.c'),
        ('/elsewhere/mine.py', 'work_dirs/mine'),
        ('configs.py', 'work_dirs/configs'),
        ('configs/../a/mine.py', 'work_dirs/mine'),  # `..` would lead out of work_dirs
        ('../configs/a/./b.py', 'work_dirs/a/b'),
    ],
)
def test_default_work_dir(path, work_dir):
    assert default_work_dir(path) == work_dir


def test_texts_read_back_to_the_same_values():
    cfg = {
        'a': {'z': 1, 'b': (1,), 'lambda': None, 'deep': [{'x': ['long' * 10, 'words' * 10, {'y': {'k.*': ()}}]}]},
        'e': [],
        'f': {},
        'g': -1e-6,
        'h': 'it\'s "q"\n',
    }
    got: dict = {}
    exec(to_text(cfg), got)
    got.pop('__builtins__')
    assert got == cfg and list(got['a']) == list(cfg['a'])
    assert all(len(line) <= 140 for line in to_text(cfg).splitlines())


def test_what_a_type_can_be_called_with():
    class Open:
        def __init__(self, a, **kwargs):
            pass

    class Child(Open):
        def __init__(self, b=1, **kwargs):
            super().__init__(**kwargs)

    class Closed(Child):
        def __init__(self, *, c):
            pass

    def build(x, y=1):
        pass

    def called_with(owner):
        named, anything = arguments_of(owner)
        return [*named], [name for name, argument in named.items() if argument.required], anything

    assert called_with(Open) == (['a'], ['a'], True)
    assert called_with(Child) == (['b', 'a'], [], False)
    assert called_with(Closed) == (['c'], ['c'], False)
    assert called_with(build) == (['x', 'y'], ['x'], False)


def test_rows_of_the_key_table_have_their_parents():
    rows = [k.path for k in all_keys()]
    assert len(rows) == len(set(rows))
    assert {r.rpartition('.')[0] for r in rows if '.' in r} <= set(rows)
