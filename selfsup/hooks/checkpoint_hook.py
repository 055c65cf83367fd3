"""Save checkpoints at epochs or iterations; never remove an old one before the new one is on disk."""

from __future__ import annotations

from typing import Any, Literal

from mmengine.hooks import Hook

from ..arguments import Count
from ..engine import Run
from ..registry import HOOKS


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Writes `epoch_N.pth` or `iter_N.pth` (N counts from 1) and the link `latest.pth`.

    Args:
        interval: epochs (or iterations) between checkpoints, >= 1.
        by_epoch: count epochs; otherwise iterations. A save that falls due inside an accumulation window waits for its end.
        max_keep_ckpts: newest files to keep of this kind (epochs or iterations), >= 1; -1 keeps all. Only files that this run
            and those it goes on from wrote are removed.
        save_last: also save when training ends.
    """

    only_watches = True  # a resume with other arguments, or without it, ends in the same weights
    priority = 'VERY_LOW'  # after every hook that changes what is saved

    def __init__(
        self,
        interval: Count = 1,
        by_epoch: bool = True,
        max_keep_ckpts: Count | Literal[-1] = -1,
        save_last: bool = True,
    ) -> None:
        self.interval, self.by_epoch = interval, by_epoch
        self.max_keep_ckpts, self.save_last = max_keep_ckpts, save_last
        self._due = False

    def after_train_epoch(self, runner: Run) -> None:
        if not self.by_epoch:
            return
        last = runner.iter >= runner.max_iters
        if (runner.epoch + 1) % self.interval == 0 or (last and self.save_last):
            self._save(runner, f'epoch_{runner.epoch + 1}.pth', runner.epoch + 1, runner.iter)

    def after_train_iter(self, runner: Run, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if self.by_epoch:
            return
        done = runner.iter + 1
        self._due |= done % self.interval == 0 or (self.save_last and done >= runner.max_iters)
        if self._due and runner.train_loop.window_closed:
            self._due = False
            self._save(runner, f'iter_{done}.pth', runner.epoch, done)

    def _save(self, runner: Run, name: str, epoch: int, iteration: int) -> None:
        path = runner.save_checkpoint(name, epoch=epoch, iteration=iteration, keep=self.max_keep_ckpts)
        runner.logger.info(f'Saved {path}')
