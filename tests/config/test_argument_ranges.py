"""Arguments of every registered class keep to the range that their signature declares: in a file, on the command line and in Python."""

from __future__ import annotations

import inspect
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints, is_typeddict

import numpy as np
import pytest

from selfsup import registry as registries
from selfsup.arguments import arguments_of, opened, problems, words
from selfsup.config import load, reference
from selfsup.config.typed import GIVEN, NAMED
from selfsup.errors import ConfigError
from selfsup.evaluation.knn import knn_accuracy
from selfsup.hints import BOUNDS, SEQUENCES, Choice, alternatives

NUMBER = 40
# registry -> path of a part of it in a config
PLACES = {
    'MODELS': 'model',
    'BACKBONES': 'model.backbone',
    'NECKS': 'model.neck',
    'HEADS': 'model.head',
    'MEMORIES': 'model.memory_bank',
    'BATCH_AUGMENTS': 'model.mixup',
    'TEACHERS': 'model.teachers.0',
    'DATASETS': 'data.train',
    'DATA_SOURCES': 'data.train.data_source',
    'PIPELINES': 'data.train.pipeline.0',
    'SAMPLERS': 'data.sampler',
    'HOOKS': 'custom_hooks.0',
    'OPTIMIZERS': 'optimizer',
    'PARAM_SCHEDULERS': 'param_scheduler.0',
}
AROUND = {
    'model.memory_bank': 'NPID',
    'model.mixup': 'Classification',
    'model.teachers.0': 'Distill',
}  # who has such a part
# numeric arguments of which every number is right -> why
VALUES = '.value_range'  # of images, which may hold any: an argument of many sources
ANY_NUMBER = {
    'ConvNeXt.layer_scale_init_value': 'a factor that is learned, from wherever it starts',
    'ConvNeXtV2.layer_scale_init_value': 'a factor that is learned, from wherever it starts',
    'SLaK.layer_scale_init_value': 'a factor that is learned, from wherever it starts',
    'TIMMBackbone.out_indices': 'timm says which maps a network has; negative numbers count from the last',
    'TIMMAutoAugment.interpolation': "PIL's number, looked up in a table",
    'ReconstructionHook.seed': 'any number seeds',
}


class Declared(NamedTuple):
    registry: str
    cls: Any
    name: str
    hint: Any

    def __str__(self) -> str:
        return f'{self.cls.__name__}.{self.name}'


def flat(hint: Any, rules: tuple = ()) -> Iterator[tuple[Any, list]]:
    """Every kind in a hint, however deep, with the rules that hold for it."""
    kind, more = opened(hint)
    inner = alternatives(kind)
    if is_typeddict(kind):
        inner = tuple(get_type_hints(kind, include_extras=True).values())
    elif len(inner) == 1:
        inner = get_args(kind) if get_origin(kind) is not Literal else ()
    for part in inner:
        if part is not Ellipsis:
            yield from flat(part, (*rules, *more))
    if not inner:
        yield kind, [*rules, *more]


def all_arguments() -> list[Declared]:
    """Arguments of our registered classes that a config may give, by registry and name."""
    found = {}
    for registry in PLACES:
        table = getattr(registries, registry)
        for cls in table.registered().values():
            if cls.__module__.startswith('selfsup.'):
                for name, argument in arguments_of(cls)[0].items():
                    if name in NAMED.get(cls.__name__, [name]) and name not in GIVEN.get(table.name, ()):
                        found[registry, cls.__name__, name] = Declared(registry, cls, name, argument.hint)
    return [found[key] for key in sorted(found)]


def outside(hint: Any) -> Any:
    """A value of the right kind, but out of the range; None where the hint has no range."""
    for kind, rules in flat(hint):
        options = [option for rule in rules if isinstance(rule, Choice) for option in rule.options]
        tries: list[Any] = ['no such thing'] if get_origin(kind) is Literal or options else []
        for rule in rules if kind in (int, float) else ():
            if type(rule) in BOUNDS:
                (bound,) = (getattr(rule, slot) for slot in type(rule).__dataclass_fields__)
                tries += [kind(bound - 1), kind(bound), kind(bound + 1), kind(-7)]
        for value in tries:
            for wrapped in (value, [value], [value, value], [[value]]):
                if list(problems(hint, wrapped, ('a',))) and _right_kind(hint, wrapped):
                    return wrapped
    return None


