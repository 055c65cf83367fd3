"""Log lines with an ETA, without mmengine's repeated experiment name."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import LoggerHook as MMLoggerHook

from ..registry import HOOKS


@HOOKS.register_module()
class LoggerHook(MMLoggerHook):
    """Every `interval` iterations of an epoch (and at the end of one shorter than that): console, .log, JSON lines, tensorboard.

    Args:
        interval: iterations between two lines, >= 1.
        ignore_last: leave out the iterations of an epoch after its last full interval.
    """

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
