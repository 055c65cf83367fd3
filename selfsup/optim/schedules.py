"""Learning rates and momenta as closed formulas: the value at an iteration depends on nothing that came before.

The policies and their warm-up are those that the OpenSelfSup guide documents (mmcv's `lr_config`): the regular rate is
constant within an epoch when `by_epoch`, and the warm-up multiplies the CURRENT regular rate, so a linear warm-up climbs
along an already decaying curve. `WarmupCosine` is that of the masked methods instead: it changes with every optimizer step, and
its cosine begins where the warm-up ends.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Literal, TypedDict

from ..arguments import Count, NotNegative, Positive, Share, Whole, require
from ..errors import ConfigError, did_you_mean

# Name -> its own arguments with their defaults; a default of ... means that it must be given.
POLICY_ARGS: dict[str, dict[str, Any]] = {
    'fixed': {},
    'step': {'step': ..., 'gamma': 0.1, 'min_lr': None},
    'exp': {'gamma': ...},
    'poly': {'power': 1.0, 'min_lr': 0.0},
    'inv': {'gamma': ..., 'power': 1.0},
    'CosineAnnealing': {'min_lr': None, 'min_lr_ratio': None},
    'WarmupCosine': {
        'min_lr': None,
        'min_lr_ratio': None,
        'reach_end': False,
        'reach_peak': False,
        'skip_start': False,
    },
}
COMMON_ARGS = ('policy', 'by_epoch', 'warmup', 'warmup_iters', 'warmup_ratio', 'warmup_by_epoch')


class Schedule(TypedDict, total=False):
    """What each key of an `lr_config` may be, whatever the policy."""

    policy: str
    by_epoch: bool
    step: Count | list[Count]
    gamma: Positive
    power: NotNegative
    min_lr: NotNegative
    min_lr_ratio: NotNegative
    reach_end: bool
    reach_peak: bool
    skip_start: bool
    warmup: Literal['constant', 'linear', 'exp'] | None
    warmup_iters: Whole
    warmup_ratio: Share
    warmup_by_epoch: bool


def policy_lr(
    iteration: int,
    base_lr: float,
    *,
    iters_per_epoch: int,
    max_iters: int,
    policy: str,
    by_epoch: bool = True,
    warmup: str | None = None,
    warmup_iters: int = 0,
    warmup_ratio: float = 0.1,
    warmup_by_epoch: bool = False,
    update_interval: int = 1,
    **args,
) -> float:
    """Learning rate in force at an iteration.

    Args:
        iteration: number of finished iterations (micro-batches), 0 at the first.
        base_lr: the group's own rate.
        iters_per_epoch: length of the training loader.
        max_iters: iterations of the whole run.
        policy: 'fixed', 'step' (step: epoch list, or an int for every so many; gamma 0.1; min_lr), 'exp' (gamma),
            'poly' (power 1, min_lr 0), 'inv' (gamma, power 1), 'CosineAnnealing' (min_lr or min_lr_ratio), 'WarmupCosine'
            (min_lr or min_lr_ratio; reach_end, reach_peak, skip_start), see `_warmup_cosine`.
        by_epoch: the policy counts epochs, also in its own arguments; False: iterations. 'WarmupCosine' counts iterations always.
        warmup: None, 'constant', 'linear' or 'exp'.
        warmup_iters: its length, in epochs with `warmup_by_epoch`.
        warmup_ratio: share of the regular rate at the first iteration, in (0, 1]; for 'WarmupCosine' of `base_lr`, in [0, 1].
        warmup_by_epoch: see `warmup_iters`. The rate still changes at every iteration.
        update_interval: iterations per optimizer step; only 'WarmupCosine' asks for it.
        args: the policy's own arguments.

    Raises:
        ConfigError: see `check_policy`.
    """
    policy_args = check_policy(
        policy,
        by_epoch=by_epoch,
        warmup=warmup,
        warmup_iters=warmup_iters,
        warmup_ratio=warmup_ratio,
        warmup_by_epoch=warmup_by_epoch,
        **args,
    )
    if iters_per_epoch < 1 or max_iters < 1:
        raise ConfigError(
            f'lr_config: the run has no iterations (iters_per_epoch={iters_per_epoch}, max_iters={max_iters}).'
        )
    length = warmup_iters * iters_per_epoch if warmup_by_epoch else warmup_iters
    if policy == 'WarmupCosine':
        # The first iterations of the accumulation windows of this one and of the last one.
        first, last = (i - i % iters_per_epoch % update_interval for i in (iteration, max_iters - 1))
        end = last if policy_args['reach_end'] else max_iters
        return _warmup_cosine(first, base_lr, length if warmup else 0, warmup_ratio, end, update_interval, policy_args)
    # An iteration-based run may end within an epoch, which then counts as one.
    done, total = (
        (iteration // iters_per_epoch, math.ceil(max_iters / iters_per_epoch)) if by_epoch else (iteration, max_iters)
    )
    regular = _regular(policy, policy_args, base_lr, done, total)
    if warmup is None or iteration >= length:
        return regular
    return regular * _warmup_factor(warmup, iteration / length, warmup_ratio)


def _regular(policy: str, args: dict, base_lr: float, done: int, total: int) -> float:
    """The policy without warm-up, after `done` of `total` epochs (or iterations)."""
    if policy == 'step':
        step = args['step']
        count = done // step if isinstance(step, int) else bisect_right(step, done)
        rate = base_lr * args['gamma'] ** count
        return rate if args['min_lr'] is None else max(rate, args['min_lr'])
    if policy == 'exp':
        return base_lr * args['gamma'] ** done
    if policy == 'poly':
        return (base_lr - args['min_lr']) * (1 - done / total) ** args['power'] + args['min_lr']
    if policy == 'inv':
        return base_lr * (1 + args['gamma'] * done) ** -args['power']
    if policy == 'CosineAnnealing':
        end = _end(args, base_lr)
        return end + 0.5 * (base_lr - end) * (1 + math.cos(math.pi * done / total))
    return base_lr


def _end(args: dict, base_lr: float) -> float:
    """The smallest rate of a cosine."""
    return base_lr * args['min_lr_ratio'] if args['min_lr_ratio'] is not None else args['min_lr']


def _warmup_cosine(
    iteration: int, base_lr: float, length: float, ratio: float, end: int, interval: int, args: dict
) -> float:
    """A line from `ratio * base_lr` to `base_lr` over `length` iterations, then half a cosine to the smallest rate at iteration `end`.

    With `reach_end` that is the last step (SparK's code); without, the one after it would have that rate (ConvNeXt V2's, MAE's).
    With `reach_peak` the last step of the warm-up has `base_lr`, and so the step after it (ConvNeXt's code, SLaK's); a warm-up of one step
    stays at `ratio * base_lr`. With `skip_start` its steps are those of the line from the second one on, so that the last one has `base_lr`
    too (lightly's code, which CNN-JEPA uses: 1/n, 2/n, ... 1 of the rate).
    """
    if iteration < length:
        rise = length - interval if args['reach_peak'] else length
        risen = iteration + interval if args['skip_start'] else iteration
        return base_lr * (ratio + (1 - ratio) * (min(risen / rise, 1.0) if rise > 0 else 0.0))
    smallest, steps = _end(args, base_lr), end - length
    return smallest + (base_lr - smallest) * _half_cosine(min((iteration - length) / steps, 1.0) if steps > 0 else 1.0)


def _half_cosine(done: float) -> float:
    """From 1 at `done` = 0 to 0 at 1."""
    return 0.5 + 0.5 * math.cos(math.pi * done)


def cosine_weight_decay(iteration: int, max_iters: int, start: float, end: float, reach_end: bool = True) -> float:
    """Weight decay in force at an iteration: half a cosine from `start` at the first to `end` at the last (SparK's code).

    Args:
        iteration: number of finished iterations; from the last one on it stays at that value.
        max_iters: iterations of the whole run.
        start: value at the first iteration (SparK, DINO: 0.04).
        end: value at the last one (SparK: 0.2).
        reach_end: False: the iteration after the last one would have `end` (DINO's code: 0.4).
    """
    last = max_iters - 1
    steps = last if reach_end else max_iters
    return end + (start - end) * _half_cosine(min(iteration, last) / steps if steps > 0 else 0.0)


def _warmup_factor(warmup: str, done: float, ratio: float) -> float:
    """Share of the regular rate when a share `done` in [0, 1) of the warm-up has passed."""
    if warmup == 'constant':
        return ratio
    if warmup == 'linear':
        return 1 - (1 - done) * (1 - ratio)
    return ratio ** (1 - done)


def policy_problems(cfg: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with an `lr_config` as a whole: a key, and what to say of it. What single keys may be is said by `Schedule`."""
    policy, step, warmup = cfg.get('policy'), cfg.get('step'), cfg.get('warmup')
    if policy not in POLICY_ARGS:
        yield 'policy', f'is not a policy.{did_you_mean(str(policy), POLICY_ARGS)}'
        return
    for name, default in POLICY_ARGS[policy].items():
        if default is ... and name not in cfg:
            yield 'policy', f'needs {name}.'
    if isinstance(step, list | tuple) and all(isinstance(s, int) for s in step):
        if not step or any(after <= before for before, after in pairwise(step)):
            yield 'step', 'must be increasing whole numbers, for example [120, 160].'
    if warmup is not None and not cfg.get('warmup_iters'):
        yield 'warmup', 'needs warmup_iters > 0.'
    if 'warmup' not in cfg and cfg.get('warmup_iters'):
        yield 'warmup_iters', "does nothing without warmup='linear'."
    if cfg.get('reach_peak') and cfg.get('skip_start'):
        yield 'skip_start', 'and reach_peak are two ways to end the warm-up at the full rate. Keep one.'
    if policy == 'WarmupCosine' and warmup not in (None, 'linear'):
        yield 'warmup', "must be 'linear' or None for policy 'WarmupCosine'."
    if policy != 'WarmupCosine' and warmup is not None and cfg.get('warmup_ratio') == 0:
        yield 'warmup_ratio', 'must be a number in (0, 1].'


def check_policy(policy: str | None = None, **cfg: Any) -> dict[str, Any]:
    """Check an `lr_config` before training.

    Returns:
        The policy's own arguments, complete.

    Raises:
        ConfigError: an unknown policy or argument, one that is missing, out of its range, or two that exclude each other.
    """
    settings = {'policy': policy, **{name: value for name, value in cfg.items() if value is not None}}
    for name, text in policy_problems(settings):
        raise ConfigError(f'lr_config.{name}={settings[name]!r}: {text}')
    args = POLICY_ARGS[str(policy)]
    for name in settings:
        if name not in args and name not in COMMON_ARGS:
            near = did_you_mean(name, (*COMMON_ARGS, *args))
            raise ConfigError(f"lr_config: policy '{policy}' has no argument {name!r}.{near}")
    require(Schedule, settings, 'lr_config')
    if 'min_lr_ratio' in args and ('min_lr' in settings) == ('min_lr_ratio' in settings):
        both = 'both are' if 'min_lr' in settings else 'neither is'
        raise ConfigError(f'lr_config: {policy} takes either min_lr or min_lr_ratio; {both} given.')
    return {name: settings.get(name, default) for name, default in args.items()}


def byol_momentum(iteration: int, max_iters: int, base: float, end: float = 1.0) -> float:
    """Share of the old target weights that BYOL keeps: a cosine from `base` to `end` (arXiv:2006.07733, section 3.3).

    Args:
        iteration: number of finished iterations, in [0, max_iters].
        max_iters: iterations of the whole run.
        base: value at the start (paper: 0.996).
        end: value at the end.
    """
    return end - (end - base) * (math.cos(math.pi * iteration / max_iters) + 1) / 2
