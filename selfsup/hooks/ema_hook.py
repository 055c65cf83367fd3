"""An average of the model over the steps of training (Polyak, Juditsky 1992; used by SLaK and ConvNeXt for their final weights)."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from .. import distributed as dist
from ..arguments import ShareBelowOne
from ..engine import Run, unwrap
from ..errors import CheckpointError, ConfigError
from ..registry import HOOKS
from ..weights.frame import AVERAGE
from .sparse_training.hook import SparseTrainingHook

Tensors = tuple[Tensor, ...] | list[Tensor]


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
        ConfigError: a second EMAHook in the run.
    """

    priority = 'ABOVE_NORMAL'  # after SparseTrainingHook, before all that evaluates or saves
    takes_sharded = False  # it works on whole weights, see engine.processes.fsdp

    def __init__(self, momentum: ShareBelowOne = 0.9999, evaluate: bool = True, warmup: bool = False) -> None:
        self.momentum, self.evaluate, self.warmup = momentum, evaluate, warmup
        self.average: AveragedModel | None = None
        self._saved: dict | None = None  # from the checkpoint, until the model is ready

    @property
    def steps(self) -> int:
        """Optimizer steps that the average has seen."""
        return 0 if self.average is None else int(self.average.n_averaged)  # on the CPU: no wait for the GPU

    def after_load_checkpoint(self, runner: Run, checkpoint: dict) -> None:
        if AVERAGE not in checkpoint:
            if runner.changes.mentions('custom_hooks.EMAHook'):
                return  # refused by the runner, or allowed: the average begins with the first step from here on
            raise CheckpointError(
                'The checkpoint holds no moving average: its run had no EMAHook. Remove the hook, begin an average here '
                'with --allow-changed custom_hooks.EMAHook, or start a new run from its weights with load_from.'
            )
        self._saved = checkpoint[AVERAGE]

    def before_train(self, runner: Run) -> None:
        if any(isinstance(hook, EMAHook) and hook is not self for hook in runner.hooks):
            raise ConfigError('custom_hooks holds two EMAHooks: a checkpoint keeps one average. Remove one of them.')
        self.average = AveragedModel(unwrap(runner.model), multi_avg_fn=self._move, use_buffers=True).requires_grad_(
            False
        )
        if self._saved is not None:
            self.average.module.load_state_dict(self._saved['state_dict'])
            self.average.n_averaged.fill_(self._saved['steps'])
            self._saved = None

    def after_train_iter(self, runner: Run, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if self.average is None or not runner.train_loop.stepped:
            return
        masked = self._masked(runner)
        with torch.no_grad():
            for average, weight, _ in masked:
                average.copy_(torch.where(average == 0, weight, average))  # newly grown: no average yet
            self.average.update_parameters(unwrap(runner.model))
            for average, _, mask in masked:
                average.mul_(mask)

    def before_save_checkpoint(self, runner: Run, checkpoint: dict) -> None:
        weights = self._averaged().state_dict()  # on all ranks: some parts gather theirs
        checkpoint[AVERAGE] = {
            'steps': self.steps,
            'state_dict': {name: weight.detach().cpu() for name, weight in weights.items()} if dist.is_main() else {},
        }

    def offered_model(self) -> tuple[str, nn.Module] | None:
        """The average, for evaluation hooks; see `OffersModel`."""
        return ('ema_', self._averaged()) if self.evaluate and self.steps else None

    def _averaged(self) -> nn.Module:
        """A model whose weights are the average. From `before_train` on there is one."""
        assert self.average is not None
        return self.average.module

    def _masked(self, runner: Run) -> list[tuple[Tensor, Tensor, Tensor]]:
        """(average, weight, mask) of every masked weight."""
        averages = dict(self._averaged().named_parameters())
        return [
            (averages[name], hook.weights[name], mask)
            for hook in runner.hooks
            if isinstance(hook, SparseTrainingHook)
            for name, mask in hook.masks.items()
        ]

    def _move(self, averages: Tensors, values: Tensors, n_averaged: Tensor | int) -> None:
        """One group of tensors of a dtype, as AveragedModel hands them out."""
        if not averages[0].is_floating_point():
            torch._foreach_copy_(averages, values)
            return
        momentum = min(self.momentum, (self.steps + 1) / (self.steps + 10)) if self.warmup else self.momentum
        torch._foreach_lerp_(averages, values, 1 - momentum)
