"""Compile a checked config, in whichever spelling, to the runner config: plain dicts in mmengine's spelling.

One function per section; each takes the whole config and returns the compiled keys of its section. The result is a
config file in mmengine's own form: compiling it again gives the same.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError, SelfSupWarning
from ..optim.schedules import POLICY_ARGS
from ..prefetch import as_setting
from . import keys
from .backend import default_backend
from .load import LoadedConfig
from .table.spread import COMPILE_DEFAULTS, FSDP_DEFAULTS

ITERATIONS_PER_CHECKPOINT = 1000  # of runs counted in iterations, where the config says nothing


def compile_config(loaded: LoadedConfig) -> dict[str, Any]:
    """Runner config of a loaded config file.

    Args:
        loaded: result of `load`; left unchanged.

    Returns:
        model, pretrained, train_dataloader, val_dataloader, test_dataloader, optim_wrapper, param_scheduler, train_cfg,
        default_hooks, custom_hooks, env_cfg, visualizer, log_processor, log_level, load_from, resume_from, work_dir,
        seed, default_scope, find_unused_parameters, channels_last, ddp, fsdp and compile: always all of them, lists, dicts and
        literals only.
    """
    cfg = {name: copy.deepcopy(value) for name, value in loaded.cfg.items() if value is not None}
    _warn_ignored(cfg)
    model = cfg['model']
    pretrained = model.pop('pretrained', None)
    train_cfg = _train_cfg(cfg)
    by_epoch = train_cfg['by_epoch']
    return {
        'model': model,
        'pretrained': pretrained if pretrained is not None else cfg.get('pretrained'),
        **_dataloaders(cfg),
        'optim_wrapper': _optim_wrapper(cfg),
        'param_scheduler': _param_scheduler(cfg, by_epoch),
        'train_cfg': train_cfg,
        'default_hooks': _default_hooks(cfg, by_epoch),
        'custom_hooks': list(cfg.get('custom_hooks', [])),
        'env_cfg': _env_cfg(cfg),
        'visualizer': _visualizer(cfg),
        'log_processor': {'by_epoch': by_epoch, 'mean_pattern': keys.MEAN_PATTERN, **cfg.get('log_processor', {})},
        'log_level': cfg.get('log_level', 'INFO'),
        **{name: cfg.get(name) for name in ('load_from', 'resume_from', 'work_dir', 'seed')},
        'default_scope': 'selfsup',
        **{name: cfg.get(name, False) for name in ('find_unused_parameters', 'channels_last')},
        **_spread(cfg),
    }


def _spread(cfg: dict) -> dict[str, dict | None]:
    """How the model is spread over processes and compiled; None for the plain way.

    Raises:
        ConfigError: two ways that exclude each other.
    """
    ddp = cfg.get('ddp') or None
    fsdp, compiled = _switch(cfg.get('fsdp'), FSDP_DEFAULTS), _switch(cfg.get('compile'), COMPILE_DEFAULTS)
    for name, other in (('ddp', ddp), ('compile', compiled)):
        if fsdp and other:
            raise ConfigError(f'fsdp and {name} exclude each other: leave {name} or fsdp out.')
    return {'ddp': ddp, 'fsdp': fsdp, 'compile': compiled}


def _switch(value: bool | Mapping[str, Any] | None, defaults: Mapping[str, Any]) -> dict[str, Any] | None:
    """All settings of what True or a dict, an empty one too, turns on; None where it is off."""
    if isinstance(value, Mapping):
        return {**defaults, **value}
    return dict(defaults) if value else None


def _warn_ignored(cfg: dict) -> None:
    """Name every setting that is accepted and does nothing."""
    ignored = ['gpus'] if 'gpus' in cfg else []
    ignored += [f'optimizer_config.{n}' for n in ('coalesce', 'bucket_size_mb') if n in cfg.get('optimizer_config', {})]
    for loader in ('data', 'train_dataloader', 'val_dataloader', 'test_dataloader'):
        sampler = cfg.get(loader, {}).get('sampler') or {}
        if sampler.get('type') in ('DefaultSampler', 'InfiniteSampler'):
            ignored += [f'{loader}.sampler.{n}' for n in sampler if n not in ('type', 'shuffle', 'replace')]
    for name in ignored:
        reason = (
            'the order of samples follows from the seed of the run' if '.sampler.' in name else 'it has no effect here'
        )
        warnings.warn(f'{name} is ignored: {reason}.', SelfSupWarning, stacklevel=3)


def _train_cfg(cfg: dict) -> dict:
    section = cfg.get('train_cfg', {})
    epochs = cfg.get('total_epochs') or section.get('max_epochs')
    if epochs:
        return {'by_epoch': True, 'max_epochs': epochs}
    return {'by_epoch': False, 'max_iters': cfg.get('total_iters') or section['max_iters']}


# ---- data ----


def _loader(settings: dict, dataset: dict, cfg: dict, sampler: dict, drop_last: bool, training: bool) -> dict:
    """One loader, from settings in mmengine's spelling and the defaults of the whole config."""
    asked = settings.get('prefetch', cfg.get('prefetch', False))
    of_dataset = dataset.get('prefetch', asked)
    # True is also what a compiled config says of a data set whose loader does more
    chosen: Any = asked if of_dataset is True and isinstance(asked, dict) else of_dataset
    prefetch = as_setting(chosen)
    cache = settings.get('cache', cfg.get('cache') if training else None)
    return {
        'batch_size': settings['batch_size'],
        'num_workers': settings.get('num_workers', 'auto'),
        'dataset': {**dataset, 'prefetch': True} if prefetch else dataset,
        'sampler': sampler,
        'drop_last': drop_last,
        'prefetch': prefetch,
        'img_norm_cfg': settings.get('img_norm_cfg') or cfg.get('img_norm_cfg'),
        'pipeline_backend': settings.get('pipeline_backend', cfg.get('pipeline_backend', default_backend(cfg))),
        **({'cache': cache} if cache else {}),
        **{key.path: settings[key.path] for key in keys.LOADING if key.path in settings},
    }


