"""Is the run that is about to go on the run that wrote the checkpoint? Every difference of settings and data, and which value counts.

Three kinds of settings: those that change nothing in the weights pass; the length of a run may change; everything else is refused
until the user allows it by name (`--allow-changed`), and then the new value counts. What the checkpoint of an older version does not
hold cannot be compared.
"""

from __future__ import annotations

import difflib
import itertools
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ... import distributed as dist
from ...datasets.digest import data_digest
from ...errors import CheckpointError, ConfigError, did_you_mean
from ...registry import HOOKS
from .settings import MISSING, settings_of, short_name, with_defaults

FROM_CONFIG, FROM_CHECKPOINT, REFUSED = 'from the config', 'from the checkpoint', 'refused'
OPTION = '--allow-changed'
DATA = 'data'
# They change where a run writes, how fast it is or what it says, not its weights. A key stands for all below it.
HARMLESS = (
    'log_config',
    'log_level',
    'log_processor',
    'visualizer',
    'checkpoint_config',
    'work_dir',
    'emergency_dir',
    'env_cfg',
    'find_unused_parameters',
    'default_scope',
    'val_dataloader',
    'test_dataloader',
    'data.workers_per_gpu',
    'data.pin_memory',
    'data.persistent_workers',
    'data.prefetch_factor',
    'custom_hooks.EMAHook.evaluate',
    'custom_hooks.DeepClusterHook.dist_mode',
    'custom_hooks.DeepClusterHook.data_loaders',
    'custom_hooks.DeepClusterHook.extractor.workers_per_gpu',
    'custom_hooks.ODCHook.dist_mode',
    'custom_hooks.ODCHook.evaluate_interval',
)
FINGERPRINT = (
    'seed',
    'pretrained',
    'optimizer.type',
    'optimizer_config.update_interval',
    'data.imgs_per_gpu',
    'data.sampler',
    'data.drop_last',
)  # compared by `state.check_fingerprint`
OF_THE_START = (
    'resume_from',
    'allow_changed',
    'visualizer.name',
    'visualizer.save_dir',
)  # they say how a process was started
LENGTH = ('total_epochs', 'total_iters')
# Where the images lie: the digest of the data says whether they are the same.
_PLACE = re.compile(r'(\.|^)(root|list_file|memcached|mclient_path|download|extensions)$')
_SOURCE = re.compile(r'^(data\.train|custom_hooks\..*dataset)\b.*\bdata_source\b')
WATCHING = (
    'EmptyCacheHook',
    'IterTimerHook',
    'LoggerHook',
    'MemoryProfilerHook',
    'NPUProfilerHook',
    'ProfilerHook',
)  # mmengine's own
# The optimizer keeps more, or something else, per weight with another value: the checkpoint's state would not fit.
_STATE = MappingProxyType(
    {
        'optimizer.amsgrad': None,
        'optimizer.centered': None,
        'optimizer.fused': None,
        'optimizer.capturable': None,
        'optimizer.momentum': 'RMSprop',
    }
)
_WIDTH = 48  # characters of a value in the table


@dataclass(frozen=True)
class Row:
    """One difference.

    Attributes:
        key: name of the setting, or 'data'.
        old, new: as text.
        counts: FROM_CONFIG, FROM_CHECKPOINT or REFUSED.
        remedy: what to do, where it is refused.
        note: more about it.
    """

    key: str
    old: str
    new: str
    counts: str
    remedy: str = ''
    note: str = ''


@dataclass
class Changes:
    """What differs between the run that wrote a checkpoint and the one that goes on from it.

    Attributes:
        rows: differences that matter.
        harmless: keys of those that do not.
        notes: what could not be compared, and what else is to be said.
        before: changes that earlier resumes of the run allowed, as `record` gave them.
    """

    rows: list[Row] = field(default_factory=list)
    harmless: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    before: list[dict] = field(default_factory=list)

    def counts_anew(self, key: str) -> bool:
        """True where `key`, or something below it, has changed and the value of the config counts."""
        return any(row.counts == FROM_CONFIG and _covers(key, row.key) for row in self.rows)

    def mentions(self, key: str) -> bool:
        """True where `key`, or something below it, has changed: allowed, or about to be refused."""
        return any(_covers(key, row.key) for row in self.rows)

    @property
    def longer_or_shorter(self) -> bool:
        return any(row.key in LENGTH for row in self.rows)

    def problems(self) -> list[str]:
        """One text per refused difference."""
        return [
            f'{row.key} was {row.old} and is {row.new} ({row.remedy})' for row in self.rows if row.counts == REFUSED
        ]

    def check(self, path: str) -> None:
        """Refuse what is refused.

        Raises:
            CheckpointError: naming every difference and the option that allows it.
        """
        refuse(path, self.problems())

    def table(self) -> list[str]:
        """Lines to print; none where nothing differs."""
        cells = [
            ('setting', 'checkpoint', 'config', 'what counts'),
            *((row.key, row.old, row.new, row.counts + (f': {row.note}' if row.note else '')) for row in self.rows),
        ]
        widths = [max(len(row[column]) for row in cells) for column in range(3)]
        lines = [
            '  '.join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3]]) for row in cells
        ]
        harmless = [f'Changed without effect on the weights: {", ".join(self.harmless)}.'] if self.harmless else []
        return [*(lines if self.rows else ()), *harmless, *self.notes]

    def record(self, iteration: int) -> list[dict]:
        """For the checkpoint's meta: every change of the run that was allowed, with the iteration from which on it counts."""
        return [
            *self.before,
            *(
                {'iter': iteration, 'key': row.key, 'old': row.old, 'new': row.new}
                for row in self.rows
                if row.counts == FROM_CONFIG
            ),
        ]


