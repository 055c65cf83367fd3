"""SparseTrainingHook and EMAHook in real runs: what must hold after every step, exact resume, bad input."""

import json

import pytest
import torch

from selfsup.engine import unwrap
from selfsup.errors import CheckpointError, ConfigError, SelfSupWarning
from selfsup.hooks.ema_hook import EMAHook
from selfsup.hooks.sparse_training_hook import STATE, SparseTrainingHook, maskable
from selfsup.optim.sparsity import unpack_mask
from selfsup.registry import HOOKS, MODELS
from tests.distributed.helpers import run_ranks
from tests.resume.runs import differences, train, write_config

EVERY = 'checkpoint_config.by_epoch=False'
EMA = dict(type='EMAHook', momentum=0.9)


def hooks(*more, **arguments):
    """The option for a sparse run; exchanges after steps 4, 8, 12, ..."""
    return f"custom_hooks={[dict(dict(type='SparseTrainingHook', sparsity=0.6, update_interval=4, prune_rate=0.5), **arguments), *more]}"


def register_watch():
    """A hook that looks at the state after every iteration, where the checkpoint would be written."""
    from mmengine.hooks import Hook

    class Watch(Hook):
        priority = 'VERY_LOW'

        def after_train_iter(self, runner, **kwargs):
            sparse = next(h for h in runner.hooks if isinstance(h, SparseTrainingHook))
            zeros = total = 0
            for name, weight in sparse.weights.items():
                mask = sparse.masks.get(name)
                if mask is not None:
                    assert not weight[~mask].any(), name
                zeros += 0 if mask is None else int((~mask).sum())
                total += weight.numel()
            assert abs(zeros - sparse.sparsity * total) <= 0.5, (zeros, total)
            assert sparse.current_sparsity == 1 - (total - zeros) / total
            for hook in runner.hooks:
                if isinstance(hook, EMAHook):
                    average = dict(hook.average.module.named_parameters())
                    for name, mask in sparse.masks.items():
                        assert not average[name][~mask].any(), name
            if runner.train_loop.stepped:
                runner.seen = [*getattr(runner, 'seen', []), (sparse.steps, {k: m.clone() for k, m in sparse.masks.items()})]

        def after_train(self, runner):
            steps = [step for step, _ in runner.seen]
            assert steps == list(range(1, runner.train_loop.max_steps + 1))
            moved = [b for (_, old), (b, new) in zip(runner.seen, runner.seen[1:]) if any((old[k] != new[k]).any() for k in old)]
            interval = next(h for h in runner.hooks if isinstance(h, SparseTrainingHook)).update_interval
            assert moved == ([] if interval is None else [s for s in steps[:-1] if s % interval == 0])

    HOOKS.register_module(module=Watch, force=True)
    return dict(type='Watch')


@pytest.fixture(scope='module')
def configs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('configs')
    return {m: write_config(folder / m, m) for m in ('MOCO', 'BYOL', 'SimCLR')}


MODES = {
    'fp32': (),
    'bf16': ('use_fp16=True',),
    'accumulated': ('optimizer_config.update_interval=4', 'total_epochs=4'),  # steps after 4 and 2 micro-batches in turn
    'clipped': ('optimizer_config.grad_clip={"max_norm": 0.1}',),
}


@pytest.mark.parametrize('mode', MODES)
def test_every_step_is_exactly_as_sparse_as_asked(configs, tmp_path, mode):
    train(configs['MOCO'], tmp_path, hooks(EMA, register_watch(), init='erk'), *MODES[mode], curves=False)
