"""Collect what is logged, average it over ranks, and stop a run whose loss is not finite."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmengine.hooks import LoggerHook
from mmengine.hooks import RuntimeInfoHook as MMRuntimeInfoHook

from .. import distributed as dist
from ..arguments import Count
from ..engine import Run
from ..engine.schedulers import CosineWeightDecay
from ..errors import TrainingError
from ..registry import HOOKS


@HOOKS.register_module()
class RuntimeInfoHook(MMRuntimeInfoHook):
    """Hands losses and logs of every iteration to the log, as means over ranks; learning rate, and weight decay where it is scheduled.

    On a GPU the values are fetched a few iterations at a time, so that logging does not make the GPU wait; they are
    always fetched before something is logged or saved.

    Args:
        sync_interval: iterations between two fetches on a GPU, >= 1. On the CPU every iteration is fetched.
    """

    only_watches = True  # a resume with other arguments, or without it, ends in the same weights

    def __init__(self, sync_interval: Count = 10) -> None:
        self.sync_interval = sync_interval
        self._pending: list[tuple[int, float, dict[str, torch.Tensor]]] = []

    def before_run(self, runner: Run) -> None:
        self.last_loop_stage = None

    def before_train(self, runner: Run) -> None:
        super().before_train(runner)
        intervals = [h.interval for h in runner.hooks if isinstance(h, LoggerHook)]
        self._decays = any(isinstance(s, CosineWeightDecay) for s in runner.param_schedulers)
        self._every = math.gcd(self.sync_interval, *intervals) if runner.device.type == 'cuda' else 1

    def before_train_iter(self, runner: Run, batch_idx: int, data_batch: Any = None) -> None:
        super().before_train_iter(runner, batch_idx, data_batch)
        if self._decays:  # the largest: groups without weight decay keep theirs at 0
            groups = runner.optim_wrapper.optimizer.param_groups
            runner.message_hub.update_scalar('train/weight_decay', max(group['weight_decay'] for group in groups))

    def after_train_iter(self, runner: Run, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if outputs is None:
            return
        values = {**outputs.losses, **outputs.logs}
        if len(outputs.losses) > 1 or 'loss' not in values:
            values['loss'] = outputs.total
        if runner.optim_wrapper.grad_norm is not None and runner.train_loop.window_closed:
            values['grad_norm'] = runner.optim_wrapper.grad_norm
        values = {k: torch.as_tensor(v, device=runner.device).detach().float().mean() for k, v in values.items()}
        groups = runner.optim_wrapper.optimizer.param_groups
        scheduled = next((group for group in groups if not group.get('constant_lr')), groups[0])
        self._pending.append((runner.iter, scheduled['lr'], values))
        # the end of an epoch may be logged, whatever the interval
        if (batch_idx + 1) % self._every == 0 or batch_idx + 1 == len(runner.train_dataloader):
            self._flush(runner)

    def before_save_checkpoint(self, runner: Run, checkpoint: dict) -> None:
        self._flush(runner)

    def after_train_epoch(self, runner: Run) -> None:
        self._flush(runner)

    def _flush(self, runner: Run) -> None:
        pending, self._pending = self._pending, []
        if not pending:
            return
        means = iter(dist.mean(torch.stack([v for _, _, values in pending for v in values.values()])).tolist())
        for iteration, lr, values in pending:
            row = {key: next(means) for key in values}
            for key, value in row.items():
                runner.message_hub.update_scalar(f'train/{key}', value)
            if not math.isfinite(row['loss']):
                self._stop(runner, iteration, lr, row)

    @staticmethod
    def _stop(runner: Run, iteration: int, lr: float, row: dict[str, float]) -> None:
        parts = ', '.join(f'{k} {v:.4g}' for k, v in row.items())
        last = runner.last_checkpoint
        good = f'the last good checkpoint is {last}' if last else 'no checkpoint was saved yet'
        raise TrainingError(
            f'The loss is not finite at iteration {iteration + 1} (epoch {runner.epoch + 1}, learning rate {lr:.4g}): '
            f'{parts}; {good}. Lower the learning rate, lengthen the warm-up or clip gradients '
            '(optimizer_config.grad_clip).'
        )