def refuse(path: str, problems: Sequence[str]) -> None:
    """Raise a CheckpointError with all `problems`, where there are any."""
    if problems:
        raise CheckpointError(
            f'Cannot resume {path} exactly: {"; ".join(problems)}. To start a new run from its weights instead, '
            'use load_from.'
        )


def describe_run(compiled: dict, dataset: Any) -> dict:
    """What the checkpoints of a run say of its settings and its training data. Rank 0 writes them, so it alone looks at the files."""
    if not dist.is_main():
        return {}
    data = data_digest(dataset)
    settings = with_defaults({name: value for name, value in compiled.items() if name not in OF_THE_START})
    return {'compiled': settings, 'data': data, 'classes': data['classes']}


def check_asked(allowed: Sequence[str], *, resuming: bool) -> None:
    """Refuse the option where nothing is resumed.

    Raises:
        ConfigError: it would do nothing.
    """
    if allowed and not resuming:
        raise ConfigError(
            f'{OPTION} {" ".join(allowed)} is for a run that is resumed: give --resume_from or --auto_resume as well.'
        )


def compare_and_log(logger: logging.Logger, *args: Any, **kwargs: Any) -> Changes:
    """`compare`, with its table in the log. For rank 0, which alone has looked at the data."""
    found = compare(*args, **kwargs)
    lines = found.table()
    if lines:
        logger.info('Compared with the run that is resumed:\n%s', '\n'.join(f'  {line}' for line in lines))
    return found


def compare(
    meta: dict, compiled: dict, data: dict, *, images: int, allowed: Sequence[str] = (), path: str = ''
) -> Changes:
    """Hold a run against the one that wrote a checkpoint.

    Args:
        meta: of the checkpoint.
        compiled: config of the run about to start.
        data: `data_digest` of its training data.
        images: per optimizer step of the run about to start.
        allowed: keys, in either spelling, whose new values may count; a key allows all below it.
        path: of the checkpoint, for messages.

    Raises:
        CheckpointError: what the checkpoint says of its run is damaged.
        ConfigError: a key of `allowed` that is no setting.
    """
    before = meta.get('changed') or []
    changes = Changes(before=[one for one in before if isinstance(one, dict)] if isinstance(before, list) else [])
    saved, saved_data = (_dict_of(meta, name, path) for name in ('compiled', 'data'))
    hooks = compiled.get('custom_hooks') or []
    keys = {given: short_name(given, hooks) for given in allowed}
    new = settings_of(with_defaults(compiled), images)
    old = new if saved is None else settings_of(with_defaults(saved), images)
    _compare_data(saved_data, data, changes, tuple(keys.values()))
    same_images = (
        saved_data is not None and not any(row.key == DATA for row in changes.rows) and data['names'] is not None
    )
    foreign = 'param_scheduler' in old or 'param_scheduler' in new
    for key, was, now in _differences(old, new):
        _judge(
            key,
            was,
            now,
            old,
            new,
            changes,
            same_images=same_images,
            foreign=foreign,
            allowed=tuple(keys.values()),
            same_length=_iterations(old, meta) == _iterations(new, meta) is not None,
        )
    _check_allowed(keys, old, new, changes)
    if saved is None:  # nothing to compare with, but what the user names shall count
        for key in keys.values():
            if key != DATA and key not in FINGERPRINT and not _cannot(key, new, foreign):
                changes.rows.append(Row(key, 'unknown', _text(_value(new, key)), FROM_CONFIG))
    missing = [name for name, found in (('settings', saved), ('images', saved_data)) if found is None]
    if missing:
        changes.notes.append(
            f'{path} was written by an earlier version: whether the {" and the ".join(missing)} are the same cannot '
            'be compared.'
        )
    return changes


