"""Learning rate and weight decay as mmengine schedulers, in closed form.

Closed form, not the chained products of mmengine's schedulers: the value at iteration i depends on i alone, so warm-up,
a minimum and a resume cannot drift (`optim/schedules.py` holds the formulas).
"""

from __future__ import annotations

import warnings
from typing import Any, Literal

from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from ..arguments import Count, NotNegative, require
from ..errors import ConfigError, SelfSupWarning
from ..optim.options import Momentum
from ..optim.schedules import check_policy, cosine_weight_decay, policy_lr
from ..registry import PARAM_SCHEDULERS


class ClosedForm(_ParamScheduler):
    """Sets one setting of every group before each iteration, by a formula of the position alone.

    Args:
        optimizer: wrapper or optimizer.
        setting: 'lr' or 'weight_decay'.
    """

    def __init__(self, optimizer: Any, setting: Literal['lr', 'weight_decay']) -> None:
        super().__init__(optimizer, setting, by_epoch=False)

    @property
    def by_epoch(self) -> bool:
        """False: mmengine steps it after every iteration; a policy's own `by_epoch` is about the formula."""
        return False

    @by_epoch.setter
    def by_epoch(self, value: bool) -> None:
        if value:
            raise ValueError(f'{type(self).__name__} is stepped per iteration.')

    def step(self) -> None:
        if self._global_step:
            super().step()
            return
        with warnings.catch_warnings():
            # mmengine wants the optimizer to have stepped before; with update_interval its first step comes later, rightly
            warnings.filterwarnings('ignore', 'Detected call of')
            super().step()

    def set_now(self) -> None:
        """Write the values of the current position into the groups: after a resume with another formula they are not those saved."""
        for group, value in zip(self.optimizer.param_groups, self._get_value(), strict=True):
            group[self.param_name] = value

    def state_dict(self) -> dict:
        """Only the position: the formula and the base values come from the config."""
        return {'last_step': self.last_step, '_global_step': self._global_step}


@PARAM_SCHEDULERS.register_module()
class PolicyLR(ClosedForm):
    """Learning rate of every group by one policy, set before each iteration.

    Layer decay scales the whole schedule of a group, its smallest rate too. A group with `constant_lr` keeps its rate.

    Args:
        optimizer: wrapper or optimizer.
        iters_per_epoch: micro-iterations per epoch (the runner fills it in).
        max_iters: micro-iterations of the whole run (the runner fills it in).
        update_interval: micro-iterations per optimizer step (the runner fills it in).
        base_lr: of the optimizer, from which the rate for this batch followed (the runner fills it in); None: `lr` was given.
        policy: with its own arguments and those of the warm-up, see `optim.schedules.policy_lr`.
    """

    def __init__(
        self,
        optimizer: Any,
        iters_per_epoch: Count,
        max_iters: Count,
        update_interval: Count = 1,
        base_lr: NotNegative | None = None,
        **policy: Any,
    ) -> None:
        check_policy(**policy)
        warming = policy.get('warmup_iters', 0) * (iters_per_epoch if policy.get('warmup_by_epoch') else 1)
        if warming >= max_iters:
            warnings.warn(
                f'lr_config warms up for {warming:g} iterations, but the run has {max_iters}: the learning rate climbs to its '
                'end. Lower lr_config.warmup_iters.',
                SelfSupWarning,
                stacklevel=3,
            )
        self.policy = {
            **policy,
            'iters_per_epoch': iters_per_epoch,
            'max_iters': max_iters,
            'update_interval': update_interval,
        }
        # As the config has it: a resumed optimizer takes the options of its groups from the checkpoint.
        self.constant = [bool(group.get('constant_lr')) for group in optimizer.param_groups]
        super().__init__(optimizer, 'lr')
        self._check_climb(policy, base_lr)

    def _check_climb(self, policy: dict[str, Any], base_lr: float | None) -> None:
        """Refuse a smallest rate above the rate that the schedule starts from: it would climb to its end.

        Where that rate follows from the batch, a small batch alone is no mistake: it is warned about.
        """
        if (policy.get('min_lr_ratio') or 0) > 1:
            raise ConfigError(
                f'lr_config.min_lr_ratio={policy["min_lr_ratio"]} is above 1: the learning rate would climb to its end. It '
                'is the share of the learning rate that is left at the end, for example 0.01.'
            )
        if policy['policy'] == 'step' and policy.get('gamma', 0) > 1:
            warnings.warn(
                f'lr_config.gamma={policy["gamma"]}: the learning rate climbs at each step; 0.1 would make it a tenth.',
                SelfSupWarning,
                stacklevel=2,
            )
        smallest = policy.get('min_lr') or 0.0
        rates = [
            base / group.get('lr_scale', 1.0)
            for base, group, constant in zip(self.base_values, self.optimizer.param_groups, self.constant, strict=True)
            if not constant
        ]
        if not rates:
            raise ConfigError(
                'lr_config changes nothing: paramwise_options gives every parameter a constant_lr. Remove one.'
            )
        _refuse_climb('lr_config.min_lr', smallest, max(*rates, base_lr or 0.0))
        below = sum(rate < smallest for rate in rates)
        if below:
            warnings.warn(
                f'lr_config.min_lr={smallest:g} is above the learning rate of {below} of {len(rates)} parameter groups '
                f'({min(rates):g} for the lowest): theirs climbs to its end. Use lr_config.min_lr_ratio, a share of each.',
                SelfSupWarning,
                stacklevel=2,
            )

    def _get_value(self) -> list[float]:
        scales = [group.get('lr_scale', 1.0) for group in self.optimizer.param_groups]
        return [
            base if constant else scale * policy_lr(self.last_step, base / scale, **self.policy)
            for base, scale, constant in zip(self.base_values, scales, self.constant, strict=True)
        ]


