"""Settings that differ between two runs, and what becomes of each difference."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ...registry import HOOKS
from .changes import DATA, FROM_CHECKPOINT, FROM_CONFIG, LENGTH, LIBRARIES, OPTION, REFUSED, Changes, Row, covers
from .settings import MISSING

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
    'ddp.gradient_as_bucket_view',
    'default_scope',
    'val_dataloader',
    'test_dataloader',
    'data.workers_per_gpu',
    'data.pin_memory',
    'data.persistent_workers',
    'data.prefetch_factor',
    'data.max_unreadable',
    'cache.where',
    'model.cache',
    'custom_hooks.EMAHook.evaluate',
    'custom_hooks.DeepClusterHook.dist_mode',
    'custom_hooks.DeepClusterHook.data_loaders',
    'custom_hooks.DeepClusterHook.extractor.workers_per_gpu',
    'custom_hooks.ODCHook.dist_mode',
    'custom_hooks.ODCHook.evaluate_interval',
)
# What `state.check_fingerprint` compares.
FINGERPRINT = (
    'seed',
    'pretrained',
    'optimizer.type',
    'optimizer_config.update_interval',
    'data.imgs_per_gpu',
    'data.sampler',
    'data.drop_last',
)
# Keys that say how a process was started.
OF_THE_START = ('resume_from', 'allow_changed', 'elastic', 'visualizer.name', 'visualizer.save_dir')
# Where the images lie and how they are fetched: the digest of the data says whether they are the same.
_PLACES = (
    *('root', 'list_file', 'memcached', 'mclient_path', 'download', 'extensions'),
    *('shards', 'sequential', 'cache_dir', 'cache_bytes', 'storage_options'),
)
_PLACE = re.compile(rf'(\.|^)({"|".join(_PLACES)})$')
_SOURCE = re.compile(r'^(data\.train|custom_hooks\..*dataset)\b.*\bdata_source\b')
# Where a frozen network lies and how it is run: the digest of its weights says whether it is the same.
_FROZEN = re.compile(r'^model\.teachers\.\d+\.(file|compile)$')
# Hooks of mmengine's that only watch.
WATCHING = ('EmptyCacheHook', 'IterTimerHook', 'LoggerHook', 'MemoryProfilerHook', 'NPUProfilerHook', 'ProfilerHook')
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
class Judge:
    """Says of each difference whether it matters, and which value counts.

    Args:
        old: settings of the checkpoint's run.
        new: settings of the run that is about to start.
        changes: what differs; filled by `judge`. The row of the data is in it already.
        allowed: keys whose new values may count.
        same_images: both runs read the same files.
        same_length: both runs have as many iterations.
    """

    old: dict
    new: dict
    changes: Changes
    allowed: tuple[str, ...]
    same_images: bool
    same_length: bool

    def judge(self, key: str, was: Any, now: Any) -> None:
        """Put one difference where it belongs."""
        if key in OF_THE_START or (key.startswith('visualizer.') and key.endswith('.save_dir')):
            return
        if any(covers(name, key) for name in FINGERPRINT):
            if key == 'pretrained' and now in (MISSING, None):
                self._row(key, was, now, FROM_CHECKPOINT)
            return
        if covers('optimizer', key) and self.old.get('optimizer', {}).get('type') != self.new.get('optimizer', {}).get(
            'type'
        ):
            return  # the fingerprint names the optimizer; its arguments mean something else then
        place = bool(_SOURCE.search(key) and _PLACE.search(key))
        if key == 'load_from':
            self._row(key, was, now, FROM_CHECKPOINT, note='its weights count')
        elif self._is_harmless(key, was, now, place):
            self.changes.harmless.append(key)
        elif key in LENGTH:
            self._row(key, was, now, FROM_CONFIG)
        elif any(covers(name, key) for name in self.allowed if name != DATA) or (place and DATA in self.allowed):
            reason = self.cannot(key)
            self._row(key, was, now, REFUSED if reason else FROM_CONFIG, reason)
        elif not (place and any(row.key == DATA for row in self.changes.rows)):  # else the refusal of the data says it
            self._row(key, was, now, REFUSED, self.cannot(key) or _way_back(key, was))

    def _row(self, key: str, was: Any, now: Any, counts: str, remedy: str = '', note: str = '') -> None:
        self.changes.rows.append(Row(key, *_texts(was, now), counts, remedy, note))

    def _is_harmless(self, key: str, was: Any, now: Any, place: bool) -> bool:
        """True where the weights of the run are the same with either value."""
        return (
            _watches(key, was, now)
            or any(covers(name, key) for name in HARMLESS)
            or bool(_FROZEN.match(key))
            or (self.same_length and key in LENGTH)
            or (self.same_images and (place or (key.startswith('data.train') and key.endswith('data_source'))))
        )

    def cannot(self, key: str) -> str:
        """Why no option allows a change, or ''."""
        follows_from_the_checkpoint = (
            'param_scheduler',
            'optimizer.lr',
            'optimizer.paramwise_options',
            'optimizer.layer_decay',
        )
        if ('param_scheduler' in self.old or 'param_scheduler' in self.new) and any(
            covers(name, key) for name in follows_from_the_checkpoint
        ):
            return "set it back: mmengine's schedulers go on from values in the checkpoint and would ignore it; lr_config would not"
        if key in _STATE and _STATE[key] in (None, self.new['optimizer'].get('type')):
            return 'set it back: the state of the optimizer in the checkpoint would not fit'
        return ''


def _way_back(key: str, was: Any) -> str:
    """How the value of the checkpoint is kept, and how that of the config is allowed."""
    if key == 'pipeline_backend':
        return f'set {key}={was!r} or give {OPTION} {key}'
    if covers(LIBRARIES, key):
        name = key.partition('.')[2]
        back = f'remove {name}' if was == MISSING else f'install {name} {was} again'
        return f'{back} or give {OPTION} {LIBRARIES}'
    return f'set it back or give {OPTION} {key}'


def differences(old: Any, new: Any, path: str = '') -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, old value, new value) of everything that differs; a part of another type is one difference."""
    if path == 'optimizer.paramwise_options' and isinstance(old, dict) and isinstance(new, dict):
        if list(old.items()) != list(new.items()):  # later patterns win, so their order counts
            same = [name for name in old if name in new and old[name] == new[name]] if old != new else []
            was, now = ({name: value for name, value in one.items() if name not in same} for one in (old, new))
            yield path, was, now
    elif isinstance(old, dict) and isinstance(new, dict) and old.get('type') == new.get('type'):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from differences(old.get(key, MISSING), new.get(key, MISSING), f'{path}.{key}' if path else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new) and _typed(old) == _typed(new) != ():
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, f'{path}.{number}')
    elif not (old == new or repr(old) == repr(new)):
        yield path, old, new


def _typed(items: list) -> tuple:
    """Types of a list of dicts; () for any other list."""
    return tuple(item.get('type') for item in items) if all(isinstance(item, dict) for item in items) else ()


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


def text_of(value: Any) -> str:
    """A setting in a few words."""
    if isinstance(value, dict) and 'type' in value:
        return f"dict(type='{value['type']}', ...)"
    if isinstance(value, list) and value and _typed(value) and None not in _typed(value):
        return ', '.join(map(str, _typed(value)))
    return value if value == MISSING else repr(value)


def _texts(was: Any, now: Any) -> tuple[str, str]:
    """Both values, cut to where they differ."""
    old, new = text_of(was), text_of(now)
    if old == new:  # what differs lies deeper
        old, new = repr(was), repr(now)
    if max(len(old), len(new)) > _WIDTH:
        same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
        start = max(0, same - _WIDTH // 4)
        old, new = (('...' if start else '') + text[start:] for text in (old, new))
    old, new = (text if len(text) <= _WIDTH else f'{text[: _WIDTH - 3]}...' for text in (old, new))
    return old, new
