"""The settings that decide a run, each under one name: a compiled config with its defaults filled in, in the spelling of the docs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

from mmengine.hooks import Hook
from mmengine.runner.priority import get_priority

from ...arguments import Part, Table, arguments_of, parts
from ...config.backend import BEFORE
from ...config.report import Path
from ...config.table.spread import DDP_DEFAULTS
from ...config.typed import GIVEN, registries_of
from ...optim.base_lr import scaled_lr
from ...optim.schedules import COMMON_ARGS, POLICY_ARGS, policy_lr
from ...prefetch import read_prefetch
from ...registry import BACKBONES, BATCH_AUGMENTS, DATA_SOURCES, DATASETS, HEADS, MEMORIES, NECKS, PIPELINES

MISSING = 'not set'  # what a setting is that only one of two configs has
_PLAIN = (type(None), bool, int, float, str)
_ADDRESS = re.compile(r' at 0x[0-9a-fA-F]+')  # in the repr of an object: another one in each process
PARTS = (BACKBONES, NECKS, HEADS, MEMORIES, BATCH_AUGMENTS, DATASETS, DATA_SOURCES, PIPELINES)
FLAGS = ('use_fp16', 'channels_last', 'deterministic', 'prefetch', 'find_unused_parameters', 'fsdp', 'compile')
# mmengine's name of a section -> the documented short one; the longer name first
SPELLINGS = MappingProxyType(
    {
        'optim_wrapper.optimizer': 'optimizer',
        'optim_wrapper.paramwise_options': 'optimizer.paramwise_options',
        'optim_wrapper.paramwise_cfg.paramwise_options': 'optimizer.paramwise_options',
        'optim_wrapper.layer_decay': 'optimizer.layer_decay',
        'optim_wrapper.clip_grad': 'optimizer_config.grad_clip',
        'optim_wrapper.freeze': 'optimizer_config.freeze',
        'optim_wrapper.accumulative_counts': 'optimizer_config.update_interval',
        'optim_wrapper.type': 'use_fp16',
        'optimizer_config.use_fp16': 'use_fp16',
        'optimizer.base_lr': 'optimizer.lr',
        'train_dataloader.dataset': 'data.train',
        'train_dataloader.batch_size': 'data.imgs_per_gpu',
        'train_dataloader.num_workers': 'data.workers_per_gpu',
        'train_dataloader': 'data',
        'data.img_norm_cfg': 'img_norm_cfg',
        'data.prefetch': 'prefetch',
        'data.pipeline_backend': 'pipeline_backend',
        'data.cache': 'cache',
        'train_cfg.max_epochs': 'total_epochs',
        'train_cfg.max_iters': 'total_iters',
        'default_hooks.checkpoint': 'checkpoint_config',
        'default_hooks.logger': 'log_config',
    }
)


def with_defaults(compiled: dict) -> dict[str, Any]:
    """The compiled config as lists, dicts and plain values, with what it leaves to the defaults of registered classes written out.

    Lists take the place of tuples, so that the result may be stored anywhere.
    """
    tables = dict(registries_of(compiled))
    return {name: fill_defaults(value, tables, (name,)) for name, value in compiled.items()}


def settings_of(compiled: dict, images: int) -> dict[str, Any]:
    """What `with_defaults` gave, by the short names of the documentation.

    Hooks stand under `custom_hooks.TYPE` (a second of a type under `TYPE#2`), so their order and number do not matter. What
    differs in writing only is made the same: base_lr is worked out, a warm-up that is off has no length.

    Args:
        compiled: result of `with_defaults`.
        images: per optimizer step, to which `base_lr` refers.
    """
    settings = {
        name: value
        for name, value in compiled.items()
        if name
        not in ('optim_wrapper', 'train_dataloader', 'param_scheduler', 'train_cfg', 'default_hooks', 'custom_hooks')
    }
    settings.update(_optimizer(dict(compiled.get('optim_wrapper') or {}), images))
    settings.update(_data(dict(compiled.get('train_dataloader') or {})))
    settings.update(_schedules(compiled.get('param_scheduler') or []))
    length = compiled.get('train_cfg') or {}
    settings.update(
        {f'total_{unit}': length[f'max_{unit}'] for unit in ('epochs', 'iters') if length.get(f'max_{unit}')}
    )
    slots = dict(compiled.get('default_hooks') or {})
    settings.update(
        checkpoint_config=slots.pop('checkpoint', None), log_config=slots.pop('logger', None), default_hooks=slots
    )
    settings['ddp'] = {**DDP_DEFAULTS, **(compiled.get('ddp') or {})}
    settings['custom_hooks'] = _by_type(compiled.get('custom_hooks') or [])
    return {**dict.fromkeys(FLAGS, False), **{name: value for name, value in settings.items() if value is not None}}


def short_name(key: str, hooks: list[dict]) -> str:
    """A dotted key as a user may write it -> the name that `settings_of` gives it.

    Args:
        key: in either spelling; `custom_hooks.0` is the first of `hooks`.
        hooks: the custom hooks, as `with_defaults` gives them.
    """
    for long, short in SPELLINGS.items():
        if key == long or key.startswith(f'{long}.'):
            return short_name(short + key[len(long) :], hooks)
    number = re.match(r'custom_hooks\.(\d+)', key)
    if number and int(number[1]) < len(hooks):
        names = list(_by_type(hooks[: int(number[1]) + 1]))
        return f'custom_hooks.{names[-1]}{key[number.end() :]}'
    return key


# ---- defaults ----


def fill_defaults(value: Any, tables: Mapping[Path, Table], path: Path) -> Any:
    """`value`, which stands at `path`, with the defaults of the classes of `tables`: path of a dict -> where its type is registered."""
    if isinstance(value, list | tuple):
        return [fill_defaults(item, tables, (*path, str(i))) for i, item in enumerate(value)]
    if isinstance(value, Hook):  # its arguments are not known, so it stays a text: no default is filled in
        return f'<{type(value).__name__} object>'
    if not isinstance(value, dict):
        return value if isinstance(value, _PLAIN) else _ADDRESS.sub('', repr(value))
    name = str(value.get('type')).removeprefix('selfsup.')
    # a class of a user may not declare what its parts are; checkpoints from before declarations hold the defaults of those too
    table = tables.get(path) or next((parts_of for parts_of in PARTS if name in parts_of.registered()), None)
    cls = table.find(name) if table else None
    if table is None or cls is None:
        return {str(key): fill_defaults(inner, tables, (*path, str(key))) for key, inner in value.items()}
    supplied = (*GIVEN.get(table.name, ()), *(('lr',) if 'base_lr' in value else ()))
    defaults = {} if table.name == 'sampler' else _defaults(cls, value)  # those of a sampler the loader gives
    missing = {key: default for key, default in defaults.items() if key not in value and key not in supplied}
    named, _ = arguments_of(cls)
    filled = {}
    for key, inner in {**value, **missing}.items():
        inside = parts(named[key].hint, inner, ()) if key in named else ()
        filled[str(key)] = fill_defaults(
            inner, {at: mark.registry for at, _, mark in inside if isinstance(mark, Part)}, ()
        )
    return filled


def _defaults(cls: Any, value: dict) -> dict[str, Any]:
    """Defaults of a class's arguments that a file can hold."""
    named, _ = arguments_of(cls)
    defaults = {
        name: argument.default
        for name, argument in named.items()
        if isinstance(argument.default, (*_PLAIN, list, tuple, dict))
    }
    if value.get('type') == 'PolicyLR':
        formula, _ = arguments_of(policy_lr)
        args = {name: formula[name].default for name in COMMON_ARGS} | POLICY_ARGS.get(value.get('policy', ''), {})
        defaults.update(
            {name: default for name, default in args.items() if default not in (..., inspect.Parameter.empty)}
        )
    if inspect.isclass(cls) and issubclass(cls, Hook):
        defaults['priority'] = cast(type[Hook], cls).priority
    return defaults


