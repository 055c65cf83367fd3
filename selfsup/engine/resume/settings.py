"""The settings that decide a run, each under one name: a compiled config with its defaults filled in, in the spelling of the docs."""

from __future__ import annotations

import inspect
import re
from types import MappingProxyType
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner.priority import get_priority

from ... import registry as registries
from ...config.arguments import GIVEN, slot_registry
from ...optim.base_lr import scaled_lr
from ...optim.schedules import COMMON_ARGS, POLICY_ARGS

MISSING = 'not set'  # what a setting is that only one of two configs has
_PLAIN = (type(None), bool, int, float, str)
FLAGS = ('use_fp16', 'channels_last', 'deterministic', 'prefetch', 'find_unused_parameters')
_TOP = MappingProxyType({'model': 'MODELS', 'custom_hooks': 'HOOKS'})
# mmengine's name of a section -> the documented short one; the longer name first
SPELLINGS = MappingProxyType(
    {
        'optim_wrapper.optimizer': 'optimizer',
        'optim_wrapper.paramwise_options': 'optimizer.paramwise_options',
        'optim_wrapper.paramwise_cfg.paramwise_options': 'optimizer.paramwise_options',
        'optim_wrapper.layer_decay': 'optimizer.layer_decay',
        'optim_wrapper.clip_grad': 'optimizer_config.grad_clip',
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
    found = {
        name: _fill(value, _TOP.get(name) or slot_registry(name))
        for name, value in compiled.items()
        if name != 'default_hooks'
    }
    slots = compiled.get('default_hooks') or {}
    return {**found, 'default_hooks': {slot: _fill(hook, 'HOOKS') for slot, hook in slots.items()}}


def settings_of(compiled: dict, images: int) -> dict[str, Any]:
    """What `with_defaults` gave, by the short names of the documentation.

    Hooks stand under `custom_hooks.TYPE` (a second of a type under `TYPE#2`), so their order and number do not matter. What
    differs in writing only is made the same: base_lr is worked out, a warm-up that is off has no length.

    Args:
        compiled: result of `with_defaults`.
        images: per optimizer step, to which `base_lr` refers.
    """
    found = {
        name: value
        for name, value in compiled.items()
        if name
        not in ('optim_wrapper', 'train_dataloader', 'param_scheduler', 'train_cfg', 'default_hooks', 'custom_hooks')
    }
    found.update(_optimizer(dict(compiled.get('optim_wrapper') or {}), images))
    found.update(_data(dict(compiled.get('train_dataloader') or {})))
    found.update(_schedules(compiled.get('param_scheduler') or []))
    length = compiled.get('train_cfg') or {}
    found.update({f'total_{unit}': length[f'max_{unit}'] for unit in ('epochs', 'iters') if length.get(f'max_{unit}')})
    slots = dict(compiled.get('default_hooks') or {})
    found.update(
        checkpoint_config=slots.pop('checkpoint', None), log_config=slots.pop('logger', None), default_hooks=slots
    )
    found['custom_hooks'] = _by_type(compiled.get('custom_hooks') or [])
    return {**dict.fromkeys(FLAGS, False), **{name: value for name, value in found.items() if value is not None}}


def short_name(key: str, hooks: list[dict]) -> str:
    """A dotted key as a user may write it -> the name that `settings_of` gives it.

    Args:
        key: in either spelling; `custom_hooks.0` is the first of `hooks`.
        hooks: the config's custom hooks.
    """
    for own, short in SPELLINGS.items():
        if key == own or key.startswith(f'{own}.'):
            return short_name(short + key[len(own) :], hooks)
    number = re.match(r'custom_hooks\.(\d+)', key)
    if number and int(number[1]) < len(hooks):
        names = list(_by_type(hooks[: int(number[1]) + 1]))
        return f'custom_hooks.{names[-1]}{key[number.end() :]}'
    return key


# ---- defaults ----


def _fill(value: Any, registry: str | None) -> Any:
    if isinstance(value, list | tuple):
        return [_fill(item, registry) for item in value]
    if not isinstance(value, dict):
        return value if isinstance(value, _PLAIN) else repr(value)
    found = {str(key): _fill(inner, slot_registry(str(key))) for key, inner in value.items()}
    cls = _class_of(found, registry)
    if cls is not None and registry != 'SAMPLERS':  # theirs the loader gives
        given = (*GIVEN.get(registry, ()), *(('lr',) if 'base_lr' in found else ()))
        for name, default in _defaults(cls, found).items():
            if name not in found and name not in given:
                found[name] = _fill(default, slot_registry(name))
    return found


def _class_of(value: dict, registry: str | None) -> Any:
    """The registered class or function that a dict with a `type` builds; None where it builds nothing that is known."""
    name = value.get('type')
    return (
        getattr(registries, registry).find(name.removeprefix('selfsup.'))
        if registry and isinstance(name, str)
        else None
    )


def _defaults(cls: Any, value: dict) -> dict[str, Any]:
    """Defaults of a class's arguments; `**kwargs` stand for those of the next class that the parents define."""
    inits = (
        [c.__init__ for c in inspect.getmro(cls) if '__init__' in vars(c) and c is not object]
        if inspect.isclass(cls)
        else [cls]
    )
    found: dict[str, Any] = {}
    seen: set[str] = set()
    for init in inits:
        try:
            parameters = list(inspect.signature(init).parameters.values())
        except (TypeError, ValueError):  # some builtins have no signature
            break
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in seen]
        found.update((p.name, p.default) for p in named if isinstance(p.default, (*_PLAIN, list, tuple, dict)))
        seen.update(p.name for p in named)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    if value.get('type') == 'PolicyLR':
        common = {'by_epoch': True, 'warmup': None, 'warmup_iters': 0, 'warmup_ratio': 0.1, 'warmup_by_epoch': False}
        own = POLICY_ARGS.get(value.get('policy'), {})
        found.update(
            {**{k: v for k, v in common.items() if k in COMMON_ARGS}, **{k: v for k, v in own.items() if v is not ...}}
        )
    if inspect.isclass(cls) and issubclass(cls, Hook):
        found['priority'] = cls.priority
    return found


# ---- one name for each setting ----


def _optimizer(wrapper: dict, images: int) -> dict[str, Any]:
    optimizer = dict(wrapper.pop('optimizer', None) or {})
    for name in ('paramwise_options', 'layer_decay'):
        if wrapper.get(name):
            optimizer[name] = wrapper[name]
        wrapper.pop(name, None)
    clip, counts = wrapper.pop('clip_grad', None), wrapper.pop('accumulative_counts', 1)
    return {
        'use_fp16': wrapper.pop('type', None) == 'AmpOptimWrapper',
        'optimizer': scaled_lr(optimizer, images),
        'optimizer_config': {'update_interval': counts, **({'grad_clip': {'norm_type': 2, **clip}} if clip else {})},
        'optim_wrapper': {'dtype': wrapper.get('dtype'), 'loss_scale': wrapper.get('loss_scale', 'dynamic')},
    }


def _data(loader: dict) -> dict[str, Any]:
    dataset = loader.pop('dataset', None)
    prefetch, norm = loader.pop('prefetch', False), loader.pop('img_norm_cfg', None)
    renamed = {'batch_size': 'imgs_per_gpu', 'num_workers': 'workers_per_gpu'}
    if isinstance(dataset, dict):
        dataset = {key: value for key, value in dataset.items() if key != 'prefetch'}  # it is the loader's
    return {
        'data': {**{renamed.get(key, key): value for key, value in loader.items()}, 'train': dataset},
        'prefetch': prefetch,
        'img_norm_cfg': norm if prefetch else None,
    }  # without prefetch the pipelines hold what counts


def _schedules(schedulers: list | dict) -> dict[str, Any]:
    """`PolicyLR` and `CosineWeightDecay` by their short names; others as they are."""
    schedulers = [schedulers] if isinstance(schedulers, dict) else schedulers
    found: dict[str, Any] = {}
    for one in schedulers:
        rest = {key: value for key, value in one.items() if key != 'type'}
        if one.get('type') == 'PolicyLR':
            off = rest.get('warmup') is None
            found['lr_config'] = {key: value for key, value in rest.items() if not (off and key.startswith('warmup'))}
        elif one.get('type') == 'CosineWeightDecay':
            found['weight_decay_config'] = rest
        else:
            found.setdefault('param_scheduler', []).append(one)
    return found


def _by_type(hooks: list[dict]) -> dict[str, dict]:
    found: dict[str, dict] = {}
    for hook in hooks:
        name = str(hook.get('type')).removeprefix('selfsup.')
        count = sum(key.partition('#')[0] == name for key in found)
        hook = {**hook, 'priority': _priority(hook.get('priority'))} if 'priority' in hook else hook
        found[f'{name}#{count + 1}' if count else name] = hook
    return found


def _priority(value: Any) -> Any:
    """A priority as a number, so that 'NORMAL' and 50 are the same."""
    try:
        return get_priority(value)
    except (TypeError, ValueError, KeyError):
        return value
