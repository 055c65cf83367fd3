"""Learning rates and momenta as closed formulas: the value at an iteration depends on nothing that came before.

The policies and their warm-up are those that the OpenSelfSup guide documents (mmcv's `lr_config`): the regular rate is
constant within an epoch when `by_epoch`, and the warm-up multiplies the CURRENT regular rate, so a linear warm-up climbs
along an already decaying curve. `WarmupCosine` is that of the masked methods instead: it changes with every optimizer step, and
its cosine begins where the warm-up ends.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import pairwise

from ..errors import ConfigError, did_you_mean

POLICY_ARGS = {  # name -> its own arguments with their defaults; a default of ... means that it must be given
    'fixed': {},
    'step': {'step': ..., 'gamma': 0.1, 'min_lr': None},
    'exp': {'gamma': ...},
    'poly': {'power': 1.0, 'min_lr': 0.0},
    'inv': {'gamma': ..., 'power': 1.0},
    'CosineAnnealing': {'min_lr': None, 'min_lr_ratio': None},
    'WarmupCosine': {'min_lr': None, 'min_lr_ratio': None, 'reach_end': False, 'reach_peak': False},
}
COMMON_ARGS = ('policy', 'by_epoch', 'warmup', 'warmup_iters', 'warmup_ratio', 'warmup_by_epoch')
WARMUPS = (None, 'constant', 'linear', 'exp')


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
            (min_lr or min_lr_ratio; reach_end, reach_peak), see `_warmup_cosine`.
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
    own = _check(
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
        first, last = (
            i - i % iters_per_epoch % update_interval for i in (iteration, max_iters - 1)
        )  # of their accumulation windows
        end = last if own['reach_end'] else max_iters
        return _warmup_cosine(first, base_lr, length if warmup else 0, warmup_ratio, end, update_interval, own)
    # An iteration-based run may end within an epoch, which then counts as one.
    done, total = (
        (iteration // iters_per_epoch, math.ceil(max_iters / iters_per_epoch)) if by_epoch else (iteration, max_iters)
    )
    regular = _regular(policy, own, base_lr, done, total)
    if warmup is None or iteration >= length:
        return regular
    return regular * _warmup_factor(warmup, iteration / length, warmup_ratio)


def _regular(policy: str, own: dict, base_lr: float, done: int, total: int) -> float:
    """The policy without warm-up, after `done` of `total` epochs (or iterations)."""
    if policy == 'step':
        step = own['step']
        count = done // step if isinstance(step, int) else bisect_right(step, done)
        rate = base_lr * own['gamma'] ** count
        return rate if own['min_lr'] is None else max(rate, own['min_lr'])
    if policy == 'exp':
        return base_lr * own['gamma'] ** done
    if policy == 'poly':
        return (base_lr - own['min_lr']) * (1 - done / total) ** own['power'] + own['min_lr']
    if policy == 'inv':
        return base_lr * (1 + own['gamma'] * done) ** -own['power']
    if policy == 'CosineAnnealing':
        end = _end(own, base_lr)
        return end + 0.5 * (base_lr - end) * (1 + math.cos(math.pi * done / total))
    return base_lr


def _end(own: dict, base_lr: float) -> float:
    """The smallest rate of a cosine."""
    return base_lr * own['min_lr_ratio'] if own['min_lr_ratio'] is not None else own['min_lr']


def _warmup_cosine(
    iteration: int, base_lr: float, length: float, ratio: float, end: int, interval: int, own: dict
) -> float:
    """A line from `ratio * base_lr` to `base_lr` over `length` iterations, then half a cosine to the smallest rate at iteration `end`.

    With `reach_end` that is the last step (SparK's code); without, the one after it would have that rate (ConvNeXt V2's, MAE's).
    With `reach_peak` the last step of the warm-up has `base_lr`, and so the step after it (ConvNeXt's code, SLaK's); a warm-up of one step
    stays at `ratio * base_lr`.
    """
    if iteration < length:
        rise = length - interval if own['reach_peak'] else length
        return base_lr * (ratio + (1 - ratio) * (min(iteration / rise, 1.0) if rise > 0 else 0.0))
    smallest, steps = _end(own, base_lr), end - length
    return smallest + (base_lr - smallest) * _half_cosine(min((iteration - length) / steps, 1.0) if steps > 0 else 1.0)


def _half_cosine(done: float) -> float:
    """From 1 at `done` = 0 to 0 at 1."""
    return 0.5 + 0.5 * math.cos(math.pi * done)


def cosine_weight_decay(iteration: int, max_iters: int, start: float, end: float) -> float:
    """Weight decay in force at an iteration: half a cosine from `start` at the first to `end` at the last (SparK's code).

    Args:
        iteration: number of finished iterations, in [0, max_iters).
        max_iters: iterations of the whole run.
        start: value at the first iteration (SparK: 0.04).
        end: value at the last one (SparK: 0.2).
    """
    return end + (start - end) * _half_cosine(iteration / (max_iters - 1) if max_iters > 1 else 0.0)


def _warmup_factor(warmup: str, done: float, ratio: float) -> float:
    """Share of the regular rate when a share `done` in [0, 1) of the warm-up has passed."""
    if warmup == 'constant':
        return ratio
    if warmup == 'linear':
        return 1 - (1 - done) * (1 - ratio)
    return ratio ** (1 - done)


def check_policy(policy: str | None = None, **cfg) -> None:
    """Check an `lr_config` before training.

    Raises:
        ConfigError: an unknown policy or argument, one that is missing, out of its range, or two that exclude each other.
    """
    _check(policy, **cfg)


def _check(policy: str | None, **cfg) -> dict:
    """The policy's own arguments, complete."""
    if policy not in POLICY_ARGS:
        raise ConfigError(
            f'lr_config: policy={policy!r} is not a learning rate policy.{did_you_mean(str(policy), POLICY_ARGS)}'
        )
    own = dict(POLICY_ARGS[policy])
    for name, value in cfg.items():
        if name in own:
            own[name] = value
        elif name not in COMMON_ARGS:
            raise ConfigError(
                f"lr_config: policy '{policy}' has no argument {name!r}.{did_you_mean(name, (*COMMON_ARGS, *own))}"
            )
    missing = [name for name, value in own.items() if value is ...]
    if missing:
        raise ConfigError(f"lr_config: policy '{policy}' needs {', '.join(missing)}.")
    for name in ('by_epoch', 'warmup_by_epoch'):
        if not isinstance(cfg.get(name, True), bool):
            raise ConfigError(f'lr_config: {name}={cfg[name]!r}; it must be True or False.')
    _check_own(policy, own)
    _check_warmup(policy, **{name: value for name, value in cfg.items() if name.startswith('warmup')})
    return own


def _check_own(policy: str, own: dict) -> None:
    step = own.get('step', 1)
    if isinstance(step, list | tuple):
        whole = all(type(s) is int and s > 0 for s in step)
        if not step or not whole or any(b <= a for a, b in pairwise(step)):
            raise ConfigError(f'lr_config: step={step!r}; it must be increasing whole numbers, for example [120, 160].')
    elif type(step) is not int or step < 1:
        raise ConfigError(
            f'lr_config: step={step!r}; it must be a whole number of at least 1 or an increasing list of them.'
        )
    for name in ('gamma', 'power', 'min_lr', 'min_lr_ratio'):
        value = own.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0):
            raise ConfigError(f'lr_config: {name}={value!r}; it must be a number of at least 0.')
    for name in ('reach_end', 'reach_peak'):
        if not isinstance(own.get(name, True), bool):
            raise ConfigError(f'lr_config: {name}={own[name]!r}; it must be True or False.')
    if 'min_lr_ratio' in own and (own['min_lr'] is None) == (own['min_lr_ratio'] is None):
        both = 'both are' if own['min_lr'] is not None else 'neither is'
        raise ConfigError(f'lr_config: {policy} takes either min_lr or min_lr_ratio; {both} given.')


def _check_warmup(
    policy: str,
    warmup: str | None = None,
    warmup_iters: int = 0,
    warmup_ratio: float = 0.1,
    warmup_by_epoch: bool = False,
) -> None:
    if warmup not in WARMUPS:
        raise ConfigError(
            f'lr_config: warmup={warmup!r} is unknown.{did_you_mean(str(warmup), [str(w) for w in WARMUPS])}'
        )
    if warmup is None:
        if warmup_iters:
            raise ConfigError(
                f"lr_config: warmup_iters={warmup_iters!r} does nothing without warmup; add warmup='linear'."
            )
        return
    if isinstance(warmup_iters, bool) or not isinstance(warmup_iters, int | float) or not warmup_iters > 0:
        unit = 'epochs' if warmup_by_epoch else 'iterations'
        raise ConfigError(f"lr_config: warmup='{warmup}' needs warmup_iters > 0 ({unit}); got {warmup_iters!r}.")
    from_zero = policy == 'WarmupCosine'
    if from_zero and warmup != 'linear':
        raise ConfigError(f"lr_config: WarmupCosine warms up linearly; warmup={warmup!r} must be 'linear' or None.")
    if (
        isinstance(warmup_ratio, bool)
        or not isinstance(warmup_ratio, int | float)
        or not 0 <= warmup_ratio <= 1
        or (warmup_ratio == 0 and not from_zero)
    ):
        raise ConfigError(f'lr_config: warmup_ratio={warmup_ratio!r}; it must be in {"[" if from_zero else "("}0, 1].')


def byol_momentum(iteration: int, max_iters: int, base: float, end: float = 1.0) -> float:
    """Share of the old target weights that BYOL keeps: a cosine from `base` to `end` (arXiv:2006.07733, section 3.3).

    Args:
        iteration: number of finished iterations, in [0, max_iters].
        max_iters: iterations of the whole run.
        base: value at the start (paper: 0.996).
        end: value at the end.
    """
    return end - (end - base) * (math.cos(math.pi * iteration / max_iters) + 1) / 2
