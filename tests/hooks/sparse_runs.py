"""A hook that looks at a sparse run after every step, and the options that start one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor

from selfsup import distributed as dist
from selfsup.engine import unwrap
from selfsup.hooks.ema_hook import EMAHook
from selfsup.hooks.sparse_training.hook import SparseTrainingHook
from selfsup.registry import HOOKS

EVERY = 'checkpoint_config.by_epoch=False'
# Exchanges after steps 4, 8, ...
SPARSE = dict(type='SparseTrainingHook', sparsity=0.6, init='erk', update_interval=4, prune_rate=0.5)
MOMENTUM = 0.9  # of the average


class Watch(Hook):
    """Fails where a masked weight is not zero, the number of zeros is not the one asked for, or masks move when they must not."""

    priority = 'VERY_LOW'

    def before_train(self, runner: Any) -> None:
        self.sparse = next(hook for hook in runner.hooks if isinstance(hook, SparseTrainingHook))
        self.ema = next((hook for hook in runner.hooks if isinstance(hook, EMAHook)), None)
        self.seen: list[tuple[int, dict[str, Tensor]]] = [(self.sparse.steps, self._masks())]
        self.expected: dict[str, Tensor] | None = None
        self._check()
        if runner.iter == 0 and not runner._load_from:
            parameters = dict(unwrap(runner.model).named_parameters())
            for part, follower in unwrap(runner.model).momentum_copies:
                for name, value in parameters.items():
                    if name.startswith(f'{follower}.'):
                        assert torch.equal(value, parameters[part + name.removeprefix(follower)]), name

    def after_train_iter(self, runner: Any, **kwargs: Any) -> None:
        self._check()
        if runner.train_loop.stepped:
            self.seen.append((self.sparse.steps, self._masks()))
            if self.ema is not None:
                self._check_average(unwrap(runner.model))

    def after_train(self, runner: Any) -> None:
        steps = [step for step, _ in self.seen]
        assert steps == list(range(steps[0], runner.train_loop.max_steps + 1))
        moved = [step for (_, old), (step, new) in pairwise(self.seen) if any((old[k] != new[k]).any() for k in old)]
        interval = self.sparse.update_interval
        assert moved == ([] if interval is None else [s for s in steps[1:-1] if s % interval == 0])
        for name, weight in self.sparse.weights.items():
            assert torch.equal(weight, dist.broadcast(weight.detach().clone())), f'{name} differs between ranks'
            if name in self.sparse.masks:
                mask = self.sparse.masks[name].int()
                assert torch.equal(mask, dist.broadcast(mask.clone())), f'the mask of {name} differs between ranks'

    def _masks(self) -> dict[str, Tensor]:
        return {name: mask.clone() for name, mask in self.sparse.masks.items()}

    def _check(self) -> None:
        zeros = total = 0
        average = dict(self.ema.average.module.named_parameters()) if self.ema else {}
        for name, weight in self.sparse.weights.items():
            total += weight.numel()
            if name not in self.sparse.masks:
                continue
            inactive = ~self.sparse.masks[name]
            zeros += int(inactive.sum())
            assert not weight[inactive].any(), f'{name} has weights where its mask has none'
            assert not average or not average[name][inactive].any(), (
                f'the average of {name} has weights where the mask has none'
            )
        assert abs(self.sparse.current_sparsity - zeros / total) < 1e-9
        if self.sparse.sparsity is not None and self.sparse.growth != 'bernoulli':
            assert abs(zeros - self.sparse.sparsity * total) <= 0.5, f'{zeros} zeros of {total}'

    @torch.no_grad()
    def _check_average(self, model: torch.nn.Module) -> None:
        """The average, computed anew from its definition; that of a new weight is the weight."""
        found = self.ema.average.module.state_dict()
        state = {name: value.clone() for name, value in model.state_dict().items()}
        if self.expected is None:
            self.expected = state if self.ema.steps == 1 else {name: value.clone() for name, value in found.items()}
        else:
            for name, value in state.items():
                old, mask = self.expected[name], self.sparse.masks.get(name)
                if not value.is_floating_point():
                    self.expected[name] = value
                    continue
                new = MOMENTUM * old + (1 - MOMENTUM) * value
                if mask is not None:
                    new = mask * (new + MOMENTUM * value * (old == 0))
                self.expected[name] = new
        for name, value in self.expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6, msg=name)
            if name in self.sparse.masks:  # exact zeros stay exact in what follows
                self.expected[name] = found[name].clone()


def options(*more: dict, average: bool = True, **arguments: Any) -> str:
    """The option for a sparse run, with or without an average, watched at every step, in an order that priorities have to mend."""
    HOOKS.register_module(name='Watch', module=Watch, force=True)
    averages = [{'type': 'EMAHook', 'momentum': MOMENTUM}] if average else []
    return f'custom_hooks={[*more, {"type": "Watch"}, *averages, {**SPARSE, **arguments}]}'
