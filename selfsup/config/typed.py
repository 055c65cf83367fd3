"""Check dicts with a `type`: does the name exist, and are the arguments what the signature of its class says?

Which registry a dict inside of another means is said by the signature of the class that takes it, with `Part`. A dict under an argument
without a `Part` is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

from .. import registry as registries
from ..arguments import Layer, Table, arguments_of, parts
from ..errors import ConfigError, did_you_mean
from . import keys
from .report import Path, Report

# Registry -> arguments that its builder passes itself.
GIVEN = MappingProxyType(
    {
        'optimizer': ('params',),
        'parameter scheduler': ('optimizer', 'iters_per_epoch', 'max_iters', 'update_interval'),
        'sampler': ('dataset',),
    }
)
# Registry -> keys that its builder takes out before it builds.
TAKEN = MappingProxyType({'hook': ('priority',), 'parameter scheduler': ('convert_to_iter_based',)})
# What a config may say of types whose signature says something else.
NAMED = MappingProxyType(
    {
        'PolicyLR': keys.LR_CONFIG_KEYS,
        'EpochSampler': ('shuffle', 'replace'),
        'RepeatAugSampler': ('num_repeats', 'shuffle'),
        'WindowSampler': ('window',),
    }
)


def registry_of(name: str) -> Table:
    """The registry that the key table calls `name`."""
    return getattr(registries, name)


def registries_of(cfg: dict[str, Any]) -> Iterator[tuple[Path, Table]]:
    """Path of every dict whose type the key table looks up in a registry, and the registry; without those inside of such a dict."""
    for key in keys.all_keys():
        top, *rest = key.path.split('.')
        for name in (top, *(alias for alias, row in keys.ALIASES.items() if row == top)) if key.registry else ():
            value: Any = cfg
            for part in (name, *rest):
                value = value.get(part) if isinstance(value, dict) else None
            indices = [(str(i),) for i in range(len(value))] if isinstance(value, list | tuple) else [()]
            yield from (((name, *rest, *index), registry_of(key.registry)) for index in indices)


def check_typed(
    path: Path,
    value: Any,
    registry: Table,
    report: Report,
    extra: tuple[str, ...] = (),
    default_type: str | None = None,
) -> None:
    """Check `dict(type=..., arguments)`, or a list of them, and everything inside.

    Args:
        path: where it stands.
        value: the dict or list; anything else is left to its owner.
        registry: where the type is looked up.
        report: takes the problems.
        extra: keys allowed beside the arguments of the type.
        default_type: type of a dict that does not say one.
    """
    if isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            if isinstance(item, dict):
                check_typed((*path, str(i)), item, registry, report, extra)
            else:
                report.add((*path, str(i)), "must be dict(type='Name', ...).", item)
    elif isinstance(value, dict):
        name = value.get('type', default_type)
        if name is None:
            report.add(path, f'lacks its type: which {registry.name}?{did_you_mean("", registry.names())}')
        elif not isinstance(name, str):
            if is_literal(name):  # anything else is reported as no literal
                report.add((*path, 'type'), f'must be the name of a {registry.name}, in quotes.', name)
        else:
            _check_type(path, value, name, registry, report, extra)


def _check_type(path: Path, value: dict, name: str, registry: Table, report: Report, extra: tuple[str, ...]) -> None:
    if registry.name == 'hook' and 'priority' in value:
        _check_priority((*path, 'priority'), value['priority'], report)
    cls = registry.find(name.removeprefix('selfsup.'))
    if cls is None:
        article = 'an' if registry.name[0] in 'aeiou' else 'a'
        near = did_you_mean(name, registry.names())
        report.add((*path, 'type'), f'is not {article} {registry.name}.{near}', name)
        return
    try:
        named, anything = arguments_of(cls)
    except ConfigError as error:
        report.add((*path, 'type'), f'cannot be used. {error}', name)
        return
    supplied = GIVEN.get(registry.name, ())
    accepted = NAMED[name] if name in NAMED else [argument for argument in named if argument not in supplied]
    allowed = {*accepted, *extra, *TAKEN.get(registry.name, ()), 'type'}
    offered = [*accepted, *(key for key in extra if key in ('base_lr', 'layer_decay'))]
    for key, inner in value.items():
        here = (*path, str(key))
        if key not in allowed and not anything:
            near = did_you_mean(str(key), offered)
            report.add(here, f'is not an argument of {name}.{near}{report.inherited(path, key)}')
        elif key in named and inner is not named[key].default:
            check_argument(here, inner, named[key].hint, report)
    for key, argument in named.items():
        instead = key == 'lr' and 'base_lr' in extra and 'base_lr' in value
        if argument.required and key not in value and key not in supplied and not instead:
            report.add(path, f"lacks '{key}', which {name} needs.")


def check_argument(path: Path, value: Any, hint: Any, report: Report) -> None:
    """Check an argument against its hint, and every part inside against its registry."""
    report.check(path, hint, value)
    for here, inner, mark in parts(hint, value, path):
        if isinstance(mark, Layer):
            _check_layer(here, inner, tuple(mark.names), report)
        else:
            check_typed(here, inner, mark.registry, report)


def is_literal(value: Any) -> bool:
    """True for what a config file may hold: None, bool, int, float, str, and dicts, lists and tuples of such."""
    if isinstance(value, dict):
        return all(is_literal(inner) for inner in value.values())
    if isinstance(value, list | tuple):
        return all(is_literal(inner) for inner in value)
    return type(value) in (type(None), bool, int, float, str)


def _check_priority(path: Path, value: Any, report: Report) -> None:
    """When a hook is called among others: one of mmengine's names, or 0 (first) to 100."""
    from mmengine.runner.priority import Priority

    names = list(Priority.__members__)
    number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 100
    if not number and not (isinstance(value, str) and value.upper() in names):
        near = did_you_mean(value.upper(), names) if isinstance(value, str) else f' Known: {", ".join(names)}.'
        report.add(path, f'must be a name or a number from 0 (first) to 100.{near}', value)


def _check_layer(path: Path, value: dict, known: tuple[str, ...], report: Report) -> None:
    """Types that mmcv and torch know, and those that are registered."""
    name = value.get('type')
    if name is None:
        report.add(path, f'lacks its type, such as {known[0]!r}.')
    elif isinstance(name, str) and name not in known and not registry_of('MODELS').find(name):
        kind = path[-1].removesuffix('_cfg')
        report.add((*path, 'type'), f'is not a {kind} layer.{did_you_mean(name, known)}', name)