def _dict_of(meta: dict, name: str, path: str) -> dict | None:
    found = meta.get(name)
    if found is not None and not isinstance(found, dict):
        raise CheckpointError(
            f"{path}: its meta['{name}'] is a {type(found).__name__}, not a dict: the file is damaged."
        )
    return found


# ---- which settings differ ----


def _differences(old: Any, new: Any, path: str = '') -> Iterable[tuple[str, Any, Any]]:
    """(dotted key, old value, new value) of everything that differs; a part of another type is one difference."""
    if path == 'optimizer.paramwise_options' and isinstance(old, dict) and isinstance(new, dict):
        if list(old.items()) != list(new.items()):  # later patterns win, so their order counts
            same = [name for name in old if name in new and old[name] == new[name]] if old != new else []
            yield (path, *({name: value for name, value in one.items() if name not in same} for one in (old, new)))
    elif isinstance(old, dict) and isinstance(new, dict) and old.get('type') == new.get('type'):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _differences(old.get(key, MISSING), new.get(key, MISSING), f'{path}.{key}' if path else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new) and _typed(old) == _typed(new) != ():
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _differences(one, other, f'{path}.{number}')
    elif not (old == new or repr(old) == repr(new)):
        yield path, old, new


def _typed(items: list) -> tuple:
    """Types of a list of dicts; () for any other list."""
    return tuple(item.get('type') for item in items) if all(isinstance(item, dict) for item in items) else ()


def _iterations(settings: dict, meta: dict) -> int | None:
    """Length of a run; None where it cannot be told."""
    fingerprint = meta.get('fingerprint')
    per_epoch = fingerprint.get('iters_per_epoch') if isinstance(fingerprint, dict) else None
    if settings.get('total_epochs'):
        return settings['total_epochs'] * per_epoch if per_epoch else None
    return settings.get('total_iters')


def _covers(key: str, other: str) -> bool:
    return other == key or other.startswith(f'{key}.')


def _judge(
    key: str,
    was: Any,
    now: Any,
    old: dict,
    new: dict,
    changes: Changes,
    *,
    same_images: bool,
    foreign: bool,
    allowed: tuple[str, ...],
    same_length: bool,
) -> None:
    """Put one difference where it belongs."""
    if key in OF_THE_START or (key.startswith('visualizer.') and key.endswith('.save_dir')):
        return
    if any(_covers(name, key) for name in FINGERPRINT):
        if key == 'pretrained' and now in (MISSING, None):
            changes.rows.append(Row(key, *_texts(was, now), FROM_CHECKPOINT))
        return
    if _covers('optimizer', key) and old.get('optimizer', {}).get('type') != new.get('optimizer', {}).get('type'):
        return  # the fingerprint names the optimizer; its arguments mean something else then
    place = key if _SOURCE.search(key) and _PLACE.search(key) else ''
    if key == 'load_from':
        changes.rows.append(Row(key, *_texts(was, now), FROM_CHECKPOINT, note='its weights count'))
    elif (
        _watches(key, was, now)
        or any(_covers(name, key) for name in HARMLESS)
        or (same_length and key in LENGTH)
        or (same_images and (place or (key.startswith('data.train') and key.endswith('data_source'))))
    ):
        changes.harmless.append(key)
    elif key in LENGTH:
        changes.rows.append(Row(key, *_texts(was, now), FROM_CONFIG))
    elif any(_covers(name, key) for name in allowed if name != DATA) or (place and DATA in allowed):
        reason = _cannot(key, new, foreign)
        changes.rows.append(
            Row(key, *_texts(was, now), REFUSED, reason) if reason else Row(key, *_texts(was, now), FROM_CONFIG)
        )
    elif not (place and any(row.key == DATA for row in changes.rows)):  # else the refusal of the data says it
        remedy = _cannot(key, new, foreign) or f'set it back or give {OPTION} {key}'
        changes.rows.append(Row(key, *_texts(was, now), REFUSED, remedy))


def _cannot(key: str, new: dict, foreign: bool) -> str:
    """Why no option allows a change, or ''."""
    if foreign and (
        _covers('param_scheduler', key)
        or key == 'optimizer.lr'
        or _covers('optimizer.paramwise_options', key)
        or _covers('optimizer.layer_decay', key)
    ):
        return "set it back: mmengine's schedulers go on from values in the checkpoint and would ignore it; lr_config would not"
    if key in _STATE and _STATE[key] in (None, new['optimizer'].get('type')):
        return 'set it back: the state of the optimizer in the checkpoint would not fit'
    return ''


