"""`BYOLHook`: the documented way to give BYOL's final momentum. The algorithm itself moves the target."""

from __future__ import annotations

import warnings

from mmengine.hooks import Hook

from ..arguments import Count, Share
from ..contracts import MovingTarget
from ..engine import Run, unwrap
from ..errors import ConfigError, SelfSupWarning
from ..registry import HOOKS


@HOOKS.register_module()
class BYOLHook(Hook):
    """Sets `end_momentum` of the BYOL model.

    Args:
        end_momentum: momentum (share of the old target) at the end of training, in [0, 1].
        update_interval: accepted for old configs. The target moves once per optimizer step whatever is written here; a
            value above 1 that differs from `optimizer_config.update_interval` gives a warning.
    """

    def __init__(self, end_momentum: Share = 1.0, update_interval: Count = 1) -> None:
        self.end_momentum, self.update_interval = end_momentum, update_interval

    def before_run(self, runner: Run) -> None:
        model = unwrap(runner.model)
        if not isinstance(model, MovingTarget):
            raise ConfigError(
                f'BYOLHook needs a model with a target network (BYOL); this is {type(model).__name__}. Remove the hook.'
            )
        model.end_momentum = self.end_momentum
        actual = runner.optim_wrapper.update_interval
        if self.update_interval not in (1, actual):  # 1 is the default: nothing was asked for
            warnings.warn(
                f'BYOLHook.update_interval={self.update_interval} is ignored: the target moves once per optimizer step, '
                f'every {actual} iterations (optimizer_config.update_interval).',
                SelfSupWarning,
                stacklevel=2,
            )
