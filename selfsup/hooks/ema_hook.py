"""An average of the model over the steps of training (Polyak, Juditsky 1992; used by SLaK and ConvNeXt for their final weights)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from .. import distributed as dist
from ..engine.resume.state import unwrap
from ..errors import CheckpointError, ConfigError
from ..registry import HOOKS
from ..weights.frame import AVERAGE
from .sparse_training_hook import SparseTrainingHook


@HOOKS.register_module()
class EMAHook(Hook):
    """Keeps an exponential moving average of the whole model: parameters and float buffers are averaged, other buffers copied.

    The average moves once per optimizer step (not in steps that fp16 skips): average <- momentum * average + (1 - momentum) * weights.
    It begins as the weights after the first step. It is in the checkpoint beside the weights: a resumed run continues exactly, and
    `--ema` of tools/test.py and tools/extract_backbone_weights.py takes it. It costs one more copy of the model in memory.

    With `SparseTrainingHook` masked weights are exact zeros in the average too, and where a weight has just grown, the average
    begins with that weight.

    Args:
        momentum: share of the old average kept per optimizer step, in [0, 1); SLaK: 0.9999.
        evaluate: evaluation hooks measure the average too, and log it as `ema_...`.
        warmup: at step n (from 1) keep at most n / (n + 9), so that a short run does not remember its beginning.

    Raises:
        ConfigError: `momentum` out of range, or a second EMAHook in the run.
    """

    priority = 'ABOVE_NORMAL'  # after SparseTrainingHook, before all that evaluates or saves

    def __init__(self, momentum: float = 0.9999, evaluate: bool = True, warmup: bool = False) -> None:
        if isinstance(momentum, bool) or not isinstance(momentum, int | float) or not 0 <= momentum < 1:
            raise ConfigError(
                f'EMAHook momentum={momentum!r}: use a number in [0, 1), the share of the old average kept; 0.9999 is usual.'
            )
        self.momentum, self.evaluate, self.warmup = momentum, evaluate, warmup
        self.average: AveragedModel | None = None
        self._saved: dict | None = None  # from the checkpoint, until the model is ready

    @property
    def steps(self) -> int:
        """Optimizer steps that the average has seen."""
        return 0 if self.average is None else int(self.average.n_averaged)  # on the CPU: no wait for the GPU

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        if AVERAGE not in checkpoint:
            if runner.changes.mentions('custom_hooks.EMAHook'):
                return  # refused by the runner, or allowed: the average begins with the first step from here on
            raise CheckpointError(
                'The checkpoint holds no moving average: its run had no EMAHook. Remove the hook, begin an average here '
                'with --allow-changed custom_hooks.EMAHook, or start a new run from its weights with load_from.'
            )
        self._saved = checkpoint[AVERAGE]

    def before_train(self, runner: Any) -> None:
        if any(isinstance(hook, EMAHook) and hook is not self for hook in runner.hooks):
            raise ConfigError('custom_hooks holds two EMAHooks: a checkpoint keeps one average. Remove one of them.')
        self.average = AveragedModel(unwrap(runner.model), multi_avg_fn=self._move, use_buffers=True).requires_grad_(
            False
        )
        if self._saved is not None:
            self.average.module.load_state_dict(self._saved['state_dict'])
            self.average.n_averaged.fill_(self._saved['steps'])
            self._saved = None

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if not runner.train_loop.stepped:
            return
        masked = self._masked(runner)
        with torch.no_grad():
            for average, weight, _ in masked:
                average.copy_(torch.where(average == 0, weight, average))  # newly grown: no average yet
            self.average.update_parameters(unwrap(runner.model))
            for average, _, mask in masked:
                average.mul_(mask)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        weights = self.average.module.state_dict()
        checkpoint[AVERAGE] = {
            'steps': self.steps,
            'state_dict': {k: v.detach().cpu() for k, v in weights.items()} if dist.is_main() else {},
        }

    @contextmanager
    def in_place_of_the_model(self, runner: Any) -> Iterator[None]:
        """`runner.model` is the average inside the context; the trained weights are not touched."""
        model, runner.model = runner.model, self.average.module
        try:
            yield
        finally:
            runner.model = model

    def _masked(self, runner: Any) -> list[tuple[Tensor, Tensor, Tensor]]:
        """(average, weight, mask) of every masked weight."""
        own = dict(self.average.module.named_parameters())
        return [
            (own[name], hook.weights[name], mask)
            for hook in runner.hooks
            if isinstance(hook, SparseTrainingHook)
            for name, mask in hook.masks.items()
        ]

    def _move(self, averages: list[Tensor], values: list[Tensor], n_averaged: Tensor) -> None:
        """One group of tensors of a dtype, as AveragedModel hands them out."""
        if not averages[0].is_floating_point():
            torch._foreach_copy_(averages, values)
            return
        momentum = min(self.momentum, (self.steps + 1) / (self.steps + 10)) if self.warmup else self.momentum
        torch._foreach_lerp_(averages, values, 1 - momentum)