def _refuse_climb(key: str, smallest: float, largest: float) -> None:
    if smallest > largest:
        raise ConfigError(
            f'{key}={smallest:g} is above the learning rate, {largest:g} (optimizer.lr, or what base_lr gives for this batch '
            'size): it would climb to its end. Lower it.'
        )


def check_smallest(scheduler: Any) -> None:
    """Refuse one of mmengine's schedules of the learning rate whose smallest value lies above the value it starts from.

    Raises:
        ConfigError: `eta_min` is above every group's rate, or `eta_min_ratio` above 1; or a group has a constant rate, of which
            mmengine's schedules know nothing.
    """
    if scheduler.param_name != 'lr' or isinstance(scheduler, PolicyLR):
        return
    name = f'param_scheduler {type(scheduler).__name__}'
    if any(group.get('constant_lr') for group in scheduler.optimizer.param_groups):
        raise ConfigError(f'{name} changes the rate of every group: constant_lr needs lr_config, or PolicyLR.')
    if (getattr(scheduler, 'eta_min_ratio', None) or 0) > 1:
        raise ConfigError(
            f'{name}: eta_min_ratio={scheduler.eta_min_ratio} is above 1: the rate would climb to its end. Lower it.'
        )
    _refuse_climb(f'{name}: eta_min', getattr(scheduler, 'eta_min', None) or 0.0, max(scheduler.base_values))


def check_optimizer(cfg: dict) -> None:
    """Refuse an average of gradients that grows: momentum is a share that is kept. (torch itself checks the betas of Adam.)

    Args:
        cfg: of the optimizer.

    Raises:
        ConfigError: `momentum` is not in [0, 1).
    """
    require(Momentum, cfg.get('momentum', 0), 'optimizer.momentum')


@PARAM_SCHEDULERS.register_module()
class CosineWeightDecay(ClosedForm):
    """Weight decay on half a cosine from the optimizer's `weight_decay` to `end`, over the whole run (SparK, DINO).

    A group with a weight decay of its own keeps its ratio to the optimizer's: one without stays without.

    Args:
        optimizer: wrapper or optimizer.
        end: what the optimizer's weight decay becomes at the last iteration, >= 0.
        max_iters: micro-iterations of the whole run (the runner fills it in).
        reach_end: False: the iteration after the last one would have `end` (DINO).

    Raises:
        ConfigError: the optimizer has no weight decay to start from.
    """

    def __init__(self, optimizer: Any, end: NotNegative, max_iters: Count, reach_end: bool = True) -> None:
        inner = getattr(optimizer, 'optimizer', optimizer)
        self.reach_end = reach_end
        self.start, self.end_value, self.max_iters = inner.defaults.get('weight_decay'), end, max_iters
        if not self.start:
            raise ConfigError(
                f'weight_decay_config: {type(inner).__name__} has weight_decay={self.start!r}, from which no schedule can '
                'start; give optimizer.weight_decay > 0.'
            )
        super().__init__(optimizer, 'weight_decay')

    def _get_value(self) -> list[float]:
        now = cosine_weight_decay(self.last_step, self.max_iters, self.start, self.end_value, self.reach_end)
        return [base * (now / self.start) for base in self.base_values]
