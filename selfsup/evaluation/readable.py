"""Which files of a config cannot be read: of all of them, or of a few."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..datasets.robust import EXHAUSTED, error_line, name_of, readers
from ..errors import DataError
from ..machine import cores
from ..registry import DATA_SOURCES, DATASETS

CHUNK = 64  # files that a thread reads before it reports
SAY_EVERY = 5.0  # seconds between two lines of progress


def sections(compiled: dict[str, Any]) -> dict[str, dict]:
    """Where a config names images -> the config of their data source, each source once; of a data set without one, the data set's.

    Args:
        compiled: runner config.
    """
    places: dict[str, dict] = {}
    for where, config in _named(compiled):
        if not any(_files(config) == _files(other) for other in places.values()):
            places[where] = config
    return places


def _files(config: dict) -> dict:
    return {key: value for key, value in config.items() if key != 'return_label'}


def _named(value: Any, where: str = '') -> Iterator[tuple[str, dict]]:
    """(place, config) of everything that is called data_source, and of data sets in which nothing is."""
    if isinstance(value, dict):
        if isinstance(value.get('data_source'), dict):
            yield where, value['data_source']
        parts = ((f'{where}.{key}' if where else str(key), part) for key, part in value.items() if key != 'data_source')
        inner = [pair for place, part in parts for pair in _named(part, place)]
        yield from inner
        if not inner and 'data_source' not in value and value.get('type') in DATASETS:
            yield where, value
    elif isinstance(value, (list, tuple)):
        for number, part in enumerate(value):
            yield from _named(part, f'{where}[{number}]')


def read_everything(compiled: dict[str, Any], say: Callable[[str], Any]) -> None:
    """Read all images of a config, and say which cannot be read and why.

    Args:
        compiled: runner config.
        say: takes one line: progress, and path and reason of each image that cannot be read.

    Raises:
        DataError: there are such images; said when all were read.
    """
    broken = total = 0
    for where, config in sections(compiled).items():
        source = (DATA_SOURCES if config['type'] in DATA_SOURCES else DATASETS).build(config)
        say(f'{where}: {config["type"]}, {len(source):,} images')
        unread = read_all(source, lambda done, of, bad: say(f'  read {done:,} of {of:,}, {bad:,} broken'))
        for index, reason in unread:
            say(f'  broken: {name_of(source, index)}: {reason}')
        broken, total = broken + len(unread), total + len(source)
    if broken:
        raise DataError(
            f'{broken:,} of {total:,} images cannot be read; they are listed above. Repair, fetch again or remove them.'
        )
    say(f'all {total:,} images can be read')


def read_all(
    source: Any, progress: Callable[[int, int, int], Any], threads: int | None = None
) -> list[tuple[int, str]]:
    """Numbers of the samples that cannot be read, ascending, each with the reason.

    Args:
        source: a data source, or a data set: has a length and `get_sample` or items.
        progress: called with the numbers of samples read, of all, and of those found broken so far, every few seconds and at the end.
        threads: that read at once; None: one per processor.
    """
    starts, done, said = range(0, len(source), CHUNK), 0, time.monotonic()
    problems: list[tuple[int, str]] = []
    with ThreadPoolExecutor(threads or cores()) as pool:
        for chunk in pool.map(lambda start: _read_chunk(source, start), starts):
            problems += chunk
            done = min(done + CHUNK, len(source))
            if time.monotonic() - said >= SAY_EVERY or done == len(source):
                progress(done, len(source), len(problems))
                said = time.monotonic()
    return problems


def _read_chunk(source: Any, start: int) -> list[tuple[int, str]]:
    tried = ((index, why_unreadable(source, index)) for index in range(start, min(start + CHUNK, len(source))))
    return [(index, reason) for index, reason in tried if reason is not None]


def why_unreadable(source: Any, index: int) -> str | None:
    """The reason for which a sample of a data source or data set cannot be read; None where it can."""
    try:
        source.get_sample(index) if hasattr(source, 'get_sample') else source[index]
    except Exception as error:  # whatever a source of the user's own may raise is what is looked for
        if isinstance(error, OSError) and error.errno in EXHAUSTED:
            raise
        return error_line(error)
    return None


def unreadable(dataset: Any, number: int = 8, seed: int = 0) -> tuple[list[int], list[str]]:
    """Read the first, the last and some random samples: the file itself, for which a data set takes another one when it is broken, and
    the sample that the data set makes of it.

    Args:
        dataset: has a length and gives samples by index.
        number: samples to read, at most.
        seed: of the choice.

    Returns:
        Indices that were tried, and one line per sample that could not be read.
    """
    last = len(dataset) - 1
    inside = random.Random(seed).sample(range(len(dataset)), min(number, len(dataset)))
    chosen = sorted(dict.fromkeys([0, last, *inside][:number])) if last >= 0 else []
    problems = []
    for index in chosen:
        source, inner = _origin(dataset, index)
        reason = why_unreadable(source, inner)
        name = f'sample {index}' + (f' ({name_of(source, inner)})' if hasattr(source, 'describe') else '')
        if reason is None and source is not dataset:
            reason = why_unreadable(dataset, index)
        if reason is not None:
            problems.append(f'{name}: {reason}')
    return chosen, problems


def _origin(dataset: Any, index: int) -> tuple[Any, int]:
    """The data source below a data set, and the number that a sample has in it; the data set itself where it has none."""
    for reader, first in readers(dataset):
        if first <= index < first + len(reader.source):
            return reader.source, index - first
    source: Any = getattr(dataset, 'data_source', None)
    return (source, index) if hasattr(source, 'get_sample') and len(source) == len(dataset) else (dataset, index)


def met_broken(dataset: Any) -> list[str]:
    """Names of the samples that a data set has found unreadable so far."""
    once = dict.fromkeys(reader for reader, _ in readers(dataset))  # each once, however often its samples come
    return [reader.describe(int(index)) for reader in once for index in reader.bad_indices()]
