"""What the parts of a model say about their arguments in their signatures."""

import inspect
from typing import Literal, get_args, get_origin, get_type_hints, is_typeddict

import pytest

from selfsup import registry
from selfsup.arguments import Choice, Layer, Part, alternatives, arguments_of, opened
from selfsup.models.algorithms.detection import RCNN

REGISTRIES = ('MODELS', 'NECKS', 'HEADS', 'MEMORIES', 'BATCH_AUGMENTS')
OURS = {
    cls
    for name in REGISTRIES
    if (table := getattr(registry, name)).names()
    for cls in table._module_dict.values()
    if cls.__module__.startswith('selfsup.')
} | {registry.OPTIMIZERS.get(name) for name in ('LARS', 'BarlowLARS', 'LARC', 'LAMB')}


def undeclared(hint, rules=()):
    """Kinds inside a hint that say less than they could: a string or a dict that may be anything."""
    kind, more = opened(hint)
    rules = [*rules, *more]
    for choice in alternatives(kind):
        if choice is not kind:
            yield from undeclared(choice, rules)
        elif choice is str and not any(isinstance(rule, Choice) for rule in rules):
            yield choice
        elif choice is dict and not any(isinstance(rule, Part | Layer) for rule in rules):
            yield choice
        elif get_origin(choice) not in (None, Literal) and not is_typeddict(choice):
            for inner in get_args(choice):
                yield from undeclared(inner)


@pytest.mark.parametrize('cls', sorted(OURS, key=lambda cls: cls.__name__), ids=lambda cls: cls.__name__)
def test_choices_and_dicts_say_what_they_may_be(cls):
    for name, argument in arguments_of(cls)[0].items():
        assert name == 'params' or not list(undeclared(argument.hint)), f'{cls.__name__} {name}: {argument.hint}'


def test_the_settings_of_detectors_are_those_of_torchvision():
    from torchvision.models.detection import FasterRCNN

    known = {
        name: type(parameter.default)
        for name, parameter in inspect.signature(FasterRCNN.__init__).parameters.items()
        if name.startswith(('rpn_', 'box_')) and parameter.default is not None
    }
    assert {name: opened(hint)[0] for name, hint in get_type_hints(RCNN, include_extras=True).items()} == known