# ---- one name for each setting ----


def _optimizer(wrapper: dict, images: int) -> dict[str, Any]:
    optimizer = dict(wrapper.pop('optimizer', None) or {})
    for name in ('paramwise_options', 'layer_decay'):
        if wrapper.get(name):
            optimizer[name] = wrapper[name]
        wrapper.pop(name, None)
    clip, counts, freeze = (wrapper.get(name) for name in ('clip_grad', 'accumulative_counts', 'freeze'))
    config: dict[str, Any] = {'update_interval': 1 if counts is None else counts}
    if clip:
        config['grad_clip'] = {'norm_type': 2, 'per_tensor': False, **clip}
    if freeze:
        config['freeze'] = freeze
    return {
        'use_fp16': wrapper.pop('type', None) == 'AmpOptimWrapper',
        'optimizer': scaled_lr(optimizer, images),
        'optimizer_config': config,
        'optim_wrapper': {'dtype': wrapper.get('dtype'), 'loss_scale': wrapper.get('loss_scale', 'dynamic')},
    }


def _data(loader: dict) -> dict[str, Any]:
    dataset = loader.pop('dataset', None)
    prefetch, norm = read_prefetch(loader.pop('prefetch', False)), loader.pop('img_norm_cfg', None)
    backend, cache = loader.pop('pipeline_backend', BEFORE), loader.pop('cache', None)
    renamed = {'batch_size': 'imgs_per_gpu', 'num_workers': 'workers_per_gpu'}
    if isinstance(dataset, dict):
        dataset = {key: value for key, value in dataset.items() if key != 'prefetch'}  # it is the loader's
    return {
        'data': {**{renamed.get(key, key): value for key, value in loader.items()}, 'train': dataset},
        'prefetch': prefetch.on,
        'prefetch.augment_on_device': prefetch.augment,
        'prefetch.images_on_device': prefetch.images,
        'pipeline_backend': backend,
        'cache': cache,
        'img_norm_cfg': norm if prefetch.on else None,  # without prefetch the pipelines hold what counts
    }


