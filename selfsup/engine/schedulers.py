"""`PolicyLR`: the documented `lr_config` policies as an mmengine scheduler, in closed form.

Closed form, not the chained products of mmengine's schedulers: the value at iteration i depends on i alone, so warm-up,
a minimum and a resume cannot drift (`optim/schedules.py` holds the formulas).
"""

from __future__ import annotations

from typing import Any

from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from ..optim.schedules import check_policy, policy_lr
from ..registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class PolicyLR(_ParamScheduler):
    """Learning rate of every group by one policy, set before each iteration.

    Args:
        optimizer: wrapper or optimizer.
        iters_per_epoch: micro-iterations per epoch (the runner fills it in).
        max_iters: micro-iterations of the whole run (the runner fills it in).
        policy: with its own arguments and those of the warm-up, see `optim.schedules.policy_lr`.
    """

    def __init__(self, optimizer: Any, iters_per_epoch: int, max_iters: int, **policy: Any) -> None:
        check_policy(**policy)
        self.policy = policy
        self.iters_per_epoch = iters_per_epoch
        self.max_iters = max_iters
        super().__init__(optimizer, 'lr', by_epoch=False)

    @property
    def by_epoch(self) -> bool:
        """False: mmengine steps it after every iteration; the policy's own `by_epoch` is about the formula."""
        return False

    @by_epoch.setter
    def by_epoch(self, value: bool) -> None:
        if value:
            raise ValueError('PolicyLR is stepped per iteration.')

    def _get_value(self) -> list[float]:
        at = self.last_step
        return [policy_lr(at, base, iters_per_epoch=self.iters_per_epoch, max_iters=self.max_iters, **self.policy)
                for base in self.base_values]

    def state_dict(self) -> dict:
        """Only the position: the formula and the base values come from the config."""
        return {'last_step': self.last_step, '_global_step': self._global_step}
