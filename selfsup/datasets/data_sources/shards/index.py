"""The samples of all shards: looked up once, kept in a file beside them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ....errors import DataError, SelfSupError
from ....files import write_atomic, write_obstacle
from ....heartbeat import beat
from .places import Shard
from .samples import Found, find_samples

FORMAT = 2  # of the file; another one is made anew
THREADS = 8
SAY_EVERY = 5.0  # seconds between two lines of progress
ARRAYS = ('offsets', 'sizes', 'names', 'labels', 'counts')


@dataclass(frozen=True)
class ShardIndex:
    """Samples of all shards, in the order of shards and of members.

    Attributes:
        counts: int64 (S,) samples of each shard.
        offsets: int64 (N,) where an image begins in its tar.
        sizes: int64 (N,) bytes of an image.
        names: uint8 (.,) names of the image members, each ended by a line break.
        labels: uint8 (.,) what the label members say, likewise; empty lines where there is none.
        notes: of each shard, what `samples.Found` says of it beside its samples.
    """

    counts: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    names: np.ndarray
    labels: np.ndarray
    notes: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.offsets)


def build_index(
    shards: Sequence[Shard], asked: dict[str, Any], open_tar: Callable[[Shard], BinaryIO], folder: Path
) -> ShardIndex:
    """The index of some shards, from the file that keeps it where that is of the same shards; else looked up, and kept.

    A shard that is as it was is not read again where others changed.

    Args:
        shards: in order.
        asked: which image and which label a sample has, arguments of `find_samples`.
        open_tar: opens the plain tar of a shard.
        folder: where the file is kept; where it cannot be written, in the cache folder of the user.

    Raises:
        DataError: a shard cannot be read at all.
    """
    name = f'.selfsup-{_key([shard.path for shard in shards], asked)}.index'
    places = [folder / name, cache_folder() / 'index' / name]
    known = next((kept for kept in map(_read, places) if kept), {})
    missing = [shard for shard in shards if _identity(shard) not in known]
    if missing:
        known.update(_look_up(missing, asked, open_tar))
        _keep(places, {_identity(shard): known[_identity(shard)] for shard in shards})
    return _joined([known[_identity(shard)] for shard in shards])


def cache_folder() -> Path:
    """What may be made again lies here: ~/.cache/selfsup, or where XDG_CACHE_HOME says."""
    return Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'selfsup'


def _key(paths: list[str], asked: dict[str, Any]) -> str:
    text = json.dumps([FORMAT, paths, asked], sort_keys=True)
    return hashlib.blake2b(text.encode(errors='surrogateescape'), digest_size=6).hexdigest()


def _identity(shard: Shard) -> str:
    return json.dumps([shard.path, shard.size, shard.version])


def _look_up(shards: Sequence[Shard], asked: dict[str, Any], open_tar: Callable[[Shard], BinaryIO]) -> dict[str, Found]:
    """Samples of each shard, with a line of progress every few seconds."""
    started = said = time.monotonic()
    found: dict[str, Found] = {}
    images = 0

    def look(shard: Shard) -> Found:
        with open_tar(shard) as file:
            return find_samples(file, **asked)

    log = logging.getLogger('selfsup')
    with ThreadPoolExecutor(THREADS) as threads:
        jobs = [threads.submit(look, shard) for shard in shards]
        try:
            for done, (shard, job) in enumerate(zip(shards, jobs, strict=True), 1):
                try:
                    found[_identity(shard)] = one = job.result()
                except SelfSupError:
                    raise
                except OSError as error:
                    raise DataError(f'The shard {shard.path} cannot be read: {error.strerror or error}.') from None
                images += len(one.offsets)
                beat('looking up the images of shards')
                now = time.monotonic()
                if now - said > SAY_EVERY:
                    said = now
                    left = (now - started) * (len(shards) - done) / done
                    log.info(f'looked up {done} of {len(shards)} shards: {images:,} images, {left:.0f} s to go')
        finally:
            for job in jobs:
                job.cancel()
    seconds = time.monotonic() - started
    if seconds > SAY_EVERY:
        log.info(f'looked up {len(shards)} shards: {images:,} images in {seconds:.0f} s')
    return found


# ---- the file ----


def _keep(places: list[Path], found: dict[str, Found]) -> None:
    """Write to the first place that takes it; nowhere, and a line says so."""
    notes = {identity: one.notes() for identity, one in found.items()}
    text = json.dumps({'format': FORMAT, 'shards': notes}).encode()
    arrays: dict[str, Any] = {'notes': np.frombuffer(text, dtype=np.uint8), **_arrays(list(found.values()))}
    for place in places:
        if write_obstacle(place.parent) is None:
            with contextlib.suppress(DataError):
                write_atomic(place, lambda file: np.savez(file, **arrays), DataError)
                return
    logging.getLogger('selfsup').warning(
        f'The index of the shards could not be kept in {places[0].parent} or {places[-1].parent}: it is made at every start.'
    )


def _read(place: Path) -> dict[str, Found]:
    """What a file keeps; {} where there is none, or another form of one."""
    try:
        with np.load(place, allow_pickle=False) as content:
            head = json.loads(content['notes'].tobytes())
            if head['format'] != FORMAT:
                return {}
            return _split(head['shards'], {name: content[name] for name in ARRAYS})
    except Exception:  # a damaged archive raises nearly anything, and the tars say it all again
        return {}


def _arrays(found: list[Found]) -> dict[str, np.ndarray]:
    return {
        'counts': np.array([len(one.offsets) for one in found], dtype=np.int64),
        'offsets': np.concatenate([np.array(one.offsets, dtype=np.int64) for one in found]),
        'sizes': np.concatenate([np.array(one.sizes, dtype=np.int64) for one in found]),
        'names': _lines([name for one in found for name in one.names]),
        'labels': _lines([label for one in found for label in one.labels]),
    }


def _lines(texts: list[str]) -> np.ndarray:
    """Texts without line breaks, each ended by one."""
    return np.frombuffer(''.join(f'{text}\n' for text in texts).encode('utf-8', 'surrogateescape'), dtype=np.uint8)


def lines(joined: np.ndarray) -> list[str]:
    """The texts that `_lines` joined."""
    return joined.tobytes().decode('utf-8', 'surrogateescape').split('\n')[:-1]


def _split(notes: dict[str, dict[str, Any]], arrays: dict[str, np.ndarray]) -> dict[str, Found]:
    ends = np.cumsum(arrays['counts'])
    names, labels = lines(arrays['names']), lines(arrays['labels'])
    if not len(ends) or len(notes) != len(ends) or not len(names) == len(labels) == len(arrays['offsets']) == ends[-1]:
        return {}
    found = {}
    for (identity, note), end, count in zip(notes.items(), ends.tolist(), arrays['counts'].tolist(), strict=True):
        part = slice(end - count, end)
        found[identity] = Found(
            arrays['offsets'][part].tolist(), arrays['sizes'][part].tolist(), names[part], labels[part], **note
        )
    return found


def _joined(found: list[Found]) -> ShardIndex:
    return ShardIndex(**_arrays(found), notes=[one.notes() for one in found])