def _right_kind(hint: Any, value: Any) -> bool:
    """A list only where the hint has one."""
    lists = [get_origin(kind) or kind for kind in _kinds(hint)]
    return isinstance(value, list) == all(kind in SEQUENCES for kind in lists if kind is not type(None))


def _kinds(hint: Any) -> Iterator[Any]:
    kind, _ = opened(hint)
    for choice in alternatives(kind):
        yield from _kinds(choice) if choice is not kind else (kind,)


RANGED = [declared for declared in all_arguments() if outside(declared.hint) is not None]


def owner_of(declared: Declared) -> Any:
    """The class that declares it: a child that hands it on may need arguments of its own first."""
    if not inspect.isclass(declared.cls):
        return declared.cls
    inits = (c for c in inspect.getmro(declared.cls) if '__init__' in vars(c))
    return next(c for c in inits if declared.name in inspect.signature(c.__init__).parameters)


def config(declared: Declared, value: Any) -> tuple[str, str, int]:
    """A file with one value out of its range, the path of the value, and its line."""
    place = PLACES[declared.registry]
    model = f"type='{AROUND.get(place, 'SimCLR')}', backbone=dict(type='ResNet', depth=18)"
    part = f"dict(type='{declared.cls.__name__}',\n{declared.name}={value!r})"
    sections = {
        'model': f"dict({model}, neck=dict(type='AvgPoolNeck'), head=dict(type='ContrastiveHead'))",
        'data': "dict(imgs_per_gpu=4, train=dict(type='ContrastiveDataset', data_source=dict(type='Digits'), pipeline=[]))",
        'optimizer': "dict(type='SGD', lr=0.1)",
        'total_epochs': '1',
    }
    top, *inner = place.split('.')
    text = ''.join(f'{name} = {section}\n' for name, section in sections.items() if name != place)
    assignment = top + ''.join(f'[{name!r}]' for name in inner if name != '0')
    text += f'{assignment} = ' + (f'[{part}]' if place.endswith('.0') else part) + '\n'
    line = 1 + text[: text.index(f'\n{declared.name}={value!r})')].count('\n') + 1
    return text, f'{place}.{declared.name}', line


@pytest.mark.parametrize('declared', random.Random(0).sample(RANGED, min(NUMBER, len(RANGED))), ids=str)
def test_a_value_outside_of_the_range_is_refused(declared, tmp_path, monkeypatch):
    value = outside(declared.hint)
    problem = next(problems(declared.hint, value, ('',)))
    below = ''.join(f'.{part}' for part in problem.path[1:])
    text, path, line = config(declared, value)
    monkeypatch.chdir(tmp_path)
    Path('x.py').write_text(text)
    with pytest.raises(ConfigError) as caught:
        load('x.py')
    assert f'{path}{below}={problem.value!r} (x.py:{line}) {problem.text}' in str(caught.value).split('\n')

    Path('x.py').write_text(text.replace(f',\n{declared.name}={value!r}', ''))
    with pytest.raises(ConfigError) as caught:
        load('x.py', {path: value})
    assert f'{path}{below}={problem.value!r} (--cfg-options) {problem.text}' in str(caught.value).split('\n')

    owner = owner_of(declared)
    with pytest.raises(ConfigError) as caught:
        owner(**{declared.name: value})
    assert str(caught.value) == f'{owner.__name__} {declared.name}{below}={problem.value!r}: {problem.text}'


def test_enough_arguments_have_a_range():
    assert len(RANGED) >= 150
    assert {declared.registry for declared in RANGED} == set(PLACES)


