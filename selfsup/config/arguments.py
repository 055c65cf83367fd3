"""Check dicts with a `type` against the registries: does the name exist, and do its arguments?"""

from __future__ import annotations

import inspect
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..errors import did_you_mean
from . import keys

if TYPE_CHECKING:
    from .check import Report

# Key -> registry of what a dict (or each dict of a list) under it builds, wherever the key stands inside a typed dict.
SLOTS = MappingProxyType(
    {
        'backbone': 'BACKBONES',
        'neck': 'NECKS',
        'decoder': 'NECKS',
        'head': 'HEADS',
        'predictor': 'NECKS',
        'memory_bank': 'MEMORIES',
        'mixup': 'BATCH_AUGMENTS',
        'data_source': 'DATA_SOURCES',
        'dataset': 'DATASETS',
        'datasets': 'DATASETS',
        'train': 'DATASETS',
        'val': 'DATASETS',
        'test': 'DATASETS',
        'sampler': 'SAMPLERS',
        'transforms': 'PIPELINES',
        'format_pipeline': 'PIPELINES',
        'optimizer': 'OPTIMIZERS',
        'param_scheduler': 'PARAM_SCHEDULERS',
    }
)
# Dicts under these keys, inside other types, may also be plain settings without a type.
UNTYPED = ('predictor', 'optimizer', 'param_scheduler')
SECTIONS = (('optimizer',), ('optim_wrapper', 'optimizer'), ('param_scheduler',))
# Arguments that the builder passes itself.
GIVEN = MappingProxyType(
    {
        'OPTIMIZERS': ('params',),
        'PARAM_SCHEDULERS': ('optimizer', 'iters_per_epoch', 'max_iters', 'update_interval'),
        'SAMPLERS': ('dataset',),
    }
)
# Keys that the builder takes out before it builds.
TAKEN = MappingProxyType({'HOOKS': ('priority',), 'PARAM_SCHEDULERS': ('convert_to_iter_based',)})
# What a config may say of types whose signature says something else.
NAMED = MappingProxyType(
    {
        'PolicyLR': keys.LR_CONFIG_KEYS,
        'EpochSampler': ('shuffle', 'replace'),
        'RepeatAugSampler': ('num_repeats', 'shuffle'),
    }
)
# Layer types that mmcv and torch know; other names are looked up among the registered ones.
LAYERS = MappingProxyType(
    {
        'norm_cfg': ('BN', 'BN1d', 'BN2d', 'BN3d', 'SyncBN', 'GN', 'LN', 'LN2d', 'IN', 'IN1d', 'IN2d', 'IN3d'),
        'conv_cfg': ('Conv', 'Conv1d', 'Conv2d', 'Conv3d', 'ConvWS', 'ConvAWS'),
    }
)


def slot_registry(key: str) -> str | None:
    """Registry of what stands under `key`; any key with `pipeline` in front is a list of pipeline steps."""
    return 'PIPELINES' if key.startswith('pipeline') else SLOTS.get(key)


def check_typed(
    path: tuple[str, ...],
    value: Any,
    registry: str,
    report: Report,
    extra: tuple[str, ...] = (),
    default_type: str | None = None,
) -> None:
    """Check `dict(type=..., arguments)`, or a list of them, and everything inside.

    Args:
        path: where it stands.
        value: the dict or list; anything else is left to its owner.
        registry: name of the registry in `selfsup.registry`.
        report: takes the problems.
        extra: keys allowed beside the arguments of the type.
        default_type: type of a dict that does not say one.
    """
    if isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            if isinstance(item, dict):
                check_typed((*path, str(i)), item, registry, report, extra)
            else:
                report.add((*path, str(i)), f"={item!r} {report.at((*path, str(i)))} must be dict(type='Name', ...).")
    elif isinstance(value, dict):
        name = value.get('type', default_type)
        if name is not None:
            _check_type(path, value, name, registry, report, extra)
        elif path[-1] not in UNTYPED or path in SECTIONS:
            table = _registry(registry)
            report.add(path, f' {report.at(path)} lacks its type: which {table.name}?{did_you_mean("", table.names())}')
        _check_inside(path, value, report)


def _registry(name: str) -> Any:
    from .. import registry

    return getattr(registry, name)


