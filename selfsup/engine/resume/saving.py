"""The checkpoints of a run: what is written into one, and how a run goes on from one."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ... import distributed as dist
from ... import heartbeat
from ...contracts import LearnsFromFrozen
from ...datasets.loaders.window import sampler_for
from ...distributed import unwrap
from ...errors import CheckpointError, SelfSupWarning, TrainingError
from ...provenance import sha256
from ...weights.load import load_matching, state_dict_of
from ...weights.read import read_checkpoint
from ..processes.agreement import FAILED
from ..processes.fsdp import full_optimizer, full_state
from ..run import Run
from .branch import Branch, Save
from .changes import LIBRARIES, Changes
from .comparison import compare, describe_run
from .elastic import check_next_batches, position_of, relaxed_by, say_other_batch
from .lineage import TIME
from .snapshot import Destination, Snapshot
from .state import check_fingerprint
from .state_checks import check_average, check_model_state, check_moment, check_training_state
from .training_state import load_training_state
from .writer import Writer, Written

PATIENCE_S = 60.0  # how long the end of a training waits for what is being written


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
        self.last: Path | None = None  # the newest that is known to be written
        self.took = 0.0  # seconds from the begin of the latest save to its end, on rank 0
        self._writer = Writer(run.logger, lambda: run.ask(FAILED), pinned=run.device.type == 'cuda')
        self._verified = False  # the first file of a run is read back
        self._held: tuple | None = None  # the position that the newest checkpoint holds
        self._raised = False  # that a write in the background failed
        self._untold: list[Written] = []  # hooks are to hear of them
        self.changes = Changes()  # between the run that is resumed and this one
        self._description: dict[str, Any] = {}  # what checkpoints say of settings and data
        self._pretrained = sha256(run.config.pretrained) if run.config.pretrained else None

    def describe(self) -> None:
        """Look at settings and training data, once: every checkpoint says what they were."""
        self._description = describe_run(self.run.config.compiled, self.run.train_dataloader.dataset)

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for a resumed run to equal a straight one."""
        run, loader = self.run, self.run.train_dataloader
        model = unwrap(run.model)
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
            **({'teachers': model.frozen_networks()} if isinstance(model, LearnsFromFrozen) else {}),
        }

    def save(
        self,
        name: str,
        *,
        epoch: int,
        iteration: int,
        keep: int = -1,
        keep_every_hours: float | None = None,
        wait: bool = True,
    ) -> Path:
        """See `Runner.save_checkpoint`."""
        start = time.perf_counter()
        check_moment(self.run.param_schedulers, name, iteration)
        heartbeat.beat('saving a checkpoint')
        if wait:
            self.wait()
        else:
            self.last = dist.on_main(self._raise_failure)
        self._tell()
        snapshot = self._writer.snapshot() if dist.is_main() and not wait else None
        number = self.branch.next_number()
        checkpoint = self._checkpoint(epoch, iteration, number, snapshot)
        self.run.call_hook('before_save_checkpoint', checkpoint=checkpoint)  # looks at the losses first
        self._check_finite(iteration)
        verify, self._verified = self.last is None and not self._verified, True

        def write(content: dict, stall: float | None = None, save: Save | None = None) -> Written:
            begun = time.perf_counter()
            rules: dict[str, Any] = {'keep': keep, 'keep_every_hours': keep_every_hours}
            path = self.branch.write(content, name, number, verify=verify, save=save, **rules)
            now = time.perf_counter()
            self.run.logger.info(
                f'Saved {path}: training stood still for {now - start if stall is None else stall:.2f} s, written in {now - begun:.2f} s'
            )
            return Written(path, iteration, now - begun + (begun - start if stall is None else stall))

        path = self.branch.work_dir / name
        if wait:
            path = self._write_now(lambda: write(checkpoint))
        elif snapshot is not None:
            content = snapshot.copy(checkpoint)
            snapshot.finish()
            stall = time.perf_counter() - start
            self._writer.start(name, snapshot, lambda save: write(content, stall, save))
        self._held = self._position(epoch, iteration)
        return path

    def save_position(self) -> Path | None:
        """See `Runner.save_position`."""
        run = self.run
        self.wait()
        if run.iter and self._position(run.epoch, run.iter) != self._held:
            run.save_checkpoint(
                f'iter_{run.iter}.pth', epoch=run.epoch, iteration=run.iter, **self.rules_of_iterations()
            )
        return self.newest()

    def _position(self, epoch: int, iteration: int) -> tuple:
        run = self.run
        return epoch, iteration, tuple(run.train_loop.closed_by) if epoch == run.epoch else ()

    def rules_of_iterations(self) -> dict[str, Any]:
        """Which files `iter_N.pth` stay beside a new one, as arguments of `save`."""
        hook = self.run.config.default_hooks.get('checkpoint')
        arguments = hook if isinstance(hook, dict) else {}
        if arguments.get('by_epoch', True) and arguments.get('every_minutes') is None:
            return {'keep': 1}  # the hook writes none: each takes the place of the last
        return {'keep': arguments.get('max_keep_ckpts', -1), 'keep_every_hours': arguments.get('keep_every_hours')}

    def wait(self) -> None:
        """Wait until everything is written. All processes call it.

        Raises:
            CheckpointError: a checkpoint could not be written; older ones are as they were.
        """

        def settle() -> Path | None:
            with heartbeat.working('waiting for checkpoints to be written'):
                self._writer.finish()
            return self._raise_failure()

        self.last = dist.on_main(settle)
        self._tell()

    def collect(self) -> None:
        """Take note of what was written meanwhile, and tell the hooks; does not wait. To be called often, between two iterations."""
        self._note_written()
        self._tell()

    def newest(self, patience_s: float = PATIENCE_S) -> Path | None:
        """The newest checkpoint, complete; None where there is none. Waits for those that are being written, on rank 0."""
        if patience_s:
            self._writer.finish(patience_s)
        self._note_written()
        return self.last

    def close(self) -> None:
        """At the end of a training, whatever ended it: wait for what is being written, for `PATIENCE_S` at most. Raises nothing of it."""
        log = self.run.logger
        if not self._writer.finish(PATIENCE_S):
            log.warning(
                f'{" and ".join(self._writer.busy)} is still being written after {PATIENCE_S:.0f} s: the program ends when that is done. '
                'Killed before, it leaves the checkpoints before that as they are.'
            )
        self._note_written()
        if self._writer.failure is not None and not self._raised:
            log.error(f'{self._writer.failure}')
        self._writer.close()

    def _checkpoint(self, epoch: int, iteration: int, number: int, snapshot: Snapshot | None) -> dict[str, Any]:
        """All that is stored. With `snapshot`, weights and optimizer are copied into it by now; otherwise they are those of the run,
        where these lie in host memory.
        """
        run, loop, model = self.run, self.run.train_loop, unwrap(self.run.model)
        now = time.time()
        if snapshot is not None:
            snapshot.begin()

        def room(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
            table = self._writer.table(name, shape, dtype)
            if snapshot is not None:
                snapshot.adopt(table)
            return table

        gathers = snapshot is not None or run.world_size > 1
        state = model.state_dict(destination=Destination(room)) if gathers else model.state_dict()
        checkpoint: dict[str, Any] = {
            'meta': {
                'epoch': epoch,
                'iter': iteration,
                'samples': loop.samples_at(epoch, iteration),
                'time': time.strftime(TIME, time.localtime(now)),
                'saved_at': now,
                'branch': self.branch.line(number),
                'fingerprint': self.fingerprint(),
                'config': self.text,
                'algorithm': type(model).__name__,
                'environment': run.environment,
                **self._description,
                **({'closed_by': list(loop.closed_by)} if loop.closed_by and epoch == loop.epoch else {}),
            },
            'state_dict': {name: value.detach() for name, value in full_state(state).items()},
            'optimizer': full_optimizer(run.optim_wrapper.state_dict()),
            'param_schedulers': [scheduler.state_dict() for scheduler in run.param_schedulers],
        }
        if snapshot is not None:
            checkpoint = snapshot.copy(checkpoint)
            snapshot.wait_for_device()
        elif dist.is_main():
            checkpoint['state_dict'] = {name: value.cpu() for name, value in checkpoint['state_dict'].items()}
        return checkpoint

    def _write_now(self, write: Callable[[], Written]) -> Path:
        def act() -> Written:
            try:
                return write()
            except CheckpointError as problem:
                raise CheckpointError(f'{problem}{self._good()}') from None

        written = dist.on_main(act)
        self._writer.drop_tables()
        if dist.is_main():
            self._note(written)
        self.last = written.path
        self._tell()
        return written.path

    def _raise_failure(self) -> Path | None:
        """What a write in the background raised; otherwise the newest checkpoint. On rank 0."""
        self._note_written()
        problem = self._writer.failure
        if problem is None:
            return self.last
        self._raised = True
        if isinstance(problem, CheckpointError):
            raise CheckpointError(f'{problem}{self._good()}') from None
        raise problem

    def _note_written(self) -> None:
        for written in self._writer.take_written():
            self._note(written)

    def _note(self, written: Written) -> None:
        self.last, self.took = written.path, written.seconds
        self._untold.append(written)

    def _good(self) -> str:
        return f' The last good checkpoint is {self.last}.' if self.last else ''

    def _tell(self) -> None:
        """Hooks of rank 0 hear of each checkpoint that is on the disk, in order."""
        while self._untold:
            written = self._untold.pop(0)
            self.run.call_hook('after_save_checkpoint', path=written.path, iteration=written.iteration)

    def _check_finite(self, iteration: int) -> None:
        """A loss may stay finite when weights are not any more, behind a ReLU say: they must not take the place of good ones."""
        model = unwrap(self.run.model)
        statistics = [
            (name, buffer) for name, buffer in model.named_buffers() if name.endswith(('running_mean', 'running_var'))
        ]
        named = [*model.named_parameters(), *statistics]
        # Of each process's share, and of its own statistics: all processes stop, or none.
        shares = [dist.local_share(value.detach()) for _, value in named]
        # No sum of numbers that are not all finite is finite: six times as fast on a CPU as to look at each.
        sums = torch.stack([share.sum(dtype=torch.float32) for share in shares])
        if not bool(dist.sum((~sums.isfinite()).any().int())):
            return
        faults = dist.sum(torch.stack([(~share.isfinite()).any().int() for share in shares]))
        broken = [name for (name, _), fault in zip(named, faults.tolist(), strict=True) if fault]
        if broken:
            newest = self.newest()
            good = f'the last good checkpoint is {newest}' if newest else 'no checkpoint was saved yet'
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
        position = position_of(meta, run.train_loop, path)
        check_next_batches(run, position)
        load_training_state(
            run.optim_wrapper, run.param_schedulers, checkpoint, self.changes, path, run.logger, position.iteration
        )
        self._description['changed'] = self.changes.record(position.iteration)
        run.train_loop.start_at(position.epoch, position.iteration, meta.get('closed_by', ()), position.samples)
        self._held = self._position(run.epoch, run.iter)
        say_other_batch(run, meta, position)
        self.last = Path(path)
        remaining = run.max_iters - position.iteration
        rest = (
            f'{remaining} iterations are left'
            if remaining > 0
            else 'nothing is left to do; raise total_epochs or total_iters to train longer'
        )
        run.logger.info(f'Resumed {path}: epoch {position.epoch}, iteration {position.iteration}; {rest}.')

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
        relaxed = relaxed_by(run, self.changes, meta)
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
        check_fingerprint(meta['fingerprint'], self.fingerprint(), path, self.changes.problems(), relaxed)