def test_every_number_has_a_range():
    """Or stands above, with the reason."""
    without = set()
    for declared in all_arguments():
        assert declared.hint is not Any, f'{declared} says nothing of what it may be'
        if any(
            kind in (int, float) and not any(type(r) in BOUNDS for r in rules) for kind, rules in flat(declared.hint)
        ):
            without.add(str(declared))
    assert {name for name in without if not name.endswith(VALUES)} == set(ANY_NUMBER)


def test_the_defaults_lie_in_the_ranges():
    for declared in all_arguments():
        argument = arguments_of(declared.cls)[0][declared.name]
        if argument.default is not argument.default.__class__ and not argument.required:
            wrong = [problem.text for problem in problems(declared.hint, argument.default, ('',))]
            assert not wrong or argument.default is None, f'{declared}={argument.default!r} {wrong[0]}'


SMALL = """
model = dict(type='{model}', backbone=dict(type='ResNet', depth=18), neck=dict(type='AvgPoolNeck'), head=dict(type='ContrastiveHead'))
data = dict(imgs_per_gpu=4, train=dict(type='ContrastiveDataset', data_source=dict(type='Digits'), pipeline=[]))
optimizer = dict(type='SGD', lr=0.1)
total_epochs = 1
"""
KNN = "custom_hooks=[{'type': 'KNNHook', 'train': {'type': 'ClassificationDataset'}, 'test': {}, 'temperature': %s}]"


@pytest.mark.parametrize(
    ('model', 'option', 'expected'),
    [
        ('MOCO', 'model.momentum=7', 'model.momentum=7 (--cfg-options) must be a number in [0, 1].'),
        ('MOCO', 'model.momentum=abc', "model.momentum='abc' (--cfg-options) must be a number in [0, 1]."),
        ('BYOL', 'model.base_momentum=-3', 'model.base_momentum=-3 (--cfg-options) must be a number in [0, 1].'),
        ('BYOL', 'model.end_momentum=7', 'model.end_momentum=7 (--cfg-options) must be a number in [0, 1].'),
        ('SimCLR', KNN % 0, 'custom_hooks.0.temperature=0 (--cfg-options) must be a number > 0.'),
        ('SimCLR', KNN % -1, 'custom_hooks.0.temperature=-1 (--cfg-options) must be a number > 0.'),
    ],
)
def test_values_that_no_method_has(model, option, expected, tmp_path):
    path = tmp_path / 'x.py'
    path.write_text(SMALL.format(model=model))
    with pytest.raises(ConfigError) as caught:
        load(path, [option])
    assert expected in str(caught.value).split('\n')


@pytest.mark.parametrize('temperature', [0, -1])
def test_knn_has_a_temperature_above_0(temperature):
    with pytest.raises(ConfigError, match=rf'temperature={temperature}: must be a number > 0\.$'):
        knn_accuracy(None, None, None, None, temperature=temperature)


OWN = """
from typing import Annotated
from mmengine.hooks import Hook
from selfsup.arguments import Part
from selfsup.registry import BACKBONES, HOOKS

@HOOKS.register_module(force=True)
class HookOfAUser(Hook):
    def __init__(self, train=None, head=None, teacher: Annotated[dict | None, Part(BACKBONES)] = None):
        self.train, self.head, self.teacher = train, head, teacher
"""


def test_a_name_of_an_argument_says_nothing_and_a_part_says_all(tmp_path, monkeypatch):
    (tmp_path / 'own_hooks.py').write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / 'x.py'
    hook = "custom_hooks = [dict(type='HookOfAUser', train=dict(steps=3), head=dict(size=2), {})]\n"
    text = SMALL.format(model='SimCLR') + "custom_imports = dict(imports=['own_hooks'])\n"
    path.write_text(text + hook.format("teacher=dict(type='ResNet', depth=18)"))
    load(path)
    path.write_text(text + hook.format("teacher=dict(type='ResNte')"))
    with pytest.raises(
        ConfigError, match=r"teacher\.type='ResNte' \(.*x\.py:7\) is not a backbone\. Did you mean 'ResNet'"
    ):
        load(path)