def _schedules(schedulers: list | dict) -> dict[str, Any]:
    """`PolicyLR` and `CosineWeightDecay` by their short names; others as they are."""
    schedulers = [schedulers] if isinstance(schedulers, dict) else schedulers
    sections: dict[str, Any] = {}
    for one in schedulers:
        rest = {key: value for key, value in one.items() if key != 'type'}
        if one.get('type') == 'PolicyLR':
            off = rest.get('warmup') is None
            sections['lr_config'] = {
                key: value for key, value in rest.items() if not (off and key.startswith('warmup'))
            }
        elif one.get('type') == 'CosineWeightDecay':
            sections['weight_decay_config'] = rest
        else:
            sections.setdefault('param_scheduler', []).append(one)
    return sections


def _by_type(hooks: list[Any]) -> dict[str, dict]:
    named: dict[str, dict] = {}
    for hook in hooks:
        if isinstance(hook, str):  # an object: <Name object>, or the <module.Name object at 0x...> of earlier versions
            hook = {'type': hook.partition(' object')[0].rpartition('.')[2].removeprefix('<')}
        name = str(hook.get('type')).removeprefix('selfsup.')
        count = sum(key.partition('#')[0] == name for key in named)
        hook = {**hook, 'priority': _priority(hook.get('priority'))} if 'priority' in hook else hook
        named[f'{name}#{count + 1}' if count else name] = hook
    return named


def _priority(value: Any) -> Any:
    """A priority as a number, so that 'NORMAL' and 50 are the same."""
    try:
        return get_priority(value)
    except (TypeError, ValueError, KeyError):
        return value
