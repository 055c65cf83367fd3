"""Log lines with an ETA, without mmengine's repeated experiment name."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

from mmengine.hooks import LoggerHook as MMLoggerHook

from ..registry import HOOKS


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

    def __init__(self, interval: int = 50, ignore_last: bool = True) -> None:
        super().__init__(interval=interval, ignore_last=ignore_last)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        length = len(runner.train_dataloader)
        due = (batch_idx + 1) % self.interval == 0
        end = batch_idx + 1 == length and (not self.ignore_last or length <= self.interval)
        if due or end:
            tag, line = runner.log_processor.get_log_after_iter(runner, batch_idx, 'train')
            runner.logger.info(line)
            runner.visualizer.add_scalars(tag, step=runner.iter + 1, file_path=self.json_log_path)

    def before_train(self, runner: Any) -> None:
        super().before_train(runner)
        self._start = time.monotonic(), runner.iter

    def after_train_epoch(self, runner: Any, metrics: Any = None) -> None:
        (start, first), done = self._start, runner.epoch + 1
        count = runner.iter - max(
            first, runner.epoch * runner.train_loop.iters_per_epoch
        )  # of this epoch, since the start
        if count < 1:  # resumed at the very end of the epoch
            return
        left = timedelta(
            seconds=round((time.monotonic() - start) / (runner.iter - first) * (runner.max_iters - runner.iter))
        )
        losses = runner.message_hub.get_scalar('train/loss')
        runner.logger.info(
            f'Epoch {done} of {runner.max_epochs} is done: mean loss {losses.mean(count):.4f}, '
            f'{left} left, ends {datetime.now() + left:%Y-%m-%d %H:%M}'
        )

    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
        """Whoever measures logs it: see `EvaluationHook`."""