UNREADABLE = """
from __future__ import annotations
from typing import TYPE_CHECKING
from mmengine.hooks import Hook
from selfsup.registry import HOOKS
if TYPE_CHECKING:
    from pathlib import Path

@HOOKS.register_module(force=True)
class HookWithAHint(Hook):
    def __init__(self, folder: Path | None = None):
        self.folder = folder
"""


def test_a_hint_that_cannot_be_read_is_a_line_among_the_others(tmp_path, monkeypatch):
    (tmp_path / 'hooks_with_hints.py').write_text(UNREADABLE)
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / 'x.py'
    text = SMALL.format(model='SimCLR') + "custom_imports = dict(imports=['hooks_with_hints'])\n"
    path.write_text(
        text + "custom_hooks = [dict(type='HookWithAHint', folder='a'), dict(type='EMAHook', momentum=7)]\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(path)
    unreadable, momentum = sorted(str(caught.value).split('\n'))
    assert 'x.py:7) cannot be used. A hint of HookWithAHint.__init__ (' in unreadable
    assert "hooks_with_hints.py:11) cannot be read: name 'Path' is not defined." in unreadable
    assert momentum.startswith('custom_hooks.1.momentum=7 (')


@pytest.mark.parametrize(
    'option, value',
    [
        ('model.neck', {'type': 'AvgPoolNeck', 'size': 1}),
        ('data.train.pipeline', [{'type': 'Lighting', 'size': 1}]),
        ('custom_hooks', [{'type': 'IterTimerHook', 'size': 1}]),
    ],
)
def test_a_type_without_arguments_takes_none(option, value, tmp_path):
    path = tmp_path / 'x.py'
    path.write_text(SMALL.format(model='SimCLR'))
    with pytest.raises(ConfigError, match=r'\.size \(--cfg-options\) is not an argument of \w+\. Known: nothing\.$'):
        load(path, {option: value})


def test_numbers_of_numpy_are_numbers():
    resnet = registries.BACKBONES.get('ResNet')(
        depth=np.int64(18), out_indices=(np.int64(4),), norm_eval=np.bool_(True)
    )
    assert resnet.channels == (512,)
    knn = registries.HOOKS.get('KNNHook')({}, {}, k=np.int64(5), temperature=np.float32(0.5))
    assert knn.k == [5]
    assert registries.SAMPLERS.get('EpochSampler')(np.int64(7)).size == 7
    registries.PIPELINES.get('TIMMAutoAugment')('rand-m9', size=np.int64(32))


def test_the_documentation_names_every_range():
    page = (Path(__file__).parents[2] / 'docs' / 'configs.md').read_text()
    for declared in RANGED:
        table = page.partition(f'### `{declared.cls.__name__}`')[2].partition('\n### ')[0]
        assert f'| `{declared.name}` | {words(declared.hint)} |' in table, declared


@pytest.mark.parametrize(
    'path', ['optimizer.momentum', 'optimizer.paramwise_options.bias.momentum', 'optim_wrapper.optimizer.momentum']
)
def test_momentum_is_a_share_in_the_table_too(path, tmp_path):
    text = SMALL.format(model='SimCLR')
    if path.startswith('optim_wrapper'):
        text = text.replace(
            "optimizer = dict(type='SGD', lr=0.1)", "optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))"
        )
    (tmp_path / 'x.py').write_text(text)
    load(tmp_path / 'x.py', {path: 0.9})
    for value in (9, 1, -0.1):
        with pytest.raises(ConfigError) as caught:
            load(tmp_path / 'x.py', {path: value})
        assert str(caught.value) == f'{path}={value} (--cfg-options) must be a number in [0, 1).'


def test_the_documentation_does_not_depend_on_what_was_imported_first(monkeypatch):
    page = reference.markdown()
    for table in (registries.OPTIMIZERS, registries.HEADS):
        monkeypatch.setattr(table, '_module_dict', dict(reversed(table._module_dict.items())))
    assert reference.markdown() == page
