"""Config files of OpenSelfSup v0.3.0, unchanged: what they say beyond our keys, and what it means here.

Most of such a file is the short form itself. What remains are settings that named a bug, another library's switches or nothing at
all; they are translated or dropped, and one summary says which. Only spellings that those files really hold are listed: a
misspelt key stays an error.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

from ..errors import SelfSupWarning

# Variables that old files assign and sometimes do not use (in copies of a file whose other half was removed).
HELPERS = (
    'dataset_type',
    'data_source_cfg',
    'data_train_list',
    'data_train_root',
    'data_val_list',
    'data_val_root',
    'data_test_list',
    'data_test_root',
    'data_all_list',
    'data_all_root',
    'train_pipeline',
    'train_pipeline1',
    'train_pipeline2',
    'test_pipeline',
    'val_pipeline',
    'extract_pipeline',
    'format_pipeline',
    'num_classes',
    'update_interval',
    'dist_sampler',
    'split_name',
    'split_at',
)

NO_EFFECT = 'it had no effect'
# (section, key) -> why it is dropped
DROPPED = MappingProxyType(
    {
        ('dist_params', 'port'): 'the launcher chooses it (PORT or --port)',
        ('checkpoint_config', 'create_symlink'): 'latest.pth is always a link to the newest file',
        ('checkpoint_config', 'save_optimizer'): 'a checkpoint always holds the optimizer, to be resumed from',
        ('checkpoint_config', 'out_dir'): 'checkpoints go to the work dir',
        ('data', 'dist_sampler'): 'the sampler follows from the number of processes',
    }
)
# Misspelt aliases that mmcv knows.
POLICIES = MappingProxyType({'CosineAnealing': 'CosineAnnealing', 'cosineanealing': 'CosineAnnealing'})


def translate(cfg: dict[str, Any], unused: list[str]) -> dict[str, Any]:
    """`cfg` without what only OpenSelfSup read; warns once, with a line about each.

    Args:
        cfg: merged top-level config of plain dicts and lists, options applied; left unchanged.
        unused: helper variables of `HELPERS` that nothing uses.
    """
    notes: list[str] = []
    cfg = _walk(cfg, notes)
    for step in (_model, _optimizer, _schedule, _sections, _fp16, _prefetch):
        step(cfg, notes)
    if unused:
        notes.append(f'{", ".join(unused)}: assigned and not used')
    if notes:
        warnings.warn(
            'Translated from OpenSelfSup: ' + '; '.join(dict.fromkeys(notes)) + '.', SelfSupWarning, stacklevel=3
        )
    return cfg


def _walk(value: Any, notes: list[str]) -> Any:
    """Copy with what old files say inside data sources and pipelines put right, however deep it stands."""
    if isinstance(value, (list, tuple)):
        return type(value)(_walk(v, notes) for v in value)
    if not isinstance(value, dict):
        return value
    copy = {key: _walk(inner, notes) for key, inner in value.items()}
    if copy.get('memcached') is True and find_spec('mc') is None:
        copy['memcached'] = False
        copy.pop('mclient_path', None)
        notes.append('memcached=True: its client module is not installed, files are read from the disk')
    if copy.get('type') == 'GaussianBlur' and 'sigma_min' in copy and 'kernel_size' in copy:
        del copy['kernel_size']
        notes.append('GaussianBlur.kernel_size: the blur has no window, only sigma_min and sigma_max')
    return copy


def _dicts(cfg: dict[str, Any], *paths: str) -> Iterator[tuple[str, dict]]:
    for path in paths:
        here: Any = cfg
        for name in path.split('.'):
            here = here.get(name) if isinstance(here, dict) else None
        if isinstance(here, dict):
            yield path, here


def _model(cfg: dict[str, Any], notes: list[str]) -> None:
    for _, model in _dicts(cfg, 'model'):
        if model.get('type') == 'BYOL' and 'pre_conv' in model:
            del model['pre_conv']
            notes.append(f'model.pre_conv: {NO_EFFECT}')


def _optimizer(cfg: dict[str, Any], notes: list[str]) -> None:
    for path, options in _dicts(cfg, 'optimizer.paramwise_options'):
        for key in ('norm_decay_mult', 'bias_decay_mult', 'bias_lr_mult'):
            if key in options and not isinstance(options[key], dict):
                del options[key]
                notes.append(
                    f'{path}.{key}: read as the pattern of a parameter name, which none has, so {NO_EFFECT} and norms do have '
                    "weight decay; to exclude them write {'(bn|gn)(\\d+)?.(weight|bias)': dict(weight_decay=0.)}"
                )


def _schedule(cfg: dict[str, Any], notes: list[str]) -> None:
    for _, lr in _dicts(cfg, 'lr_config'):
        if isinstance(lr.get('policy'), str) and lr['policy'] in POLICIES:
            lr['policy'] = POLICIES[lr['policy']]
            notes.append("lr_config.policy: read as 'CosineAnnealing'")


def _sections(cfg: dict[str, Any], notes: list[str]) -> None:
    for (section, key), reason in DROPPED.items():
        for _, values in _dicts(cfg, section):
            if key in values:
                del values[key]
                notes.append(f'{section}.{key}: {reason}')


def _fp16(cfg: dict[str, Any], notes: list[str]) -> None:
    """Old files had to switch mixed precision on in two places; one is enough here."""
    for _, section in _dicts(cfg, 'optimizer_config'):
        if cfg.get('use_fp16') is True and section.get('use_fp16') is True:
            notes.append('use_fp16: apex O1 becomes autocast (fp16 with loss scaling on CUDA, bf16 on the CPU)')


def _prefetch(cfg: dict[str, Any], notes: list[str]) -> None:
    """Old loaders of `data.val` and `data.test` did not look at the top-level switch, so their pipelines may normalise."""
    for path, dataset in _dicts(cfg, 'data.val', 'data.test') if cfg.get('prefetch') is True else ():
        steps = dataset.get('pipeline')
        kinds = [s.get('type') for s in steps if isinstance(s, dict)] if isinstance(steps, (list, tuple)) else []
        if 'prefetch' not in dataset and 'Normalize' in kinds:
            dataset['prefetch'] = False
            notes.append(f'{path}: its own pipeline normalises, so it is read without prefetch')
