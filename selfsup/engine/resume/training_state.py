"""The optimizer's state of a resumed run: per weight from the checkpoint; options of the groups from the config, where they may change."""

from __future__ import annotations

import logging
from typing import Any

from torch.optim import Optimizer

from ...errors import CheckpointError
from ..schedulers import ClosedForm
from .changes import Changes
from .state_checks import check_optimizer, check_schedules

_OPTIONS = ('optimizer', 'lr_config', 'weight_decay_config')


def load_training_state(
    wrapper: Any,
    schedulers: list,
    checkpoint: dict,
    changes: Changes,
    path: str,
    logger: logging.Logger,
    iteration: int,
) -> None:
    """Load the state of optimizer and schedules. torch takes the options of the groups (weight decay, momentum, ...) from it as well:
    where `changes` let those of the config count, they are put back.

    Args:
        wrapper: of the optimizer, built from the config.
        schedulers: likewise.
        checkpoint: the whole of it.
        changes: between its run and this one.
        path: of the checkpoint, for messages.
        logger: is told which learning rate follows, where that may be another one.
        iteration: where the run goes on; another one than in the checkpoint where the batches are others.

    Raises:
        CheckpointError: the state is of other weights, or of other schedules.
    """
    optimizer, saved_iteration = wrapper.optimizer, checkpoint['meta']['iter']
    saved = optimizer_state(checkpoint['optimizer'], optimizer, changes, path)
    check_optimizer(saved, optimizer, path)
    states: Any = checkpoint.get('param_schedulers')
    follow = schedules_follow(schedulers, changes)
    if follow:
        check_schedules(states, schedulers, saved_iteration, path)
    if not follow or iteration != saved_iteration:  # closed formulas need nothing but their position
        states = [{'last_step': iteration, '_global_step': iteration + 1}] * len(schedulers)
    wanted = [{name: value for name, value in group.items() if name != 'params'} for group in optimizer.param_groups]
    anew = any(changes.counts_anew(key) for key in _OPTIONS)
    try:
        wrapper.load_state_dict(saved)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise CheckpointError(
            f'{path}: its optimizer state does not fit the optimizer of the config ({error}). '
            'Resume with the config of the first run, or start from its weights with load_from.'
        ) from None
    closed = [scheduler for scheduler in schedulers if isinstance(scheduler, ClosedForm)]
    for scheduler, state in zip(schedulers, states, strict=True):
        scheduler.load_state_dict(state)
    if not (anew or changes.longer_or_shorter or changes.steps_per_epoch):
        return
    before = checkpoint['optimizer']['param_groups'][0].get('lr')
    if anew:
        foreign = {name for s in schedulers if s not in closed for name in (s.param_name, f'initial_{s.param_name}')}
        for group, options in zip(optimizer.param_groups, wanted, strict=True):
            group.update((name, value) for name, value in options.items() if name not in foreign)
    for scheduler in closed:
        scheduler.set_now()
    now = optimizer.param_groups[0].get('lr')
    logger.info(
        f'Learning rate at iteration {iteration}: '
        + (
            f'{before:.6g} in the checkpoint, {now:.6g} from here on.'
            if now != before
            else f'{now:.6g}, as in the checkpoint.'
        )
    )


def optimizer_state(saved: dict, optimizer: Optimizer, changes: Changes, path: str) -> dict:
    """The optimizer's state in a checkpoint, in the groups of `optimizer` where `changes` let other ones count."""
    return _regrouped(saved, optimizer, path) if changes.counts_anew('optimizer') else saved


def schedules_follow(schedulers: list, changes: Changes) -> bool:
    """False where the schedules may be others than before: those in closed form need nothing but their position."""
    anew = any(changes.counts_anew(key) for key in _OPTIONS)
    return not (anew and all(isinstance(scheduler, ClosedForm) for scheduler in schedulers))


def _regrouped(saved: dict, optimizer: Optimizer, path: str) -> dict:
    """A saved state in the groups of `optimizer`, weight by weight: other `paramwise_options` may make other groups."""
    groups = saved['param_groups']
    names: list[Any] = [group.get('param_names') for group in optimizer.param_groups]
    old_names: list[Any] = [group.get('param_names') for group in groups]
    if names == old_names or None in names or None in old_names:
        return saved
    if any(len(group['param_names']) != len(group['params']) for group in groups):
        raise CheckpointError(f'{path}: its optimizer state has not one name for each parameter: the file is damaged.')
    where = {
        name: (number, group)
        for group in groups
        for name, number in zip(group['param_names'], group['params'], strict=True)
    }
    missing = sorted({name for group in names for name in group} ^ set(where))
    if missing:
        raise CheckpointError(
            f'{path}: {missing[0]} is trained in only one of the two runs, so the state of the optimizer does not fit. '
            'Start from its weights with load_from.'
        )
    state, new_groups, number = {}, [], 0
    for group_names, group in zip(names, optimizer.param_groups, strict=True):
        numbers = list(range(number, number + len(group_names)))
        number += len(group_names)
        state.update(
            {
                new: saved['state'][where[name][0]]
                for new, name in zip(numbers, group_names, strict=True)
                if where[name][0] in saved['state']
            }
        )
        options = {name: value for name, value in group.items() if name != 'params'}
        new_groups.append({**where[group_names[0]][1], **options, 'params': numbers})
    return {**saved, 'state': state, 'param_groups': new_groups}
