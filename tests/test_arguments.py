"""What hints allow, in every kind; who is held to them, and what being held leaves as it was."""

from __future__ import annotations

import copy
import inspect
import pickle
from argparse import Namespace
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import numpy as np
import pytest
from annotated_types import Ge, Gt, Interval, Le, Len, MultipleOf
from torch import nn

from selfsup.arguments import Choice, Part, arguments_of, checked, parts, problems, words
from selfsup.errors import ConfigError
from selfsup.registry import Registry

TABLE = Registry('thing', scope='test_arguments')
Share = Annotated[float, Interval(ge=0, le=1)]
Count = Annotated[int, Ge(1)]
Thing = Annotated[dict | nn.Module, Part(TABLE)]


class _Required(TypedDict):
    k: Annotated[int, Ge(2)]


class Clusters(_Required, total=False):
    type: Literal['Kmeans']


# hint -> (words, allowed values, refused values with the place and the value of the problem)
HINTS: dict[str, tuple[Any, str, list, list]] = {
    'share': (
        Share,
        'a number in [0, 1]',
        [0, 1, 0.5, np.float32(0.5)],
        [7, -0.1, 'abc', True, None, float('nan'), [0.5]],
    ),
    'half open': (Annotated[float, Interval(gt=0, lt=1)], 'a number in (0, 1)', [0.5], [0, 1, float('inf')]),
    'positive': (Annotated[float, Gt(0)], 'a number > 0', [1e-9, 10**400], [0, -1]),
    'at most': (Annotated[int, Le(3)], 'a whole number <= 3', [3, -9], [4]),
    'count': (Count, 'a whole number >= 1', [1, np.int64(3)], [0, 1.0, True, '1']),
    'multiple': (Annotated[int, Ge(32), MultipleOf(32)], 'a whole number >= 32, a multiple of 32', [64], [0, 33]),
    'switch': (bool, 'True or False', [True, False, np.bool_(True)], [0, 1, 'yes', None]),
    'text': (str, 'a string', ['', 'a'], [3, None, ['a']]),
    'choice': (Literal['batch', 'pair'], "'batch' or 'pair'", ['pair'], ['bacth', 1, None]),
    'number of a choice': (Literal[1, 2], '1 or 2', [1, np.int64(2)], [True, 1.0, 3, np.float64(1), '1']),
    'table': (
        Annotated[str | None, Choice({'r50': 1, 'r18': 2})],
        "'r50' or 'r18' or None",
        ['r50', None],
        ['r5', 3],
    ),
    'nothing': (Count | None, 'a whole number >= 1 or None', [None, 4], [0]),
    'rule around': (Annotated[int | None, Ge(1)], 'a whole number >= 1 or None', [None, 4], [0, 'a']),
    'or -1': (Count | Literal[-1], 'a whole number >= 1 or -1', [-1, 1], [0, -2]),
    'list': (Sequence[Count], 'a list of whole numbers >= 1', [[1], (1, 2), []], [3, '12', {}]),
    'not empty': (Annotated[list[int], Len(1)], 'a list of 1 or more whole numbers', [[3]], [[]]),
    'two': (Annotated[Sequence[float], Len(2, 2), Ge(0)], 'a list of 2 numbers >= 0', [(0, 1)], [[1], [-1, 2]]),
    'pair': (tuple[Share, Share], 'a list of 2 numbers in [0, 1]', [[0, 1], (0.5, 1)], [[1], [1, 1, 1], 3]),
    'many': (tuple[int, ...], 'a list of whole numbers', [(), (1, 2, 3)], [1]),
    'dict': (dict[str, Count], 'a dict', [{}, {'a': 1}], [[], 3]),
    'part': (Thing, "dict(type='Name', ...)", [{'type': 'A'}, nn.Identity()], ['A', 3, [{}], None]),
    'part or none': (Thing | None, "dict(type='Name', ...) or None", [None, {}], [3]),
    'anything': (Any, 'a Any', [3, None, 'a'], []),
    'class': (nn.Module, 'a Module', [nn.Identity()], [3, {}]),
    'class with a vowel': (Exception, 'an Exception', [ValueError()], [3]),
}


@pytest.mark.parametrize('case', HINTS)
def test_hints(case):
    hint, said, allowed, refused = HINTS[case]
    assert case == 'anything' or words(hint) == said
    for value in allowed:
        assert not list(problems(hint, value, ('a',))), value
    for value in refused:
        (problem,) = problems(hint, value, ('a',))
        assert problem.path == ('a',) and problem.value is value
        assert problem.text.startswith(f'must be {said}.'), problem.text


@pytest.mark.parametrize(
    'hint, value, path, text',
    [
        (Sequence[Count], [1, 0], ('a', '1'), 'must be a whole number >= 1.'),
        (Count | Sequence[Count], [1, 'x'], ('a', '1'), 'must be a whole number >= 1.'),
        (dict[str, Share], {'x': 3}, ('a', 'x'), 'must be a number in [0, 1].'),
        (tuple[int, Share], [1, 2], ('a', '1'), 'must be a number in [0, 1].'),
        (Clusters, {'k': 1}, ('a', 'k'), 'must be a whole number >= 2.'),
        (Clusters, {'k': 2, 'type': 'Kmean'}, ('a', 'type'), "must be 'Kmeans'. Did you mean 'Kmeans'?"),
        (Clusters, {'k': 2, 'kk': 2}, ('a', 'kk'), "is not a key of a. Did you mean 'k'? Known: k, type."),
        (Clusters, {}, ('a',), "lacks 'k'. Known: k, type."),
        (Literal['linear', 'exp'], 'liner', ('a',), "must be 'linear' or 'exp'. Did you mean 'linear'?"),
        (Literal[18, 50], '18', ('a',), 'must be 18 or 50.'),
        (bool | Literal['replace'], 'replaced', ('a',), "must be True or False or 'replace'. Did you mean 'replace'?"),
    ],
)
def test_what_is_inside(hint, value, path, text):
    (problem,) = problems(hint, value, ('a',))
    assert (problem.path, problem.text) == (path, text)


