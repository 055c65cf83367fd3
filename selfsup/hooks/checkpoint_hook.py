"""Save checkpoints at epochs or iterations; never remove an old one before the new one is on disk."""

from __future__ import annotations

import time
from typing import Any, Literal

from mmengine.hooks import Hook

from ..arguments import Count, Positive
from ..distributed import is_main
from ..engine import Run
from ..engine.processes.agreement import SAVE
from ..errors import ConfigError
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
        background: training goes on while a thread writes a copy of the state, which takes memory of its size on rank 0; twice that
            where a save falls due before the last one is written. The last save of a run is waited for.
        every_minutes: also save `iter_N.pth` at the end of the first accumulation window that ends so long after the latest save, > 0, by
            the clock of rank 0: a run with long intervals then loses no more than that when it is killed. `max_keep_ckpts` holds for these
            files too.
        keep_every_hours: of the files that `max_keep_ckpts` would remove, one per that many hours stays, > 0; by the time of the save.

    Raises:
        ConfigError: `keep_every_hours` where all files are kept anyway.
    """

    only_watches = True  # a resume with other arguments, or without it, ends in the same weights
    priority = 'VERY_LOW'  # after every hook that changes what is saved

    def __init__(
        self,
        interval: Count = 1,
        by_epoch: bool = True,
        max_keep_ckpts: Count | Literal[-1] = -1,
        save_last: bool = True,
        background: bool = True,
        keep_every_hours: Positive | None = None,
        every_minutes: Positive | None = None,
    ) -> None:
        if keep_every_hours is not None and max_keep_ckpts == -1:
            raise ConfigError(
                f'checkpoint_config.keep_every_hours={keep_every_hours} says which of the older checkpoints stay, but max_keep_ckpts=-1 '
                'keeps all: set max_keep_ckpts too.'
            )
        self.interval, self.by_epoch = interval, by_epoch
        self.max_keep_ckpts, self.save_last = max_keep_ckpts, save_last
        self.background, self.keep_every_hours, self.every_minutes = background, keep_every_hours, every_minutes
        self._due = False
        self._latest, self._asked = 0.0, False  # when the latest save began; whether one was asked for since
        self._iteration = 0  # of the latest save

    def before_train(self, runner: Run) -> None:
        self._latest, self._asked, self._iteration = time.monotonic(), False, runner.iter

    def after_train_epoch(self, runner: Run) -> None:
        if not self.by_epoch:
            return
        last = runner.iter >= runner.max_iters
        if (runner.epoch + 1) % self.interval == 0 or (last and self.save_last):
            self._save(runner, f'epoch_{runner.epoch + 1}.pth', runner.epoch + 1, runner.iter)

    def after_train_iter(self, runner: Run, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self._ask_by_clock(runner)
        if self.by_epoch:
            return
        done = runner.iter + 1
        self._due |= done % self.interval == 0 or (self.save_last and done >= runner.max_iters)
        if self._due and runner.train_loop.window_closed:
            self._due = False
            self._save(runner, f'iter_{done}.pth', runner.epoch, done)

    def before_save_checkpoint(self, runner: Run, checkpoint: dict) -> None:
        self._latest, self._asked, self._iteration = time.monotonic(), False, checkpoint['meta']['iter']

    def save_is_due(self, runner: Run) -> None:
        """At a safe point of all ranks, some time after rank 0 has asked for it; the latest save may be newer than that."""
        if self.every_minutes is not None and self._iteration != runner.iter:
            self._save(runner, f'iter_{runner.iter}.pth', runner.epoch, runner.iter)

    def _ask_by_clock(self, runner: Run) -> None:
        if self.every_minutes is None or self._asked or not is_main() or not runner.train_loop.window_closed:
            return
        if time.monotonic() - self._latest >= 60 * self.every_minutes:
            self._asked = True
            runner.ask(SAVE)

    def _save(self, runner: Run, name: str, epoch: int, iteration: int) -> None:
        runner.save_checkpoint(
            name,
            epoch=epoch,
            iteration=iteration,
            keep=self.max_keep_ckpts,
            keep_every_hours=self.keep_every_hours,
            wait=not self.background or iteration >= runner.max_iters,
        )
