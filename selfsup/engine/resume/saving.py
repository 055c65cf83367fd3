"""The checkpoints of a run: what is written into one, and how a run goes on from one."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ... import distributed as dist
from ...datasets.loaders.window import sampler_for
from ...distributed import unwrap
from ...errors import CheckpointError, SelfSupWarning, TrainingError
from ...provenance import sha256
from ...weights.load import load_matching, state_dict_of
from ...weights.read import read_checkpoint
from ..run import Run
from .branch import Branch
from .changes import LIBRARIES, Changes
from .comparison import compare, describe_run
from .state import check_fingerprint
from .state_checks import check_average, check_model_state, check_training_state
from .training_state import load_training_state


class Checkpoints:
    """Saves the state of a run and brings it back.

    Args:
        run: its model is built, with the pretrained weights; the other parts are asked for when something is saved or resumed.
        text: the config as written, for people who read a checkpoint.
        emergency_dir: where checkpoints go that cannot be written into the work dir.
    """

    def __init__(self, run: Run, text: str, emergency_dir: str | None) -> None:
        self.run, self.text = run, text
        self.branch = Branch(run.config.work_dir, emergency_dir)
        self.last: Path | None = None
        self.changes = Changes()  # between the run that is resumed and this one
        self._description: dict[str, Any] = {}  # what checkpoints say of settings and data
        self._pretrained = sha256(run.config.pretrained) if run.config.pretrained else None

    def describe(self) -> None:
        """Look at settings and training data, once: every checkpoint says what they were."""
        self._description = describe_run(self.run.config.compiled, self.run.train_dataloader.dataset)

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for a resumed run to equal a straight one."""
        run, loader = self.run, self.run.train_dataloader
        return {
            'seed': run.seed,
            'world_size': run.world_size,
            'batch_size': loader.batch_size,
            'iters_per_epoch': run.train_loop.iters_per_epoch,
            'dataset_length': len(loader.dataset),
            'sampler': sampler_for(dict(run.config.train_dataloader['sampler']), loader.dataset),
            'update_interval': run.optim_wrapper.update_interval,
            'optimizer': type(run.optim_wrapper.optimizer).__name__,
            'pretrained': self._pretrained,
        }

    def save(self, name: str, *, epoch: int, iteration: int, keep: int = -1) -> Path:
        """See `Runner.save_checkpoint`."""
        run, loop, model = self.run, self.run.train_loop, unwrap(self.run.model)
        checkpoint = {
            'meta': {
                'epoch': epoch,
                'iter': iteration,
                'time': time.strftime('%Y-%m-%d %H:%M:%S'),
                'branch': self.branch.line,
                'fingerprint': self.fingerprint(),
                'config': self.text,
                'algorithm': type(model).__name__,
                'environment': run.environment,
                **self._description,
                **({'closed_by': list(loop.closed_by)} if loop.closed_by and epoch == loop.epoch else {}),
            },
            'state_dict': {name: _to_store(value) for name, value in model.state_dict().items()},
            'optimizer': run.optim_wrapper.state_dict(),
            'param_schedulers': [scheduler.state_dict() for scheduler in run.param_schedulers],
        }
        run.call_hook('before_save_checkpoint', checkpoint=checkpoint)  # looks at the losses first
        self._check_finite(iteration)
        try:
            self.last = dist.on_main(lambda: self.branch.write(checkpoint, name, keep=keep, verify=self.last is None))
        except CheckpointError as problem:
            good = f' The last good checkpoint is {self.last}.' if self.last else ''
            raise CheckpointError(f'{problem}{good}') from None
        return self.last

    def _check_finite(self, iteration: int) -> None:
        """A loss may stay finite when weights are not any more, behind a ReLU say: they must not take the place of good ones."""
        model = unwrap(self.run.model)
        statistics = [
            (name, buffer) for name, buffer in model.named_buffers() if name.endswith(('running_mean', 'running_var'))
        ]
        named = [*model.named_parameters(), *statistics]
        finite = torch.stack([value.detach().isfinite().all() for _, value in named]).tolist()
        broken = [name for (name, _), good in zip(named, finite, strict=True) if not good]
        if broken:
            good = f'the last good checkpoint is {self.last}' if self.last else 'no checkpoint was saved yet'
            raise TrainingError(
                f'Weights are not finite after iteration {iteration}: {", ".join(broken[:3])}'
                f'{f" and {len(broken) - 3} more" if len(broken) > 3 else ""}; {good}. Lower the learning rate, clip '
                'gradients (optimizer_config.grad_clip) or train without use_fp16.'
            )

    def resume(self, path: str) -> None:
        """See `Runner.resume`. Nothing is loaded before the training state, the comparison and the fingerprint are known to fit."""
        run, model = self.run, unwrap(self.run.model)
        checkpoint = read_checkpoint(path)
        meta = check_training_state(checkpoint, path)
        self._compare(meta, path)
        weights = state_dict_of(checkpoint, path)
        check_model_state(weights, path)
        check_average(checkpoint, model.state_dict(), path)
        load_matching(model, weights, path, type(model).__name__, strict=True)
        stored = list(checkpoint.get('state_dict', {}).values())
        run.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        if any(one is not other for one, other in zip(checkpoint.get('state_dict', {}).values(), stored, strict=True)):
            # mmengine's EMAHook stores the average in the place of the weights, and puts them back here
            load_matching(model, state_dict_of(checkpoint, path), path, type(model).__name__, strict=True)
        self.changes.check(path)
        load_training_state(run.optim_wrapper, run.param_schedulers, checkpoint, self.changes, path, run.logger)
        self._description['changed'] = self.changes.record(meta['iter'])
        run.train_loop.start_at(meta['epoch'], meta['iter'], meta.get('closed_by', ()))
        self.last = Path(path)
        remaining = run.max_iters - meta['iter']
        rest = (
            f'{remaining} iterations are left'
            if remaining > 0
            else 'nothing is left to do; raise total_epochs or total_iters to train longer'
        )
        run.logger.info(f'Resumed {path}: epoch {meta["epoch"]}, iteration {meta["iter"]}; {rest}.')

    def _compare(self, meta: dict[str, Any], path: str) -> None:
        """Find out what differs between the run of a checkpoint and this one; refuse what keeps it from going on exactly."""
        run = self.run
        if not self._description:
            self.describe()
        self.changes = dist.on_main(
            lambda: compare(  # rank 0 alone has looked at the data
                meta,
                run.config.compiled,
                self._description.get('data', {}),
                libraries=self._description.get(LIBRARIES),
                path=path,
                images=run.images_per_step,
                allowed=run.config.allow_changed,
            )
        )
        table = self.changes.table()
        if table:
            run.logger.info('Compared with the run that is resumed:\n%s', '\n'.join(f'  {line}' for line in table))
        if 'fingerprint' not in meta:
            warnings.warn(
                f'{path} does not say how its run was started: its data order cannot be checked.',
                SelfSupWarning,
                stacklevel=2,
            )
            return
        if not run.config.pretrained:  # they need not be named again
            self._pretrained = meta['fingerprint'].get('pretrained')
        check_fingerprint(meta['fingerprint'], self.fingerprint(), path, self.changes.problems())


def _to_store(value: Tensor) -> Tensor:
    """On the CPU; only the rank that writes copies."""
    return value.detach().cpu() if dist.is_main() else value
