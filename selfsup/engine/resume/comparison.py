"""Is the run that is about to go on the run that wrote the checkpoint? Every difference of settings and data, and which value counts.

Three kinds of settings: those that change nothing in the weights pass; the length of a run may change; everything else is refused
until the user allows it by name (`--allow-changed`), and then the new value counts. What the checkpoint of an older version does not
hold cannot be compared.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from ... import distributed as dist
from ...config.backend import BEFORE, backend_of
from ...config.backend import KEY as BACKEND
from ...datasets.decoding import image_libraries
from ...datasets.digest import data_digest
from ...errors import CheckpointError, ConfigError, did_you_mean
from .changes import DATA, ELASTIC, FROM_CONFIG, LIBRARIES, OPTION, REFUSED, Changes, Row, covers
from .judging import FINGERPRINT, OF_THE_START, Judge, differences, text_of
from .settings import MISSING, settings_of, short_name, with_defaults

_ELASTIC_KEYS = ('data.imgs_per_gpu', 'optimizer_config.update_interval')
SIMD = 'pillow-simd'  # its name in `image_libraries`


def describe_run(compiled: dict, dataset: Any) -> dict:
    """What the checkpoints of a run say of its settings and its training data. Rank 0 writes them, so it alone looks at the files."""
    if not dist.is_main():
        return {}
    data = data_digest(dataset)
    settings = with_defaults({name: value for name, value in compiled.items() if name not in OF_THE_START})
    libraries = image_libraries(backend_of(compiled))
    return {'compiled': settings, 'data': data, 'classes': data['classes'], LIBRARIES: libraries}


def check_asked(allowed: Sequence[str], *, resuming: bool) -> None:
    """Refuse the option where nothing is resumed.

    Raises:
        ConfigError: it would do nothing.
    """
    if allowed and not resuming:
        raise ConfigError(
            f'{OPTION} {" ".join(allowed)} is for a run that is resumed: give --resume_from or --auto_resume as well.'
        )


def compare(
    meta: dict,
    compiled: dict,
    data: dict,
    *,
    images: int,
    libraries: dict[str, str] | None = None,
    allowed: Sequence[str] = (),
    path: str = '',
) -> Changes:
    """Hold a run against the one that wrote a checkpoint.

    Args:
        meta: of the checkpoint.
        compiled: config of the run about to start.
        data: `data_digest` of its training data.
        images: per optimizer step of the run about to start.
        libraries: `image_libraries` of the run about to start; None: not compared.
        allowed: keys, in either spelling, whose new values may count; a key allows all below it.
        path: of the checkpoint, for messages.

    Raises:
        CheckpointError: what the checkpoint says of its run is damaged.
        ConfigError: a key of `allowed` that is no setting.
    """
    before = meta.get('changed') or []
    changes = Changes(before=[one for one in before if isinstance(one, dict)] if isinstance(before, list) else [])
    saved, saved_data, saved_libraries = (_dict_of(meta, name, path) for name in ('compiled', 'data', LIBRARIES))
    written_out = with_defaults(compiled)
    keys = {name: short_name(name, written_out.get('custom_hooks') or []) for name in allowed}
    new = settings_of(written_out, images)
    old = {**new, BACKEND: BEFORE} if saved is None else settings_of(with_defaults(saved), images)
    _add_libraries(old, new, saved_libraries, libraries, changes)
    _compare_data(saved_data, data, changes, tuple(keys.values()))
    judge = Judge(
        old,
        new,
        changes,
        tuple(keys.values()),
        same_images=saved_data is not None and not changes.mentions(DATA) and data['names'] is not None,
        same_length=_iterations(old, meta) == _iterations(new, meta) is not None,
    )
    for difference in differences(old, new):
        judge.judge(*difference)
    _check_allowed(keys, old, new, changes, compared=saved is not None)
    if saved is None:  # nothing to compare with, but what the user names shall count
        for key in keys.values():
            if key not in (DATA, LIBRARIES, BACKEND, *FINGERPRINT) and not judge.cannot(key):
                changes.rows.append(Row(key, 'unknown', text_of(_value(new, key)), FROM_CONFIG))
    missing = [name for name, stored in (('settings', saved), ('images', saved_data)) if stored is None]
    if missing:
        changes.notes.append(
            f'{path} was written by an earlier version: whether the {" and the ".join(missing)} are the same cannot '
            'be compared.'
        )
    return changes


def _dict_of(meta: dict, name: str, path: str) -> dict | None:
    stored = meta.get(name)
    if stored is not None and not isinstance(stored, dict):
        raise CheckpointError(
            f"{path}: its meta['{name}'] is a {type(stored).__name__}, not a dict: the file is damaged."
        )
    return stored


def _add_libraries(old: dict, new: dict, saved: dict | None, now: dict[str, str] | None, changes: Changes) -> None:
    """Put the image libraries of both runs beside their settings, as far as a difference between them is one of the pixels.

    The fast backend takes what is installed for speed, and each library and version rounds in its own way. The reference computes with
    Pillow alone. Its releases are not known to differ in what they make of an image, and runs were always resumed across them; so another
    version is said and not refused. pillow-simd is another implementation: it resizes with other roundings.
    """
    new[LIBRARIES] = dict(now or {})
    old[LIBRARIES] = new[LIBRARIES]
    if not saved or not now or old[BACKEND] != new[BACKEND]:
        return
    if new[BACKEND] == 'fast' or SIMD in {*saved} ^ {*now}:
        old[LIBRARIES] = saved
        return
    for key, was, is_now in differences(saved, now, LIBRARIES):
        changes.notes.append(
            f'{key} was {text_of(was)} and is {text_of(is_now)}: versions of it are not known to give other pixels.'
        )


def _iterations(settings: dict, meta: dict) -> int | None:
    """Length of a run; None where it cannot be told."""
    fingerprint = meta.get('fingerprint')
    per_epoch = fingerprint.get('iters_per_epoch') if isinstance(fingerprint, dict) else None
    if settings.get('total_epochs'):
        return settings['total_epochs'] * per_epoch if per_epoch else None
    return settings.get('total_iters')


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
    elif differs('content'):
        what = 'images of the same names with another content'
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


def _check_allowed(keys: dict[str, str], old: dict, new: dict, changes: Changes, compared: bool) -> None:
    """A key that is no setting is an error; one that has not changed is said, so that a requeued job may keep its command line."""
    known = {DATA, *_names(old), *_names(new)}
    for row in changes.before:  # what an earlier resume of the run dropped is in neither now
        parts = str(row.get('key')).split('.')
        known.update('.'.join(parts[:end]) for end in range(1, len(parts) + 1))
    changed = [row.key for row in changes.rows]
    for as_written, key in keys.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=3) or changed or [name for name in known if '.' not in name]
            raise ConfigError(f'{OPTION} {as_written}: no setting has this name.{did_you_mean(key, near)}')
        if not any(covers(key, name) for name in (*changed, *changes.harmless)) and compared:
            locked = next(
                (name for name in FINGERPRINT if covers(name, key) or (covers(key, name) and key != DATA)), None
            )
            elastic = f'; {ELASTIC} goes on with another one, not bit-equal' if locked in _ELASTIC_KEYS else ''
            changes.notes.append(
                f'{OPTION} {as_written}: '
                + (
                    'a change of it can never be allowed: the order of the samples or the state '
                    f'of the optimizer depends on it{elastic}.'
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


def _names(value: Any, path: str = '') -> Iterator[str]:
    """Every dotted key of nested settings."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        here = f'{path}.{key}' if path else str(key)
        yield here
        yield from _names(inner, here)
