"""`--elastic`: a run goes on with another number of processes, or with another batch.

What must be the same for an exact resume then need not be: processes, images per process, `update_interval`, and with them the iterations
of an epoch. The data go on where they stopped, to the sample: a checkpoint says how many samples of the epoch are done, and the order of an
epoch knows neither ranks nor batches. So an iteration is counted anew: those that are left of the epoch end at its last one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch.nn.modules.batchnorm import _BatchNorm

from ...config import RunConfig
from ...contracts import CutsAnywhere
from ...distributed import unwrap
from ...errors import CheckpointError
from ...optim.base_lr import IMAGES, scaled_lr
from ..run import Loop, Run
from ..run_checks import check_rest
from ..schedulers import ClosedForm
from .changes import ELASTIC, FROM_CONFIG, REFUSED, RELAXED, Changes, Row

# What of a batch may differ, as `meta.changed` names it.
KEYS = ('world_size', 'data.imgs_per_gpu', 'optimizer_config.update_interval')


@dataclass(frozen=True)
class Batch:
    """How the images of an epoch come to the optimizer.

    Args:
        world_size: processes.
        batch_size: images per process and iteration.
        update_interval: iterations per optimizer step.
        iters_per_epoch: iterations per epoch.
    """

    world_size: int
    batch_size: int
    update_interval: int
    iters_per_epoch: int

    @classmethod
    def of(cls, fingerprint: Mapping[str, Any]) -> Batch | None:
        """From the fingerprint of a run; None where it lacks an entry."""
        names = ('world_size', 'batch_size', 'update_interval', 'iters_per_epoch')
        return (
            cls(**{name: fingerprint[name] for name in names}) if all(name in fingerprint for name in names) else None
        )

    @classmethod
    def of_run(cls, run: Run) -> Batch:
        """That of a run whose parts are built."""
        loop = run.train_loop
        return cls(run.world_size, loop.dataloader.batch_size, run.optim_wrapper.update_interval, loop.iters_per_epoch)

    @property
    def images(self) -> int:
        """Per iteration, of all processes."""
        return self.world_size * self.batch_size

    @property
    def images_per_step(self) -> int:
        return self.images * self.update_interval

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.iters_per_epoch // self.update_interval)


class Position(NamedTuple):
    """Where a run stands.

    Attributes:
        epoch: epochs finished, as checkpoints count them: a run that ended in the middle of one has counted it.
        iteration: iterations finished, each as long as those of the run that goes on.
        samples: samples that are done of the epoch in which that iteration lies; None: as many as the iterations say.
    """

    epoch: int
    iteration: int
    samples: int | None


def position_of(meta: Mapping[str, Any], loop: Loop, path: str) -> Position:
    """Where the run of a checkpoint stands in a loop, whose batches may be others.

    Args:
        meta: of the checkpoint, with the form that `state_checks` asks for.
        loop: of the run that goes on.
        path: of the checkpoint, for messages.

    Raises:
        CheckpointError: its numbers contradict each other.
    """
    before, sampler = Batch.of(meta.get('fingerprint', {})), loop.dataloader.sampler
    if before is None or not isinstance(sampler, CutsAnywhere):
        return Position(meta['epoch'], meta['iter'], None)
    epoch = min(meta['epoch'], meta['iter'] // before.iters_per_epoch)
    index = meta['iter'] - epoch * before.iters_per_epoch
    samples = meta.get('samples')
    if samples is None:  # written by an earlier version: every epoch was cut from its first sample on
        samples = sampler.samples if index >= before.iters_per_epoch else index * before.images
    if not 0 <= samples <= sampler.samples:
        raise CheckpointError(
            f'{path} cannot be resumed: it says that {samples} samples of its epoch are done, and an epoch has '
            f'{sampler.samples}. It is not as a run wrote it: use an earlier checkpoint.'
        )
    iteration = (epoch + 1) * loop.iters_per_epoch - sampler.batches_left(samples)
    same = (before.images, before.iters_per_epoch) == (sampler.global_batch, loop.iters_per_epoch)
    if same and iteration != meta['iter']:
        raise CheckpointError(
            f'{path} cannot be resumed: with {samples} samples of epoch {epoch + 1} done, its iteration would be {iteration}, '
            f'and it says {meta["iter"]}. It is not as a run wrote it: use an earlier checkpoint.'
        )
    if meta['epoch'] > epoch and iteration == (epoch + 1) * loop.iters_per_epoch:
        samples = 0  # it is counted, and nothing is left of it
    return Position(meta['epoch'], iteration, samples)


def relaxed_by(run: Run, changes: Changes, meta: Mapping[str, Any]) -> tuple[str, ...]:
    """What `--elastic` allows of a run that is resumed, and what even it cannot, is put among its changes.

    Args:
        run: that goes on; its parts are built.
        changes: gets the rows.
        meta: of the checkpoint.

    Returns:
        entries of the fingerprint that may differ.
    """
    earlier = [row for row in changes.before if row.get('key') in KEYS]
    if earlier:
        changes.notes.append(
            f'From iteration {earlier[0].get("iter")} on this run is not bit-equal to one that was never stopped: an earlier resume '
            f'went on with other processes or another batch ({ELASTIC}; meta.changed lists them).'
        )
    if not run.config.elastic or 'fingerprint' not in meta:
        return ()
    before, now = Batch.of(meta['fingerprint']), Batch.of_run(run)
    if before is not None and before != now:
        _add_rows(changes, before, now, run.train_loop.dataloader.sampler, run.param_schedulers, run.config.optimizer)
        _add_drop_last(changes, before, now, meta, run.config)
    return RELAXED


def _add_rows(
    changes: Changes, before: Batch, now: Batch, sampler: Any, schedulers: Sequence[Any], optimizer: dict
) -> None:
    sizes = [(one.world_size, one.batch_size, one.update_interval) for one in (before, now)]
    for key, was, is_now in zip(KEYS, *sizes, strict=True):
        if was != is_now:
            changes.rows.append(Row(key, str(was), str(is_now), FROM_CONFIG, note=ELASTIC))
    changes.steps_per_epoch = before.steps_per_epoch, now.steps_per_epoch
    cuts = isinstance(sampler, CutsAnywhere)
    expected = sampler.batches_of(before.images) if cuts else now.iters_per_epoch
    if (cuts or before.images == now.images) and expected != before.iters_per_epoch:
        remedy = 'use the data set and drop_last of the first run'
        changes.rows.append(Row('iters_per_epoch', str(before.iters_per_epoch), str(expected), REFUSED, remedy))
    if before.images != now.images and not (cuts and sampler.recuts):
        remedy = (
            f'keep processes x data.imgs_per_gpu at {before.images}: {ELASTIC} cannot change it, as the order in which '
            f'{type(sampler).__name__} takes the images follows from it'
        )
        changes.rows.append(Row('images per iteration', str(before.images), str(now.images), REFUSED, remedy))
    rates = [scaled_lr(optimizer, batch.images_per_step).get('lr') for batch in (before, now)]
    follows = rates[0] != rates[1] and not changes.mentions('optimizer.lr')
    if follows:
        changes.rows.append(Row('optimizer.lr', f'{rates[0]:.6g}', f'{rates[1]:.6g}', FROM_CONFIG, note='base_lr'))
    chained = [type(scheduler).__name__ for scheduler in schedulers if not isinstance(scheduler, ClosedForm)]
    if chained and (follows or before.iters_per_epoch != now.iters_per_epoch):
        remedy = (
            f"keep images per iteration and per step: mmengine's {chained[0]} goes on from values in the checkpoint and "
            'cannot follow another length of an epoch or another learning rate; lr_config could'
        )
        changes.rows.append(
            Row('iterations per epoch', str(before.iters_per_epoch), str(now.iters_per_epoch), REFUSED, remedy)
        )


def _add_drop_last(changes: Changes, before: Batch, now: Batch, meta: Mapping[str, Any], config: RunConfig) -> None:
    """Refuse another `drop_last` where the iterations of an epoch did not tell it: it was without effect before, and is not with other
    batches.
    """
    stored = (meta.get('compiled') or {}).get('train_dataloader')
    if not isinstance(stored, Mapping) or before.images == now.images or changes.mentions('iters_per_epoch'):
        return
    was, is_now = bool(stored.get('drop_last', False)), bool(config.train_dataloader.get('drop_last', False))
    if was != is_now:
        changes.rows.append(
            Row('data.drop_last', str(was), str(is_now), REFUSED, f'set it back: {ELASTIC} changes no setting')
        )


def check_next_batches(run: Run, position: Position) -> None:
    """Refuse an epoch that goes on where no batch began if what is left of it does not fit the method. A collective.

    Raises:
        SelfSupError: see `run_checks.check_rest`.
    """
    if position.samples:
        check_rest(unwrap(run.model), run.train_loop.dataloader, position.samples)


def say_other_batch(run: Run, meta: Mapping[str, Any], position: Position) -> None:
    """Log what becomes of a run that goes on with other processes or another batch; nothing where it does not."""
    before, now = Batch.of(meta.get('fingerprint', {})), Batch.of_run(run)
    if before is None or before == now:
        return
    done = ''
    if position.samples is not None:
        samples = getattr(run.train_loop.dataloader.sampler, 'samples', 0)
        done = f' after {position.samples:,} of its {samples:,} samples'
    rows = [
        ('processes', before.world_size, now.world_size),
        ('images per process', before.batch_size, now.batch_size),
        ('iterations per step', before.update_interval, now.update_interval),
        ('images per step', before.images_per_step, now.images_per_step),
        ('iterations per epoch', before.iters_per_epoch, now.iters_per_epoch),
        ('steps per epoch', before.steps_per_epoch, now.steps_per_epoch),
        ('iterations done', meta['iter'], position.iteration),
    ]
    epoch = min(position.epoch, position.iteration // now.iters_per_epoch)
    moved = before.iters_per_epoch != now.iters_per_epoch and run.config.train_cfg.get('max_iters')
    place = '' if moved else ', the place in the schedules'  # of a run that is counted in iterations it is another one
    lines = [f'{ELASTIC}: this run goes on otherwise than the one that wrote the checkpoint.']
    lines += [f'  {name:<22}{was:,}' + (f' -> {now:,}' if was != now else '') for name, was, now in rows]
    lines += [f'  {name:<22}{text}' for name, text in _consequences(before, now, run.config)]
    lines.append(
        f'What stays: the order of the images (epoch {epoch + 1} goes on{done}; none is passed over, none comes twice), the views '
        f'of every image, weights, optimizer, queues and banks, labels, masks and averages{place}.'
    )
    reasons = [
        'the random numbers of a model (dropout, drop path, masked blocks, negatives, mixing) belong to a rank and an iteration'
    ]
    if any(isinstance(module, _BatchNorm) for module in run.model.modules()):
        reasons.append("batch norms see other images together, and go on from the statistics of rank 0's")
    reasons.append('sums over images and processes are added in another order')
    if before.images_per_step != now.images_per_step:
        reasons.insert(0, 'a step sees another number of images')
    lines.append(f'From here on the run is not bit-equal to one that was never stopped: {"; ".join(reasons)}.')
    run.logger.info('\n'.join(lines))


def _consequences(before: Batch, now: Batch, config: RunConfig) -> list[tuple[str, str]]:
    """What of the config means something else with another batch, and what does not follow it though one may expect it to."""
    found = []
    optimizer = config.optimizer
    if before.images_per_step != now.images_per_step:
        if 'base_lr' in optimizer:
            old, new = (scaled_lr(optimizer, batch.images_per_step)['lr'] for batch in (before, now))
            found.append(
                (
                    'learning rate',
                    f'{old:.6g} -> {new:.6g}: base_lr {optimizer["base_lr"]:g} * images per step / {IMAGES}',
                )
            )
        else:
            found.append(
                (
                    'learning rate',
                    f'optimizer.lr={optimizer.get("lr", "its default")} as written, for either number of images per step; base_lr would '
                    'follow it',
                )
            )
    if before.iters_per_epoch == now.iters_per_epoch:
        return found
    for scheduler in config.param_scheduler:
        warmup = scheduler.get('warmup_iters') if scheduler.get('warmup') else None
        if warmup and not scheduler.get('warmup_by_epoch'):
            found.append(('warm-up', f'{warmup} iterations as written: {_epochs(warmup, before, now)}'))
    total = config.train_cfg.get('max_iters')
    length = f'total_iters={total} as written: {_epochs(total, before, now)}' if total else ''
    epochs = config.train_cfg.get('max_epochs')
    if epochs:
        length = f'{epochs * before.iters_per_epoch:,} -> {epochs * now.iters_per_epoch:,} iterations, {epochs} epochs'
    found.append(('length of the run', length))
    found.append(
        ('other settings', 'counted in iterations or steps (intervals of hooks, momenta of averages) are as written')
    )
    return found


def _epochs(iterations: int, before: Batch, now: Batch) -> str:
    was, is_now = (iterations / batch.iters_per_epoch for batch in (before, now))
    return f'{was:.3g} -> {is_now:.3g} epochs'