def _sampler(sampler: dict, shuffle: bool) -> dict:
    """A sampler with all its settings; `shuffle` where it does not say itself."""
    if sampler.get('type', 'EpochSampler') not in ('EpochSampler', 'DefaultSampler', 'InfiniteSampler'):
        return sampler
    return {
        'type': 'EpochSampler',
        'shuffle': sampler.get('shuffle', shuffle),
        'replace': sampler.get('replace', False),
    }


def _dataloaders(cfg: dict) -> dict[str, dict | None]:
    loaders: dict[str, dict | None] = {}
    data = cfg.get('data')
    for split in ('train', 'val', 'test'):
        training = split == 'train'
        if data:
            dataset = data.get(split)
            settings = {**data, 'batch_size': data['imgs_per_gpu'], 'num_workers': data.get('workers_per_gpu', 'auto')}
            sampler = (data.get('sampler') or {'replace': data.get('sampling_replace', False)}) if training else {}
            drop_last = training and data.get('drop_last', False)
        else:
            settings = cfg.get(f'{split}_dataloader', {})
            dataset = settings.get('dataset')
            sampler = settings.get('sampler', {})
            drop_last = settings.get('drop_last', False)
        loaders[f'{split}_dataloader'] = (
            _loader(settings, dataset, cfg, _sampler(sampler, training), drop_last, training) if dataset else None
        )
    return loaders


# ---- optimisation ----


