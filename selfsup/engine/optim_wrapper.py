"""Optimizer wrappers: an accumulation window that the loop sets, and mixed precision on GPU and CPU.

mmengine's own AMP wrapper asserts a GPU; its accumulation windows cross epoch ends and are lost in checkpoints. These two
keep its interface (`get_lr`, `param_groups`, `state_dict`), which hooks and schedulers use.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Literal

import torch
from mmengine.optim import OptimWrapper as MMOptimWrapper
from torch import Tensor
from torch.optim import Optimizer

from ..arguments import Count, Positive
from ..contracts import Progress
from ..distributed import whole
from ..errors import ConfigError
from ..registry import OPTIM_WRAPPERS
from .gradients import FrozenAtFirst, clip_each


@OPTIM_WRAPPERS.register_module()
class OptimWrapper(MMOptimWrapper):
    """Full precision.

    Args:
        optimizer: what it wraps.
        accumulative_counts: micro-batches per optimizer step (`update_interval`), >= 1.
        clip_grad: arguments of `torch.nn.utils.clip_grad_norm_` (`max_norm`, ...) or, with `type='value'`, of `clip_grad_value_`; with
            `per_tensor=True` of `gradients.clip_each`.
        device_type: 'cpu' or 'cuda'.
        freeze: parameters whose gradients are dropped at first, so that neither weight decay nor momentum moves them. They are dropped
            after the clipping, in whose common norm they count.

    Raises:
        ConfigError: `per_tensor` with `type='value'`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        accumulative_counts: Count = 1,
        clip_grad: dict | None = None,
        device_type: Literal['cpu', 'cuda'] = 'cpu',
        freeze: Sequence[FrozenAtFirst] = (),
    ) -> None:
        clip = dict(clip_grad) if clip_grad else {}
        self.clips_each = bool(clip.pop('per_tensor', False))
        if self.clips_each and 'type' in clip:
            raise ConfigError(f'clip_grad: per_tensor=True clips norms; remove it or type={clip["type"]!r}.')
        super().__init__(optimizer, accumulative_counts, clip or None)
        self.device_type = device_type
        self.freeze = list(freeze)
        self.progress = Progress(0, 1, 1)  # of the step that comes; the loop sets it
        self.grad_norm: Tensor | None = None  # of the last step, before clipping; None where nothing needs it

    @property
    def update_interval(self) -> int:
        """Micro-batches per optimizer step."""
        return self._accumulative_counts

    def autocast(self) -> Any:
        """Context in which the forward pass runs."""
        return nullcontext()

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        loss.backward(**kwargs)

    def step(self, **kwargs: Any) -> bool:
        """Clip, drop gradients of what is frozen, then move the weights. Returns False where the step was skipped (fp16 overflow)."""
        self._clip_grad()
        self._drop_frozen(self._frozen())
        self.optimizer.step(**kwargs)
        self._take_norm()
        return True

    def zero_grad(self, **kwargs: Any) -> None:
        self.optimizer.zero_grad(**kwargs)

    def _take_norm(self) -> None:
        """The norm of an optimizer that clips by itself (LAMB), where this wrapper does not."""
        if not self.clip_grad_kwargs:
            self.grad_norm = getattr(self.optimizer, 'global_grad_norm', None)

    def _clip_grad(self) -> None:
        if not self.clip_grad_kwargs:
            return
        params = [p for group in self.optimizer.param_groups for p in group['params'] if p.grad is not None]
        if self.clips_each:
            self.grad_norm = clip_each(params, **self.clip_grad_kwargs).norm()
            return
        norm = self.clip_func(params, **self.clip_grad_kwargs)
        self.grad_norm = whole(norm.detach()) if isinstance(norm, Tensor) else None  # clip_grad_value_ returns None

    def _frozen(self) -> list[FrozenAtFirst]:
        """What the step that comes leaves as it is."""
        return [rule for rule in self.freeze if rule.holds(self.progress)]

    @staticmethod
    def _drop_frozen(frozen: list[FrozenAtFirst]) -> None:
        for rule in frozen:
            for parameter in rule.parameters:
                parameter.grad = None


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(OptimWrapper):
    """Mixed precision: fp16 with loss scaling on CUDA, bf16 without scaling on the CPU.

    Args:
        dtype: None: float16 on CUDA, bfloat16 on the CPU.
        loss_scale: 'dynamic', a fixed initial scale > 0, or arguments of `torch.amp.GradScaler`; only used with float16.
    """

    def __init__(
        self,
        dtype: Literal['float16', 'bfloat16'] | None = None,
        loss_scale: Literal['dynamic'] | Positive | dict = 'dynamic',
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dtype = getattr(torch, dtype or ('float16' if self.device_type == 'cuda' else 'bfloat16'))
        scaling: dict = {'enabled': self.dtype is torch.float16}
        if isinstance(loss_scale, dict):
            scaling.update(loss_scale)
        elif loss_scale != 'dynamic':
            scaling['init_scale'] = float(loss_scale)
        self.loss_scaler = torch.amp.GradScaler(self.device_type, **scaling)

    def autocast(self) -> Any:
        return torch.autocast(self.device_type, dtype=self.dtype)

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        self.loss_scaler.scale(loss).backward(**kwargs)

    def step(self, **kwargs: Any) -> bool:
        frozen = self._frozen()
        if self.clip_grad_kwargs or frozen:
            self.loss_scaler.unscale_(self.optimizer)  # looks for overflow, in what is frozen too
        self._clip_grad()
        self._drop_frozen(frozen)
        before = self.loss_scaler.get_scale()
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update()
        self._take_norm()
        return self.loss_scaler.get_scale() >= before  # the scale shrinks exactly when the step was skipped

    def state_dict(self) -> dict:
        return {**super().state_dict(), 'loss_scaler': self.loss_scaler.state_dict()}

    def load_state_dict(self, state_dict: dict) -> None:
        state = dict(state_dict)
        scaler = state.pop('loss_scaler', None)
        if scaler:
            self.loss_scaler.load_state_dict(scaler)
        super().load_state_dict(state)