def _check_type(
    path: tuple[str, ...], value: dict, name: Any, registry: str, report: Report, extra: tuple[str, ...]
) -> None:
    table = _registry(registry)
    if not isinstance(name, str):
        if is_literal(name):  # anything else is reported as no literal
            report.add(
                (*path, 'type'),
                f'={name!r} {report.at((*path, "type"))} must be the name of a {table.name}, in quotes.',
            )
        return
    if registry == 'HOOKS' and 'priority' in value:
        _check_priority((*path, 'priority'), value['priority'], report)
    cls = table.find(name.removeprefix('selfsup.'))
    if cls is None:
        article = 'an' if table.name[0] in 'aeiou' else 'a'
        report.add(
            (*path, 'type'),
            f"='{name}' {report.at((*path, 'type'))} is not {article} {table.name}.{did_you_mean(name, table.names())}",
        )
        return
    accepted, required, anything = arguments(cls)
    given = GIVEN.get(registry, ())
    accepted = [*NAMED[name]] if name in NAMED else [a for a in accepted if a not in given]
    allowed = {*accepted, *extra, *TAKEN.get(registry, ()), 'type'}
    offered = [*accepted, *(name for name in extra if name in ('base_lr', 'layer_decay'))]
    for key in value:
        if key not in allowed and not anything:
            report.add(
                (*path, key),
                f' {report.at((*path, key))} is not an argument of {name}.{did_you_mean(str(key), offered)}'
                f'{report.inherited(path, key)}',
            )
    for key in required:
        if key not in value and key not in given and not (key == 'lr' and 'base_lr' in extra and 'base_lr' in value):
            report.add(path, f" {report.at(path)} lacks '{key}', which {name} needs.")


def is_literal(value: Any) -> bool:
    """True for what a config file may hold: None, bool, int, float, str, and dicts, lists and tuples of such."""
    if isinstance(value, dict):
        return all(is_literal(inner) for inner in value.values())
    if isinstance(value, list | tuple):
        return all(is_literal(inner) for inner in value)
    return type(value) in (type(None), bool, int, float, str)


def _check_priority(path: tuple[str, ...], value: Any, report: Report) -> None:
    """When a hook is called among others: one of mmengine's names, or 0 (first) to 100."""
    from mmengine.runner.priority import Priority

    names = list(Priority.__members__)
    number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 100
    if not number and not (isinstance(value, str) and value.upper() in names):
        near = did_you_mean(value.upper(), names) if isinstance(value, str) else f' Known: {", ".join(names)}.'
        report.add(path, f'={value!r} {report.at(path)} must be a name or a number from 0 (first) to 100.{near}')


def arguments(cls: Any) -> tuple[list[str], list[str], bool]:
    """What a registered class or function can be called with.

    Returns:
        Names accepted, names required, and whether any other name is accepted too. `**kwargs` stand for the arguments of
        the next class that the parents define; they accept anything only when no parent names its arguments.
    """
    inits = (
        [c.__init__ for c in inspect.getmro(cls) if '__init__' in vars(c) and c is not object]
        if inspect.isclass(cls)
        else [cls]
    )
    accepted: list[str] = []
    required: list[str] = []
    for depth, init in enumerate(inits):
        try:
            parameters = list(inspect.signature(init).parameters.values())
        except (TypeError, ValueError):  # some builtins have no signature
            return accepted, required, True
        parameters = parameters[1:] if inspect.isclass(cls) else parameters
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        accepted += [p.name for p in named if p.name not in accepted]
        if depth == 0:
            required = [p.name for p in named if p.default is p.empty]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return accepted, required, False
        if depth > 0 and not named:  # a base such as nn.Module that takes anything and says nothing
            break
    own = inits[1:]
    return accepted, required, not any(_names_arguments(init) for init in own)


def _names_arguments(init: Any) -> bool:
    try:
        parameters = list(inspect.signature(init).parameters.values())[1:]
    except (TypeError, ValueError):
        return False
    return any(p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) for p in parameters)


def _check_inside(path: tuple[str, ...], value: Any, report: Report) -> None:
    """Find typed dicts among the arguments, however deep."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        if not isinstance(inner, (dict, list, tuple)):
            continue
        here = (*path, str(key))
        registry = slot_registry(str(key))
        if key == 'paramwise_options':
            continue
        if registry:
            check_typed(here, inner, registry, report)
        elif key in LAYERS and isinstance(inner, dict):
            _check_layer(here, inner, LAYERS[key], report)
        else:
            _check_inside(here, inner, report)


def _check_layer(path: tuple[str, ...], value: dict, known: tuple[str, ...], report: Report) -> None:
    name = value.get('type')
    if name is None:
        report.add(path, f' {report.at(path)} lacks its type, such as {known[0]!r}.')
    elif isinstance(name, str) and name not in known and name not in _registry('MODELS'):
        kind = path[-1].removesuffix('_cfg')
        report.add(
            (*path, 'type'), f"='{name}' {report.at((*path, 'type'))} is not a {kind} layer.{did_you_mean(name, known)}"
        )