def _optim_wrapper(cfg: dict) -> dict:
    if keys.is_absent(cfg, 'optim_wrapper'):
        optimizer, config = cfg['optimizer'], cfg.get('optimizer_config', {})
        fp16 = cfg.get('use_fp16', False) or config.get('use_fp16', False)
        paramwise, layer_decay = optimizer.pop('paramwise_options', None), optimizer.pop('layer_decay', None)
        kind, extra = 'AmpOptimWrapper' if fp16 else 'OptimWrapper', {}
        clip, counts, freeze = config.get('grad_clip'), config.get('update_interval', 1), config.get('freeze')
    else:
        wrapper = cfg['optim_wrapper']
        optimizer, kind = wrapper['optimizer'], wrapper.get('type', 'OptimWrapper')
        paramwise = wrapper.get('paramwise_options') or (wrapper.get('paramwise_cfg') or {}).get('paramwise_options')
        layer_decay = wrapper.get('layer_decay')
        extra = {n: wrapper[n] for n in ('dtype', 'loss_scale') if n in wrapper}
        clip, counts, freeze = wrapper.get('clip_grad'), wrapper.get('accumulative_counts', 1), wrapper.get('freeze')
    extra.update((name, value) for name, value in (('layer_decay', layer_decay), ('freeze', freeze)) if value)
    return {
        'type': kind,
        'optimizer': optimizer,
        'paramwise_options': paramwise or None,
        'clip_grad': clip,
        'accumulative_counts': counts,
        **extra,
    }


def _param_scheduler(cfg: dict, by_epoch: bool) -> list[dict]:
    schedulers = cfg.get('param_scheduler', [])
    schedulers = [schedulers] if isinstance(schedulers, dict) else list(schedulers)
    lr = cfg.get('lr_config')
    if lr:
        policy = keys.policy_name(lr['policy']) or lr['policy']
        lr = {'type': 'PolicyLR', **lr, 'policy': policy, 'by_epoch': lr.get('by_epoch', by_epoch)}
        if lr.get('warmup') is None:  # switched off by a child: the base's settings of it mean nothing
            lr = {k: v for k, v in lr.items() if not k.startswith('warmup')}
        if 'min_lr_ratio' in POLICY_ARGS[policy] and 'min_lr_ratio' not in lr:
            lr.setdefault('min_lr', 0.0)
        schedulers.append(lr)
    if cfg.get('weight_decay_config'):
        schedulers.append({'type': 'CosineWeightDecay', **cfg['weight_decay_config']})
    return schedulers


# ---- hooks and logs ----


def _default_hooks(cfg: dict, by_epoch: bool) -> dict[str, dict | None]:
    interval = 1 if by_epoch else ITERATIONS_PER_CHECKPOINT
    of_sections = {
        'logger': {'interval': cfg.get('log_config', {}).get('interval', 50)},
        'checkpoint': {'interval': interval, 'by_epoch': by_epoch, **cfg.get('checkpoint_config', {})},
    }
    hooks: dict[str, dict | None] = {}
    for slot, kind in keys.DEFAULT_HOOKS.items():
        default = {'type': kind, **of_sections.get(slot, {})} if kind else {}
        configured = cfg.get('default_hooks', {}).get(slot, default or None)
        same = configured is not None and configured.get('type', kind) == kind
        hooks[slot] = {**default, **configured} if same else configured
    return hooks


def _visualizer(cfg: dict) -> dict:
    outputs = cfg.get('log_config', {}).get('hooks')
    kinds = keys.LOGGER_BACKENDS.values() if outputs is None else [keys.LOGGER_BACKENDS[h['type']] for h in outputs]
    return {'type': 'Visualizer', 'vis_backends': [{'type': kind} for kind in kinds], **cfg.get('visualizer', {})}


def _env_cfg(cfg: dict) -> dict:
    section = cfg.get('env_cfg', {})
    return {
        **section,
        'cudnn_benchmark': section.get('cudnn_benchmark', cfg.get('cudnn_benchmark', True)),
        'dist_cfg': {'backend': 'nccl', **cfg.get('dist_params', {}), **section.get('dist_cfg', {})},
    }