def _watches(key: str, was: Any, now: Any) -> bool:
    """True for hooks that only look at the run, whatever of them differs."""
    parts = key.split('.')
    if parts[0] not in ('custom_hooks', 'default_hooks') or len(parts) < 2:
        return False
    kinds = [value.get('type') for value in (was, now) if isinstance(value, dict)] if len(parts) == 2 else []
    if parts[0] == 'custom_hooks':
        kinds.append(parts[1].partition('#')[0])
    elif parts[1] in ('timer', 'collapse', 'runtime_info') and not kinds:
        kinds.append(
            {'timer': 'IterTimerHook', 'collapse': 'CollapseHook', 'runtime_info': 'RuntimeInfoHook'}[parts[1]]
        )
    return bool(kinds) and all(_only_watches(str(kind)) for kind in kinds)


def _only_watches(kind: str) -> bool:
    return bool(getattr(HOOKS.find(kind.removeprefix('selfsup.')), 'only_watches', False)) or kind in WATCHING


def _text(value: Any) -> str:
    if isinstance(value, dict) and 'type' in value:
        return f"dict(type='{value['type']}', ...)"
    if isinstance(value, list) and value and _typed(value):
        return ', '.join(map(str, _typed(value)))
    return value if value == MISSING else repr(value)


def _texts(was: Any, now: Any) -> tuple[str, str]:
    """Both values, cut to where they differ."""
    old, new = _text(was), _text(now)
    if old == new:  # what differs lies deeper
        old, new = repr(was), repr(now)
    if max(len(old), len(new)) > _WIDTH:
        same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
        start = max(0, same - _WIDTH // 4)
        old, new = (('...' if start else '') + text[start:] for text in (old, new))
    return tuple(text if len(text) <= _WIDTH else f'{text[: _WIDTH - 3]}...' for text in (old, new))


# ---- the data ----


def _compare_data(old: dict | None, new: dict, changes: Changes, allowed: tuple[str, ...]) -> None:
    """One row where the images are not the same. Another number of them is the fingerprint's."""
    if old is None or old.get('images') != new['images']:
        return

    def differs(name: str) -> bool:
        return old.get(name) is not None and new.get(name) is not None and old[name] != new[name]

    if differs('names'):
        what = 'the same images in another order' if old.get('unordered') == new['unordered'] else 'other images'
    elif differs('labels'):
        what = 'the same images with other labels'
    elif differs('sizes'):
        what = 'files of the same names with other sizes'
    elif differs('classes'):
        what = 'other names of classes'
    else:
        if new['names'] is None:
            changes.notes.append(
                'The data source does not name its images (`describe`): whether they are the same cannot be compared.'
            )
        return
    rows = {'old': f'{new["images"]} images', 'new': what}
    if DATA in allowed:
        changes.rows.append(
            Row(
                DATA,
                **rows,
                counts=FROM_CONFIG,
                note='what the method keeps per image (memory bank, pseudo labels) is still that of the images before',
            )
        )
    else:
        changes.rows.append(
            Row(DATA, **rows, counts=REFUSED, remedy=f'use those of the first run or give {OPTION} {DATA}')
        )


# ---- what the user allowed ----


def _check_allowed(keys: dict[str, str], old: dict, new: dict, changes: Changes) -> None:
    """A key that is no setting is an error; one that has not changed is said, so that a requeued job may keep its command line."""
    known = {DATA, *_names(old), *_names(new)}
    for row in changes.before:  # what an earlier resume of the run dropped is in neither now
        parts = str(row.get('key')).split('.')
        known.update('.'.join(parts[:end]) for end in range(1, len(parts) + 1))
    changed = [row.key for row in changes.rows]
    for given, key in keys.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=3) or changed or [name for name in known if '.' not in name]
            raise ConfigError(f'{OPTION} {given}: no setting has this name.{did_you_mean(key, near)}')
        if not any(_covers(key, name) for name in (*changed, *changes.harmless)) and old is not new:
            locked = next(
                (name for name in FINGERPRINT if _covers(name, key) or (_covers(key, name) and key != DATA)), None
            )
            changes.notes.append(
                f'{OPTION} {given}: '
                + (
                    'a change of it can never be allowed: the order of the samples or the state '
                    'of the optimizer depends on it.'
                    if locked
                    else 'it has not changed.'
                )
            )


def _value(settings: Any, key: str) -> Any:
    for part in key.split('.'):
        settings = (
            settings.get(part, MISSING)
            if isinstance(settings, dict)
            else settings[int(part)]
            if isinstance(settings, list) and part.isdecimal() and int(part) < len(settings)
            else MISSING
        )
    return settings


def _names(value: Any, path: str = '') -> Iterable[str]:
    """Every dotted key of nested settings."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        here = f'{path}.{key}' if path else str(key)
        yield here
        yield from _names(inner, here)