def test_parts_are_found_however_deep():
    hint = dict[str, Sequence[Thing | None]] | None
    value = {'x': [{'type': 'A'}, None, nn.Identity()], 'y': [{'type': 'B'}]}
    assert [(path, inner) for path, inner, _ in parts(hint, value, ())] == [
        (('x', '0'), {'type': 'A'}),
        (('y', '0'), {'type': 'B'}),
    ]
    assert [path for path, _, _ in parts(Annotated[list[dict], Part(TABLE)], [{}, {}], ())] == [('0',), ('1',)]
    assert [path for path, _, _ in parts(Thing | None, {'type': 'A', 'neck': {'type': 'B'}}, ('a',))] == [('a',)]


class Base:
    def __init__(self, share: Share = 0.5, *, count: Count = 1) -> None:
        self.share, self.count = share, count


@TABLE.register_module()
class Child(Base):
    def __init__(self, name: str, odd: int = 'any', **kwargs: Any) -> None:  # type: ignore[assignment]
        super().__init__(**kwargs)
        self.name, self.odd = name, odd


@TABLE.register_module()
class Bare(Child):
    """Without a constructor of its own."""


class Foreign:
    def __init__(self, share: Share = 0.5) -> None:
        self.share = share


TABLE.register_module(module=Foreign)


@pytest.mark.parametrize('cls', [Child, Bare])
def test_a_registered_class_is_held_and_so_are_its_parents(cls):
    assert cls('a', share=1, count=2).share == 1
    for kwargs, message in (
        ({'name': 3}, 'name=3: must be a string.'),
        ({'share': 7}, 'share=7: must be a number in [0, 1].'),
        ({'count': 0}, 'count=0: must be a whole number >= 1.'),
        ({'odd': 'some'}, "odd='some': must be a whole number."),
    ):
        for make in (lambda k: cls(**k), lambda k: TABLE.build({'type': cls.__name__, **k})):
            with pytest.raises(ConfigError) as caught:
                make({'name': 'a', **kwargs})
            assert str(caught.value) == f'{cls.__name__} {message}'


def test_being_held_changes_nothing_else():
    assert list(inspect.signature(Child).parameters) == ['name', 'odd', 'kwargs']
    assert Child.__init__.__qualname__ == 'Child.__init__'
    child = Child('a', share=0.25)
    assert vars(copy.deepcopy(child)) == vars(pickle.loads(pickle.dumps(child))) == vars(child)
    assert Child('a', odd='any').odd == 'any'  # the default itself is allowed, whatever the hint says
    with pytest.raises(TypeError, match='missing 1 required positional argument'):
        Child()
    with pytest.raises(TypeError, match='unexpected keyword'):
        Child('a', cuont=1)
    init = Child.__init__
    TABLE.register_module(name='Again')(Child)
    assert Child.__init__ is init
    for name, foreign in {
        'Namespace': Namespace,
        'dict': dict,
    }.items():  # written elsewhere: nobody else's class is changed
        before = foreign.__init__
        assert TABLE.register_module(name=name)(foreign) is foreign and foreign.__init__ is before
    assert Foreign(share=7).share == 7 and not arguments_of(Foreign)[0]['share'].hint == Share


def test_a_class_without_a_constructor_takes_nothing():
    class Step:
        pass

    class Point(NamedTuple):
        x: int = 0

    assert arguments_of(Step) == ({}, False)
    assert arguments_of(Point) == ({}, True)  # `__new__` may take anything


def test_a_hint_that_cannot_be_read_is_one_clear_error():
    def make(size: OnlyForTypeCheckers = None, count: Count = 1) -> None:  # type: ignore[name-defined]  # noqa: F821
        pass

    for call in (lambda: checked(make)(count=2), lambda: arguments_of(checked(make))):
        with pytest.raises(ConfigError) as caught:
            call()
        assert str(caught.value) == (
            f'A hint of {make.__qualname__} ({__file__}:{make.__code__.co_firstlineno}) cannot be read: name '
            "'OnlyForTypeCheckers' is not defined. Hints of registered classes are read at run time: import what they name, "
            'and not only under TYPE_CHECKING.'
        )


def test_functions():
    @checked
    def accuracy(features: Any, k: Count | Sequence[Count] = 20, temperature: Annotated[float, Gt(0)] = 0.07) -> int:
        return 1

    assert accuracy(None, (1, 20), temperature=1) == 1
    with pytest.raises(ConfigError, match=r'^accuracy temperature=0: must be a number > 0\.$'):
        accuracy(None, temperature=0)
    with pytest.raises(ConfigError, match=r'^accuracy k\.1=0: must be a whole number >= 1\.$'):
        accuracy(None, (1, 0))
