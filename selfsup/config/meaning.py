"""Combinations of keys that cannot be meant, whatever each key says alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..errors import did_you_mean
from ..optim.options import ParamwiseOptions, freeze_problems
from ..optim.schedules import COMMON_ARGS, POLICY_ARGS, policy_problems
from .keys import LR, LR_CONFIG_KEYS, policy_name
from .report import Path, Report

MAKING_FLOATS = ('ToTensor', 'Normalize')


def check_meaning(cfg: dict, report: Report) -> None:
    """Combinations of keys that cannot be meant."""
    _check_paramwise(cfg, report)
    _check_freeze(cfg, report)
    for path in (('optimizer',), ('optim_wrapper', 'optimizer')):
        _refuse_both(
            cfg,
            (*path, 'base_lr'),
            (*path, 'lr'),
            report,
            remedy='; _delete_=True in the dict drops what a base file says',
        )
    _check_policies(cfg, report)
    _check_length(cfg, report)
    _check_fp16(cfg, report)
    _check_prefetch(cfg, report)
    _check_rest(cfg, report)


def _dict(cfg: Any, *path: str) -> dict:
    """The dict at `path`, {} where there is none."""
    for name in path:
        cfg = cfg.get(name) if isinstance(cfg, dict) else None
    return cfg if isinstance(cfg, dict) else {}


def _refuse_both(
    cfg: dict, first: Path, second: Path, report: Report, what: str = 'are both set. Keep one', remedy: str = ''
) -> None:
    """Refuse two keys of which each says what the other says."""
    values = [_dict(cfg, *path[:-1]).get(path[-1]) for path in (first, second)]
    if all(value or type(value) in (int, float) for value in values):  # a rate of 0 is set
        report.add(first, f'and {".".join(second)} {report.at(second)} {what}{remedy}.')


def _check_paramwise(cfg: dict, report: Report) -> None:
    wrapper_cfg = ('optim_wrapper', 'paramwise_cfg')
    for name in _dict(cfg, *wrapper_cfg):
        if name != 'paramwise_options':
            report.add(
                (*wrapper_cfg, name),
                "is not supported. Write paramwise_cfg=dict(paramwise_options={'(bn|gn)(\\d+)?.(weight|bias)': "
                "dict(weight_decay=0.), 'bias': dict(weight_decay=0.)}).",
            )
    for path in (('optimizer',), ('optim_wrapper',), wrapper_cfg):
        for pattern, values in _dict(cfg, *path, 'paramwise_options').items():
            here = (*path, 'paramwise_options', str(pattern))
            try:
                re.compile(pattern)
            except (re.error, TypeError) as error:
                report.add(here, f'is not a regular expression: {error}.')
            if path == wrapper_cfg:  # the key table has no rows for it, to say the keys once
                report.check(here, ParamwiseOptions, values)


def _check_freeze(cfg: dict, report: Report) -> None:
    for path in (('optimizer_config',), ('optim_wrapper',)):
        rules = _dict(cfg, *path).get('freeze')
        for i, rule in enumerate(rules if isinstance(rules, list | tuple) else ()):
            if isinstance(rule, dict) and isinstance(rule.get('parameters'), str):
                for problem in freeze_problems(rule):
                    report.add((*path, 'freeze', str(i)), problem)


def _check_policies(cfg: dict, report: Report) -> None:
    _check_policy(('lr_config',), _dict(cfg, 'lr_config'), report)
    schedulers = cfg.get('param_scheduler')
    for i, scheduler in enumerate(schedulers if isinstance(schedulers, (list, tuple)) else [schedulers]):
        if isinstance(scheduler, dict) and scheduler.get('type') == 'PolicyLR':
            _check_policy(('param_scheduler', str(i)), scheduler, report)


def _check_policy(path: Path, lr: dict, report: Report) -> None:
    """The arguments that a policy and its warm-up have; the key table holds their kinds."""
    if not isinstance(lr.get('policy'), str):
        return
    policy = policy_name(lr['policy'])
    for name, text in policy_problems({**lr, 'policy': policy or lr['policy']}):
        report.add((*path, name), text, lr[name])
    for name in lr.keys() & LR.keys():  # those of a PolicyLR have no rows in the key table
        report.check((*path, name), LR[name], lr[name])
    of_policy = POLICY_ARGS.get(policy or '', LR_CONFIG_KEYS)
    for name in lr:
        if name in LR_CONFIG_KEYS and name not in (*of_policy, *COMMON_ARGS):
            report.add((*path, name), f"is not an argument of policy '{policy}'.{did_you_mean(name, of_policy)}")
    if policy and 'min_lr' in lr and 'min_lr_ratio' in lr:
        report.add((*path, 'min_lr'), 'and min_lr_ratio say the same. Keep one.')


def _check_length(cfg: dict, report: Report) -> None:
    _refuse_both(cfg, ('total_iters',), ('total_epochs',), report)
    train = _dict(cfg, 'train_cfg')
    by_epoch = 'max_epochs' in train
    if train and by_epoch == ('max_iters' in train):
        report.add(('train_cfg',), 'needs one of max_epochs and max_iters.')
    elif train and (
        train.get('by_epoch', by_epoch) is not by_epoch
        or train.get('type') == ('IterBasedTrainLoop' if by_epoch else 'EpochBasedTrainLoop')
    ):
        limited, counted = ('epochs', 'iterations') if by_epoch else ('iters', 'epochs')
        report.add(('train_cfg',), f'gives max_{limited} but says that it counts {counted}.')
    if cfg.get('test_cfg') not in (None, {}):
        report.add(('test_cfg',), 'has no effect. Remove it, or write test_cfg = {}.')


def _check_fp16(cfg: dict, report: Report) -> None:
    inner = _dict(cfg, 'optimizer_config')
    if 'use_fp16' in cfg and 'use_fp16' in inner and cfg['use_fp16'] is not inner['use_fp16']:
        path = ('optimizer_config', 'use_fp16')
        text = f'and {".".join(path)}={inner["use_fp16"]} {report.at(path)} contradict each other.'
        report.add(('use_fp16',), text, cfg['use_fp16'])


def _on(prefetch: Any) -> bool:
    return isinstance(prefetch, dict) or bool(prefetch)


def _check_prefetch(cfg: dict, report: Report) -> None:
    for path in (('prefetch',), *((f'{split}_dataloader', 'prefetch') for split in ('train', 'val', 'test'))):
        switches = _dict(cfg, *path)
        if switches.get('images_on_device') and not switches.get('augment_on_device'):
            report.add(
                (*path, 'images_on_device'),
                'needs augment_on_device=True: the views are then made on the device too.',
                True,
            )
    for path, dataset, settings in _read_by_loaders(cfg):
        if dataset and _on(dataset.get('prefetch', settings.get('prefetch'))):
            _check_prefetched(path, dataset, settings, report)
    hooks = cfg.get('custom_hooks')
    # Each hook says itself how its data are read.
    for i, hook in enumerate(hooks if isinstance(hooks, (list, tuple)) else ()):
        for path in (('custom_hooks', str(i)), ('custom_hooks', str(i), 'extractor')):
            settings = _dict(hook, *path[2:])
            dataset, here = _dict(settings, 'dataset'), (*path, 'dataset')
            if dataset and _on(settings.get('prefetch')):
                _check_prefetched(here, dataset, settings, report)
            elif _on(dataset.get('prefetch')):
                report.add(
                    (*here, 'prefetch'),
                    f'but {".".join(path)} does not normalise what it reads: write prefetch=True and '
                    'img_norm_cfg=dict(mean=[...], std=[...]) beside dataset.',
                    True,
                )


def _read_by_loaders(cfg: dict) -> Iterator[tuple[Path, dict, dict]]:
    """Path of every data set, the data set, and the settings of its loader."""
    for split in ('train', 'val', 'test'):
        yield ('data', split), _dict(cfg, 'data', split), cfg
        loader = f'{split}_dataloader'
        yield (loader, 'dataset'), _dict(cfg, loader, 'dataset'), {**cfg, **_dict(cfg, loader)}


def _check_prefetched(path: Path, dataset: dict, settings: dict, report: Report) -> None:
    """A data set that a loader normalises: it knows by which mean and std, and by one of each."""
    norm = settings.get('img_norm_cfg')
    floats = False  # some pipeline makes floats itself, and so says what is to be done
    for name, steps in dataset.items():
        for i, step in enumerate(steps if 'pipeline' in name and isinstance(steps, (list, tuple)) else ()):
            if not isinstance(step, dict) or step.get('type') not in MAKING_FLOATS:
                continue
            floats = True
            if (
                step['type'] == 'Normalize'
                and isinstance(norm, dict)
                and any(_differ(step, norm, key) for key in ('mean', 'std'))
            ):
                report.add(
                    (*path, name, str(i)),
                    f'has mean={step.get("mean")} and std={step.get("std")}, but img_norm_cfg has mean={norm.get("mean")} and '
                    f'std={norm.get("std")}: with prefetch the loader normalises all images alike. Keep one of them.',
                )
    if not norm and not floats:
        report.add(
            path,
            'is read with prefetch=True, which needs img_norm_cfg = dict(mean=[...], std=[...]) or a Normalize at the end of its pipeline.',
        )


def _differ(step: dict, norm: dict, key: str) -> bool:
    """True where both give lists, and these differ."""
    values = [list(one[key]) if isinstance(one.get(key), (list, tuple)) else None for one in (step, norm)]
    return None not in values and values[0] != values[1]


def _check_rest(cfg: dict, report: Report) -> None:
    workflow = cfg.get('workflow')
    if workflow is not None and [tuple(w) if isinstance(w, (list, tuple)) else w for w in workflow] != [('train', 1)]:
        report.add(('workflow',), "must be [('train', 1)]; validate with ValidateHook in custom_hooks.", workflow)
    _refuse_both(
        cfg, ('data', 'sampler'), ('data', 'sampling_replace'), report, 'both say how samples are drawn. Keep one'
    )
    _refuse_both(cfg, ('pretrained',), ('model', 'pretrained'), report)
    _refuse_both(cfg, ('visualizer',), ('log_config', 'hooks'), report, 'both say where values are logged. Keep one')
