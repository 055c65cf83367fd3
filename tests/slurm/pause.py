"""A hook that makes a tiny run last long enough to be interrupted; named by `custom_imports`."""

from __future__ import annotations

import time
from typing import Any

from mmengine.hooks import Hook

from selfsup.registry import HOOKS


@HOOKS.register_module()
class Pause(Hook):
    """Sleeps before every iteration.

    Args:
        seconds: how long.
    """

    only_watches = True

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        time.sleep(self.seconds)
