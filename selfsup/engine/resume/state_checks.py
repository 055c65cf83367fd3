"""What stands beside the weights in a checkpoint is checked before any of it is used, so that nothing is loaded by half.

A file may be whole and still not be what a run wrote: edited, joined from two, or written by other code.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import CheckpointError, TrainingError
from ...weights.fit import convertible
from ...weights.frame import AVERAGE
from ...weights.read import check_finite

# entries of the fingerprint -> their type and smallest value; others are compared as they are
_NUMBERS = {
    'seed': 0,
    'world_size': 1,
    'batch_size': 1,
    'iters_per_epoch': 1,
    'dataset_length': 1,
    'update_interval': 1,
}
# The numbers of a parameter group that a step reads.
_SETTINGS = ('lr', 'initial_lr', 'weight_decay', 'momentum', 'dampening', 'betas', 'eps')
_PLAIN = (str, int, float, bool, type(None))


def read_meta(checkpoint: Mapping, path: str) -> dict[str, Any]:
    """`meta` of a checkpoint; {} where it has none.

    Raises:
        CheckpointError: it, or its fingerprint, is not what a run of ours writes.
    """
    meta = checkpoint.get('meta', {})
    if not isinstance(meta, dict):
        raise _broken(path, f'its meta is a {type(meta).__name__}, not a dict')
    fingerprint = meta.get('fingerprint', {})
    if not isinstance(fingerprint, dict):
        raise _broken(path, f'its fingerprint is a {type(fingerprint).__name__}, not a dict')
    _check_plain(meta, 'meta', path)
    for name, least in _NUMBERS.items():
        if name in fingerprint and not _whole_number(fingerprint[name], least):
            raise _broken(
                path, f'{name} in its fingerprint is {fingerprint[name]!r:.80}, not a whole number of at least {least}'
            )
    return meta


def check_training_state(checkpoint: Mapping, path: str) -> dict[str, Any]:
    """`meta` of a checkpoint that a run is to be resumed from.

    Raises:
        CheckpointError: there is no training state, or what must be there has another form or impossible values.
    """
    meta = read_meta(checkpoint, path)
    if 'iter' not in meta or 'optimizer' not in checkpoint:
        raise CheckpointError(
            f'{path} holds weights but no training state (optimizer, iteration): it cannot be resumed. '
            'Use it with --pretrained (backbone weights) or load_from (whole model).'
        )
    for name in ('epoch', 'iter'):
        if not _whole_number(meta.get(name), 0):
            raise _broken(path, f'{name} in its meta is {meta.get(name)!r:.80}, not a whole number of at least 0')
    closed_by = meta.get('closed_by', [])
    if not isinstance(closed_by, list) or not all(isinstance(name, str) for name in closed_by):
        raise _broken(path, f'closed_by in its meta is {closed_by!r:.80}, not a list of hooks')
    samples = meta.get('samples')
    if samples is not None and not _whole_number(samples, 0):
        raise _broken(path, f'samples in its meta is {samples!r:.80}, not a whole number of at least 0')
    length, epoch, iteration = meta.get('fingerprint', {}).get('iters_per_epoch'), meta['epoch'], meta['iter']
    if length and not (epoch - 1) * length < iteration <= (epoch + 1) * length and (epoch, iteration) != (0, 0):
        raise _broken(path, f'it says epoch {epoch} and iteration {iteration}, with {length} iterations per epoch')
    optimizer = checkpoint['optimizer']
    groups = optimizer.get('param_groups') if isinstance(optimizer, dict) else None
    if (
        not isinstance(groups, list)
        or not all(isinstance(group, dict) and isinstance(group.get('params'), list) for group in groups)
        or not isinstance(optimizer.get('state'), dict)
    ):
        raise _broken(path, 'its optimizer state has no groups of parameters')
    return meta


def check_model_state(weights: Mapping[str, Tensor], path: str) -> None:
    """Counters and labels that a model keeps lie in the range of what they count.

    Args:
        weights: of the whole model, under our names.

    Raises:
        CheckpointError: a queue's pointer outside of the queue, or a label that is no cluster.
    """
    for name, value in weights.items():
        part = name.rpartition('.')[0] + '.' if '.' in name else ''
        queue, centroids = weights.get(f'{part}queue'), weights.get(f'{part}centroids')
        if name == f'{part}queue_ptr' and queue is not None and queue.dim() == 2:
            _check_range(value, 0, queue.shape[1], name, path)
        if name == f'{part}label_bank' and centroids is not None and centroids.dim() == 2:
            ready = weights.get(f'{part}initialized')
            _check_range(value, 0 if ready is not None and bool(ready.all()) else -1, centroids.shape[0], name, path)


def check_average(checkpoint: Mapping, of_the_model: Mapping[str, Tensor], path: str) -> None:
    """The moving average, where there is one, has the tensors of the model.

    Args:
        of_the_model: its state dict.

    Raises:
        CheckpointError: it has not.
    """
    if AVERAGE not in checkpoint:
        return
    average = checkpoint[AVERAGE]
    weights = average.get('state_dict') if isinstance(average, dict) else None
    if not isinstance(weights, dict) or not _whole_number(average.get('steps'), 0):
        raise _broken(path, f"its moving average ('{AVERAGE}') lacks 'state_dict' or 'steps'")
    check_finite(weights, path, 'averaged weights')
    check_same(weights, of_the_model, f"the moving average ('{AVERAGE}')", path)


def check_same(weights: Mapping[str, Any], of_the_model: Mapping[str, Tensor], what: str, path: str) -> None:
    """Every tensor of `of_the_model` is there, of its shape and kind, and nothing else.

    Raises:
        CheckpointError: it is not so.
    """
    wrong = [
        name
        for name in of_the_model
        if not isinstance(weights.get(name), Tensor)
        or weights[name].shape != of_the_model[name].shape
        or not convertible(weights[name], of_the_model[name])
    ]
    wrong += [str(name) for name in weights if name not in of_the_model]
    if wrong:
        raise _broken(
            path,
            f'{what} does not fit the model in {", ".join(wrong[:4])}{f" and {len(wrong) - 4} more" if wrong[4:] else ""}',
        )


def check_optimizer(saved: Mapping, optimizer: torch.optim.Optimizer, path: str) -> None:
    """The state of an optimizer fits its parameters: shapes, entries, finite numbers.

    Args:
        saved: what `optimizer.state_dict()` was.
        optimizer: the one that is to take it, before its first step.

    Raises:
        CheckpointError: it does not fit.
    """
    scaler = saved.get('loss_scaler', {})
    if not isinstance(scaler, dict) or not all(_finite_number(value) and value >= 0 for value in scaler.values()):
        raise _broken(path, f'the state of its loss scaler is {scaler!r:.80}')
    groups, saved_groups = optimizer.param_groups, saved['param_groups']
    sizes, saved_sizes = ([len(group['params']) for group in some] for some in (groups, saved_groups))
    if sizes != saved_sizes:
        raise CheckpointError(
            f'{path}: its optimizer state does not fit the optimizer of the config (groups of {saved_sizes[:8]} parameters, '
            f'the config has {sizes[:8]}). Resume with the config of the first run, or start from its weights with '
            'load_from.'
        )
    owners: dict[Any, tuple[nn.Parameter, dict[str, Any]]] = {}
    for group, old in zip(groups, saved_groups, strict=True):
        _check_group(group, old, path)
        wanted = _state_of_a_step(optimizer, group)
        for number, parameter in zip(old['params'], group['params'], strict=True):
            if not _whole_number(number, 0) or number in owners:
                raise _broken(path, f'its optimizer state numbers a parameter {number!r:.40}')
            owners[number] = parameter, wanted
    for number, values in saved['state'].items():
        if number not in owners or not isinstance(values, dict):
            raise _broken(path, f'its optimizer state holds {number!r:.40}, which is no parameter')
        _check_values(values, *owners[number], number, path)


def _check_group(group: Mapping, old: Mapping, path: str) -> None:
    for name in _SETTINGS:
        # a run without schedules has no 'initial_lr'; they bring their own
        if name not in group or (name == 'initial_lr' and name not in old):
            continue
        value: Any = old.get(name)
        numbers = value if isinstance(value, list | tuple) else [value]
        pair = isinstance(group[name], tuple)
        if (
            pair is not isinstance(value, list | tuple)
            or (pair and len(value) != len(group[name]))
            or not all(map(_finite_number, numbers))
        ):
            raise _broken(path, f'{name} in its optimizer state is {value!r:.80}')


def _state_of_a_step(optimizer: torch.optim.Optimizer, group: Mapping) -> dict[str, Any]:
    """What the optimizer keeps for a parameter of (2, 3) numbers after a step; {} for one that cannot be built from its settings."""
    parameter = nn.Parameter(torch.zeros(2, 3))
    parameter.grad = torch.zeros(2, 3)
    rest = {name: value for name, value in group.items() if name not in ('params', 'param_names')}
    known = inspect.signature(type(optimizer).__init__).parameters
    try:
        probe = type(optimizer)(
            [{**rest, 'params': [parameter]}], **{k: v for k, v in optimizer.defaults.items() if k in known}
        )
        probe.step()
    except Exception:  # an optimizer of the user's own may ask for anything
        return {}
    return probe.state[parameter]


def _check_values(
    values: Mapping[str, Any], parameter: nn.Parameter, wanted: Mapping[str, Any], number: int, path: str
) -> None:
    for name, pattern in wanted.items():
        value: Any = values.get(name)
        where = f"'{name}' of parameter {number} in its optimizer state"
        whole = isinstance(pattern, Tensor) and pattern.dim() > 0
        if whole and not (
            isinstance(value, Tensor)
            and value.is_floating_point()
            and (pattern.shape != (2, 3) or value.shape == parameter.shape)
        ):
            shape = f'of shape {tuple(value.shape)}' if isinstance(value, Tensor) else f'a {type(value).__name__}'
            raise _broken(path, f'{where} is {shape}, the parameter of {tuple(parameter.shape)}')
        if not whole and isinstance(pattern, Tensor | int | float) and not (_finite_number(value) and value >= 0):
            raise _broken(path, f'{where} is {value!r:.60}, not a number of at least 0')
    check_finite(
        {f'{name} of parameter {number}': value for name, value in values.items()}, path, 'the numbers of its optimizer'
    )


def check_schedules(states: Any, schedulers: list, iteration: int, path: str) -> None:
    """One state for every schedule of the config, with its entries, at the iteration of the checkpoint.

    Raises:
        CheckpointError: it is not so.
    """
    if not isinstance(states, list) or len(states) != len(schedulers):
        number = len(states) if isinstance(states, list) else 0
        raise CheckpointError(
            f'{path} holds the state of {number} schedules, the config has {len(schedulers)}. Resume with the config of '
            'the first run.'
        )
    for state, scheduler in zip(states, schedulers, strict=True):
        title, expected = type(scheduler).__name__, scheduler.state_dict()
        if not isinstance(state, dict) or state.keys() != expected.keys():
            entries = ', '.join(map(str, state))[:80] if isinstance(state, dict) else type(state).__name__
            raise _broken(path, f'the state of its {title} holds {entries}, and should hold {", ".join(expected)}')
        for name, value in expected.items():
            if type(value) in (int, float) and not _finite_number(state[name]):
                raise _broken(path, f'{name} of its {title} is {state[name]!r:.60}')
        if not _stands_at(state, iteration):
            raise _broken(path, f'its {title} stands at step {state["last_step"]!r:.40}, its iteration is {iteration}')


def check_moment(schedulers: list, name: str, iteration: int) -> None:
    """What is saved before the schedules have taken the step of an iteration is refused when a run shall go on from it: say so now.

    Args:
        schedulers: of the run.
        name: of the checkpoint.
        iteration: that it is to hold.

    Raises:
        TrainingError: it is too early.
    """
    if not all(_stands_at(scheduler.state_dict(), iteration) for scheduler in schedulers):
        raise TrainingError(
            f'{name} was to be saved before all hooks of iteration {iteration} had run, so no run could go on from it. Give the hook that '
            "saves it priority = 'LOWEST'."
        )


def _stands_at(state: Mapping[str, Any], iteration: int) -> bool:
    """True for a schedule after so many iterations, and for one that is not ours."""
    if state.keys() != {'last_step', '_global_step'}:  # ours, stepped once per iteration
        return True
    return all(type(value) is int and value in (iteration, iteration + 1) for value in state.values())


def _check_plain(value: Any, where: str, path: str, depth: int = 0) -> None:
    """Numbers, texts, lists and dicts alone: what can be compared and printed."""
    if depth > 60:
        raise _broken(path, f'{where[:60]} holds itself')
    if isinstance(value, dict):
        for name, part in value.items():
            _check_plain(part, f'{where}.{str(name)[:40]}', path, depth + 1)
    elif isinstance(value, list | tuple):
        for part in value:
            _check_plain(part, where, path, depth + 1)
    elif not isinstance(value, _PLAIN):
        raise _broken(path, f'{where} holds a {type(value).__name__}, where plain values should be')


def _check_range(value: Tensor, low: int, end: int, name: str, path: str) -> None:
    if value.numel() and (value.is_complex() or int(value.min()) < low or int(value.max()) >= end):
        raise _broken(
            path, f'{name} goes from {value.min().item()} to {value.max().item()}, and must lie in [{low}, {end - 1}]'
        )


def _whole_number(value: Any, least: int) -> bool:
    return type(value) is int and least <= value < 2**63


def _finite_number(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_complex() and math.isfinite(value.item())
    return isinstance(value, int | float) and abs(value) < 2**63 and math.isfinite(value)


def check_mask_state(state: Any, weights: Mapping[str, Tensor], path: str = 'The checkpoint') -> None:
    """What `SparseTrainingHook` keeps: packed masks of weights that there are, and steps.

    Raises:
        CheckpointError: it is something else.
    """
    masks = state.get('masks') if isinstance(state, dict) else None
    if (
        not isinstance(masks, dict)
        or not {'sparsity', 'only', 'steps'} <= state.keys()
        or not _whole_number(state['steps'], 0)
    ):
        raise _broken(path, 'its masks of sparse training lack an entry')
    for name, bits in masks.items():
        if (
            not isinstance(bits, Tensor)
            or bits.dtype is not torch.uint8
            or (name in weights and bits.shape != (-(-weights[name].numel() // 8),))
        ):
            raise _broken(path, f'the mask of {name} has not the size of its weight')


def check_labels(labels: Any, number: int, clusters: int, path: str = 'The checkpoint') -> None:
    """Labels of clusters: int64 (number,), from 0 to `clusters` - 1.

    Raises:
        CheckpointError: they are something else.
    """
    if not isinstance(labels, Tensor) or labels.dtype is not torch.int64 or labels.shape != (number,):
        kind = f'{labels.dtype} {tuple(labels.shape)}' if isinstance(labels, Tensor) else type(labels).__name__
        raise _broken(
            path, f'its labels of clusters are {kind}, and should be one whole number for each of {number} images'
        )
    _check_range(labels, 0, clusters, 'its label of a cluster', path)


def _broken(path: str, what: str) -> CheckpointError:
    return CheckpointError(
        f'{path} cannot be resumed: {what}. It is not as a run wrote it: use an earlier checkpoint, or start a new run '
        'from its weights with load_from.'
    )
