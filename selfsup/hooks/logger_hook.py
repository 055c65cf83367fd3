"""Log lines with an ETA, without mmengine's repeated experiment name."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

from mmengine.hooks import LoggerHook as MMLoggerHook

from ..arguments import Count
from ..engine import Run
from ..registry import HOOKS


def pace(runner: Run, start: float, first: int) -> tuple[float, timedelta] | None:
    """How the epoch that ends went, and how long the run will go on as it has since it was started.

    Args:
        runner: at the end of an epoch.
        start: `time.monotonic()` of its start.
        first: iteration at which it was started.

    Returns:
        Mean loss of what was trained of the epoch since the start, and the time that is left; None for a run resumed at its end.
    """
    count = runner.iter - max(first, runner.epoch * runner.train_loop.iters_per_epoch)
    if count < 1:
        return None
    seconds = (time.monotonic() - start) / (runner.iter - first) * (runner.max_iters - runner.iter)
    return float(runner.message_hub.get_scalar('train/loss').mean(count)), timedelta(seconds=round(seconds))


@HOOKS.register_module()
class LoggerHook(MMLoggerHook):
    """Every `interval` iterations of an epoch (and at the end of one shorter than that): console, .log, JSON lines, tensorboard.

    After each epoch: its mean loss, the time that is left and when the run will end, if it goes on at
    the pace it has had since it was started.

    Args:
        interval: iterations between two lines, >= 1.
        ignore_last: leave out the iterations of an epoch after its last full interval.
    """

    only_watches = True  # a resume with other arguments, or without it, ends in the same weights

    def __init__(self, interval: Count = 50, ignore_last: bool = True) -> None:
        super().__init__(interval=interval, ignore_last=ignore_last)

    def after_train_iter(self, runner: Run, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        length = len(runner.train_dataloader)
        due = (batch_idx + 1) % self.interval == 0
        end = batch_idx + 1 == length and (not self.ignore_last or length <= self.interval)
        if due or end:
            tag, line = runner.log_processor.get_log_after_iter(runner, batch_idx, 'train')
            runner.logger.info(line)
            runner.visualizer.add_scalars(tag, step=runner.iter + 1, file_path=self.json_log_path)

    def before_train(self, runner: Run) -> None:
        super().before_train(runner)
        self._start = time.monotonic(), runner.iter

    def after_train_epoch(self, runner: Run, metrics: Any = None) -> None:
        if (measured := pace(runner, *self._start)) is not None:
            loss, time_left = measured
            runner.logger.info(
                f'Epoch {runner.epoch + 1} of {runner.max_epochs} is done: mean loss {loss:.4f}, '
                f'{time_left} left, ends {datetime.now() + time_left:%Y-%m-%d %H:%M}'
            )

    def after_val_epoch(self, runner: Run, metrics: Any = None) -> None:
        """Whoever measures logs it: see `EvaluationHook`."""
