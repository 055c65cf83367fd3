"""Hints of arguments: the words of their own beside those of `typing` and `annotated-types`, and what a hint says in plain words.

Who declares an argument and what is made of it: `selfsup.arguments`.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, Union, get_args, get_origin, is_typeddict

from annotated_types import Ge, GroupedMetadata, Gt, Interval, Le, Lt, MaxLen, MinLen, MultipleOf

from .errors import did_you_mean


class Table(Protocol):
    """What is asked of a registry here."""

    name: str

    @property
    def reads_text(self) -> bool: ...

    def find(self, key: str) -> Any: ...

    def names(self) -> list[str]: ...


@dataclass(frozen=True, eq=False)
class Part:
    """The argument is `dict(type=..., arguments)` of a class in `registry`, such an object, or a string that the registry reads."""

    registry: Table


@dataclass(frozen=True, eq=False)
class Choice:
    """The argument is one of `options`; for options that stand in a table and not in a `Literal`."""

    options: Iterable[str]


@dataclass(frozen=True, eq=False)
class Layer:
    """The argument is `dict(type=..., arguments)` of a layer; `names` are the types it may have."""

    names: Iterable[str]


Count = Annotated[int, Ge(1)]
Whole = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Interval(ge=0, le=1)]
ShareBelowOne = Annotated[float, Interval(ge=0, lt=1)]

SEQUENCES = (list, tuple, Sequence)
MAPPINGS = (dict, Mapping)
# Rule of a number -> test, words where it stands alone, words where a bound of the other side stands there too.
BOUNDS: Mapping[type, tuple[Callable[[Any, Any], bool], str, str]] = types.MappingProxyType(
    {
        Ge: (lambda rule, value: value >= rule.ge, ' >= {0.ge}', ' in [{0.ge}, '),
        Gt: (lambda rule, value: value > rule.gt, ' > {0.gt}', ' in ({0.gt}, '),
        Le: (lambda rule, value: value <= rule.le, ' <= {0.le}', '{0.le}]'),
        Lt: (lambda rule, value: value < rule.lt, ' < {0.lt}', '{0.lt})'),
        MultipleOf: (
            lambda rule, value: value % rule.multiple_of == 0,
            ', a multiple of {0.multiple_of}',
            ', a multiple of {0.multiple_of}',
        ),
    }
)
# Kind -> words for one and for many.
NOUNS: Mapping[Any, tuple[str, str]] = types.MappingProxyType(
    {
        int: ('a whole number', 'whole numbers'),
        float: ('a number', 'numbers'),
        bool: ('True or False', 'True or False'),
        str: ('a string', 'strings'),
        type(None): ('None', 'None'),
        **dict.fromkeys(SEQUENCES, ('a list', 'lists')),
        **dict.fromkeys(MAPPINGS, ('a dict', 'dicts')),
    }
)


def opened(hint: Any) -> tuple[Any, list[Any]]:
    """A hint without `Annotated`, and what stood beside it, groups such as `Interval` taken apart."""
    if getattr(get_origin(hint), '_name', '') in ('Required', 'NotRequired'):  # in typing from Python 3.11 on
        return opened(get_args(hint)[0])
    if get_origin(hint) is not Annotated:
        return hint, []
    kind, *marks = get_args(hint)
    rules = [rule for mark in marks for rule in (mark if isinstance(mark, GroupedMetadata) else (mark,))]
    inner, more = opened(kind)
    return inner, more + rules


def alternatives(kind: Any) -> tuple[Any, ...]:
    """The hints that a union joins; a hint that is none alone."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def words(hint: Any, many: bool = False, outer: Sequence[Any] = ()) -> str:
    """What a hint allows, as a user reads it: `a number in [0, 1]`, `a list of whole numbers >= 1 or None`.

    Args:
        hint: with or without `Annotated`.
        many: say it of several: `numbers in [0, 1]`.
        outer: rules that hold for it as well.
    """
    kind, rules = opened(hint)
    rules = [*outer, *rules]
    choices = alternatives(kind)
    built = next((rule for rule in rules if isinstance(rule, (Part, Layer))), None)
    if built is not None and get_origin(kind) not in SEQUENCES:
        example = 'Name' if isinstance(built, Part) else next(iter(built.names))
        return f"dict(type='{example}', ...){' or None' if type(None) in choices else ''}"
    if len(choices) > 1:
        return ' or '.join(dict.fromkeys(words(choice, many, rules) for choice in choices))
    origin, inside = get_origin(kind) or kind, get_args(kind)
    options = inside if origin is Literal else next((r.options for r in rules if isinstance(r, Choice)), None)
    if options is not None and origin is not type(None):
        return _either([repr(option) for option in options])
    name = getattr(origin, '__name__', str(origin))
    nouns = NOUNS.get(dict if is_typeddict(kind) else origin, (f'{"an" if name[0] in "AEIOU" else "a"} {name}',) * 2)
    noun = nouns[many]
    if origin in (int, float):
        return noun + _range(rules)
    if origin not in SEQUENCES:
        return noun
    if origin is tuple and inside and inside[-1] is not Ellipsis:
        kinds = dict.fromkeys(words(item, len(inside) > 1, rules) for item in inside)
        return f'{noun} of {len(inside)} {" and ".join(kinds)}'
    return f'{noun} of {_length(rules)}{words(inside[0], True, _of_numbers(rules))}' if inside else noun


def _of_numbers(rules: Sequence[Any]) -> list[Any]:
    return [rule for rule in rules if not isinstance(rule, (MinLen, MaxLen))]


def _either(options: Sequence[str]) -> str:
    if len(options) > 12:
        return f'one of {", ".join(options[:3])}, ... ({len(options)} in all)'
    return ' or '.join(part for part in (', '.join(options[:-1]), options[-1]) if part)


def _range(rules: Sequence[Any]) -> str:
    bounds = sorted((rule for rule in rules if type(rule) in BOUNDS), key=lambda rule: [*BOUNDS].index(type(rule)))
    both = len([rule for rule in bounds if not isinstance(rule, MultipleOf)]) == 2
    texts = [BOUNDS[type(rule)][1:] for rule in bounds]
    return ''.join(text[both].format(rule) for text, rule in zip(texts, bounds, strict=True))


def _length(rules: Sequence[Any]) -> str:
    least = max((r.min_length for r in rules if isinstance(r, MinLen)), default=0)
    most = min((r.max_length for r in rules if isinstance(r, MaxLen)), default=None)
    if most is None:
        return f'{least} or more ' if least else ''
    return f'{least} ' if least == most else f'{least} to {most} ' if least else f'at most {most} '


def nearest(kind: Any, rules: Sequence[Any], value: Any) -> str:
    """' Did you mean ...?' for a name that is nearly one of the options."""
    options = [o for choice in alternatives(kind) if get_origin(choice) is Literal for o in get_args(choice)]
    options += [option for rule in rules if isinstance(rule, Choice) for option in rule.options]
    named = [option for option in options if isinstance(option, str)]
    return did_you_mean(value, named).partition(' Known:')[0] if isinstance(value, str) and named else ''
