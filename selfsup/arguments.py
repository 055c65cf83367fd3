"""What an argument may be, declared once, in the signature of who takes it.

Ranges use the vocabulary of `annotated-types` (`Ge`, `Gt`, `Le`, `Lt`, `Interval`, `Len`, `MultipleOf`); this file adds what a config needs
beside them. Kinds are the type hints themselves: `int` is a whole number (True is none), `float` any finite number, `Literal[...]` a
choice, `Sequence[...]`, `list[...]` and `tuple[...]` a list or tuple whose members are checked too, `X | None` may be absent. A `TypedDict`
is a dict of such.

    def __init__(
        self,
        backbone: Annotated[dict | nn.Module, Part(BACKBONES)],
        momentum: Annotated[float, Interval(ge=0, le=1)] = 0.999,
        queue_len: Annotated[int, Ge(1)] = 65536,
        pipeline: Sequence[Annotated[dict, Part(PIPELINES)]] = (),
        norm_cfg: Annotated[dict | None, Layer(NORMS)] = None,
        backbone_name: Annotated[str, Choice(CHANNELS)] = 'resnet50',
    ) -> None: ...

Ranges that many arguments have also have a name: `Count` (a whole number from 1), `Whole` (from 0), `Positive` and `NotNegative` (any
number), `Share` (from 0 to 1, both included) and `ShareBelowOne`.

`checked` holds a function to its hints; `Registry.register_module` holds every class with it that is registered where it is written.
A hint counts only there: what other libraries write is no promise. A value that is the default itself is always allowed.
Names in a hint are looked up at run time, so they must be imported, and not only under TYPE_CHECKING. Numbers and bools of numpy
count as those of Python, its arrays are no lists.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, wraps
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints, is_typeddict

from annotated_types import MaxLen, MinLen

from .errors import ConfigError, did_you_mean
from .hints import (
    BOUNDS,
    MAPPINGS,
    SEQUENCES,
    Choice,
    Count,
    Layer,
    NotNegative,
    Part,
    Positive,
    Share,
    ShareBelowOne,
    Table,
    Whole,
    alternatives,
    nearest,
    opened,
    words,
)

__all__ = [
    'Argument',
    'Choice',
    'Count',
    'Layer',
    'NotNegative',
    'Part',
    'Positive',
    'Problem',
    'Share',
    'ShareBelowOne',
    'Table',
    'Whole',
    'arguments_of',
    'checked',
    'held',
    'members',
    'opened',
    'parts',
    'problems',
    'require',
    'words',
]

F = TypeVar('F', bound=Callable[..., Any])


class Argument(NamedTuple):
    """One argument of a class or function: what it may be, and its value where nobody gives one."""

    hint: Any
    default: Any
    required: bool


class Problem(NamedTuple):
    """A value that its hint does not allow: where it stands, from the name of the argument on, and what it must be."""

    path: tuple[str, ...]
    value: Any
    text: str


# ---- what a signature says ----


def functions_of(owner: Any) -> list[Any]:
    """What is called to make `owner`: its `__init__` and those of its parents, or the function itself."""
    if not inspect.isclass(owner):
        return [owner]
    return [vars(c)['__init__'] for c in inspect.getmro(owner) if '__init__' in vars(c) and c is not object]


@cache
def arguments_of(owner: Any) -> tuple[Mapping[str, Argument], bool]:
    """What a class or function can be called with: its arguments by name, and whether any other name is accepted too.

    `**kwargs` stand for the arguments of the next class that the parents define; they accept anything only when no parent
    names its arguments.

    Raises:
        ConfigError: a hint cannot be read.
    """
    named: dict[str, Argument] = {}
    anything = True
    functions = functions_of(owner)
    if not functions and owner.__new__ is object.__new__:  # it has no `__init__`
        return named, False
    for depth, function in enumerate(functions):
        try:
            parameters = list(_signature(function).parameters.values())[inspect.isclass(owner) :]
        except (TypeError, ValueError):  # some builtins have no signature
            return named, True
        declared = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        for p in declared:
            hint = _hints(function).get(p.name, Any)
            named.setdefault(p.name, Argument(hint, p.default, p.default is p.empty and depth == 0))
        anything = anything and not (depth and declared)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return named, False
    return named, anything


_signature = cache(inspect.signature)


@cache
def _hints(function: Any) -> dict[str, Any]:
    """Hints of a function that `checked` holds to them; {} for any other."""
    if not getattr(function, 'is_checked', False):
        return {}
    try:
        return get_type_hints(function, include_extras=True)
    except Exception as error:  # whatever the text of a hint raises where it is evaluated
        code = inspect.unwrap(function).__code__
        raise ConfigError(
            f'A hint of {function.__qualname__} ({code.co_filename}:{code.co_firstlineno}) cannot be read: {error}. Hints of '
            'registered classes are read at run time: import what they name, and not only under TYPE_CHECKING.'
        ) from None


# ---- whether a value is what a hint says ----


def problems(hint: Any, value: Any, path: tuple[str, ...]) -> Iterator[Problem]:
    """Where a value, or what is inside of it, is not what its hint says.

    Args:
        hint: with or without `Annotated`.
        value: what was given. What is inside the dict of a `Part` or `Layer` is not looked at.
        path: of the value.
    """
    kind, rules = opened(hint)
    choices = alternatives(kind)
    if len(choices) == 1:
        fits = _fits(kind, value)
        inner = list(_inner_problems(kind, value, path)) if fits else []
    else:
        tries = [list(problems(choice, value, path)) for choice in choices]
        fits = any(all(problem.path != path for problem in one) for one in tries)
        inner = min((one for one in tries if all(problem.path != path for problem in one)), key=len, default=[])
    if inner:
        yield from inner
    elif not fits or not all(_holds(rule, value) for rule in rules):
        yield Problem(path, value, f'must be {words(hint)}.{nearest(kind, rules, value)}')


def require(hint: Any, value: Any, name: str) -> None:
    """Refuse a value that is not what its hint says.

    Raises:
        ConfigError: names the value, what it is and what it must be; `name` says whose it is.
    """
    for problem in problems(hint, value, (name,)):
        raise ConfigError(f'{".".join(problem.path)}={problem.value!r}: {problem.text}')


def members(kind: Any, value: Any) -> Iterator[tuple[str, Any, Any]]:
    """What stands inside a value of a kind and has a hint of its own: key or index, hint, value."""
    origin, inside = get_origin(kind) or kind, get_args(kind)
    if is_typeddict(kind) and isinstance(value, Mapping):
        hints = get_type_hints(kind, include_extras=True)
        yield from ((name, hints[name], item) for name, item in value.items() if name in hints)
    elif origin in SEQUENCES and inside and _fits(kind, value):
        fixed = origin is tuple and inside[-1] is not Ellipsis
        for i, item in enumerate(value):
            yield str(i), inside[i if fixed else 0], item
    elif origin in MAPPINGS and inside and isinstance(value, Mapping):
        yield from ((str(name), inside[1], item) for name, item in value.items())


def parts(hint: Any, value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict, Part | Layer]]:
    """The dicts with a type in a value, however deep its hint names them: path, dict, and what the hint says that it is."""
    kind, rules = opened(hint)
    mark = next((rule for rule in rules if isinstance(rule, (Part, Layer))), None)
    if mark is not None and isinstance(value, dict):
        yield path, value, mark
    elif mark is not None and isinstance(value, list | tuple):
        yield from (((*path, str(i)), item, mark) for i, item in enumerate(value) if isinstance(item, dict))
    else:
        for choice in alternatives(kind):
            inside = members(choice, value) if opened(choice)[0] is choice else [('', choice, value)]
            for name, inner, item in inside:
                yield from parts(inner, item, (*path, name) if name else path)


def _inner_problems(kind: Any, value: Any, path: tuple[str, ...]) -> Iterator[Problem]:
    if is_typeddict(kind):
        known = get_type_hints(kind)
        for name in value:
            if name not in known:
                owner = next((part for part in reversed(path) if not part.isdecimal()), path[-1])
                text = f'is not a key of {owner}.{did_you_mean(str(name), known)}'
                yield Problem((*path, str(name)), value[name], text)
        lacking = sorted(kind.__required_keys__ - set(value))
        if lacking:
            yield Problem(path, value, f"lacks '{lacking[0]}'.{did_you_mean('', known)}")
    for name, hint, item in members(kind, value):
        yield from problems(hint, item, (*path, name))


def _fits(kind: Any, value: Any) -> bool:
    """Whether a value is of a kind; what is inside is not looked at, kinds that are not known here hold of anything."""
    origin, inside = get_origin(kind) or kind, get_args(kind)
    if origin is Literal:
        return any(_fits(type(option), value) and value == option for option in inside)
    if origin in (None, type(None)):
        return value is None
    if origin in (int, float):
        number = isinstance(value, Integral if origin is int else Real) and not isinstance(value, bool)
        return number and (isinstance(value, Integral) or math.isfinite(value))
    if origin is bool:
        return type(value).__name__ in ('bool', 'bool_')  # numpy's too, whose name depends on its version
    if origin in SEQUENCES:
        fixed = origin is tuple and inside and inside[-1] is not Ellipsis
        return isinstance(value, Sequence) and not isinstance(value, str) and (not fixed or len(value) == len(inside))
    if origin in MAPPINGS or is_typeddict(kind):
        return isinstance(value, Mapping)
    try:
        return not isinstance(origin, type) or isinstance(value, origin)
    except TypeError:  # a protocol that cannot be asked
        return True


def _holds(rule: Any, value: Any) -> bool:
    """Whether a value keeps to a rule. Rules of numbers hold for each number of a list, and leave anything else alone."""
    if isinstance(rule, (MinLen, MaxLen)):
        if not isinstance(value, (str, Sequence, Mapping)):
            return True
        return len(value) >= rule.min_length if isinstance(rule, MinLen) else len(value) <= rule.max_length
    if isinstance(value, Sequence) and not isinstance(value, str):
        return all(_holds(rule, item) for item in value)
    if isinstance(rule, Part) and isinstance(value, str):
        return rule.registry.reads_text
    if isinstance(rule, (Part, Layer)):
        return not isinstance(value, (str, Real))
    if isinstance(rule, Choice):
        return not isinstance(value, str) or value in rule.options
    if type(rule) not in BOUNDS or not isinstance(value, Real) or isinstance(value, bool):
        return True
    return BOUNDS[type(rule)][0](rule, value)


# ---- who is held to it ----


def checked(function: F) -> F:
    """Hold every call of a function, or of an `__init__`, to its hints. They are read at the first call.

    Raises:
        ConfigError: at a call; names the function (or the class that is made), the argument, what was given and what it may be.
    """
    if getattr(function, 'is_checked', False):
        return function

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        _check_call(call, args, kwargs)
        return function(*args, **kwargs)

    call.__dict__['is_checked'] = True
    return call  # type: ignore[return-value]  # it takes and gives what `function` does


def _check_call(function: Any, args: tuple, kwargs: dict) -> None:
    signature = _signature(function)
    try:
        passed = signature.bind_partial(*args, **kwargs).arguments
    except TypeError:  # an argument is unknown: the call itself says so
        return
    hints = _hints(function)
    for name, value in passed.items():
        parameter = signature.parameters[name]
        if (
            name not in hints
            or value is parameter.default
            or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ):
            continue
        owner = type(args[0]).__name__ if function.__name__ == '__init__' else function.__name__
        require(hints[name], value, f'{owner} {name}')


def held(owner: F) -> F:
    """Hold a class or function to its hints; with a class, the parents of its own package that its arguments go on to.

    Args:
        owner: a class or function; a class itself is changed, so that it stays the same object.
    """
    if not inspect.isclass(owner):
        return checked(owner)
    package = owner.__module__.partition('.')[0]
    for parent in inspect.getmro(owner):
        init = vars(parent).get('__init__')
        if init is None:
            continue
        if parent.__module__.partition('.')[0] != package:
            break
        type.__setattr__(parent, '__init__', checked(init))
        if not inspect.unwrap(init).__code__.co_flags & inspect.CO_VARKEYWORDS:
            break
    return owner
