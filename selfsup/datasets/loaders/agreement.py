"""Whether all processes see the same data set: sample i must be the same image everywhere, or numbers are mixed up without a word."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from ... import distributed as dist
from ...errors import DataError
from ..digest import data_digest

SAMPLES_READ = 8  # of a source that does not name its samples
# The most telling difference first.
DIFFERENCES = {
    'images': 'they hold different numbers of images ({})',
    'unordered': 'they hold other images',
    'names': 'they hold the same images in different orders',
    'content': 'sample by sample they hold other images',
    'labels': 'their labels differ',
    'classes': 'their classes differ ({})',
}


def check_ranks_agree(dataset: Any) -> None:
    """Compare what each rank says of its data set; every rank must call, and on one process nothing happens.

    Compared are the number of samples, their names in order, their labels and classes. Of a source without `describe`, a few samples are
    read instead; where reading one twice gives two things, it is random and is not compared.

    Raises:
        DataError: on every rank, saying what differs.
    """
    if dist.world_size() == 1:
        return
    mine = data_digest(dataset, sizes=False)
    mine['content'] = _content(dataset) if mine['names'] is None else None
    of_ranks = dist.gather_objects(mine)
    for key, text in DIFFERENCES.items():
        values = [one[key] for one in of_ranks]
        if any(value != values[0] for value in values) and not (key == 'content' and None in values):
            other = next(rank for rank, value in enumerate(values) if value != values[0])
            shown = text.format(f'{_shown(values[0])} and {_shown(values[other])}')
            raise DataError(
                f'Processes 0 and {other} of {len(of_ranks)} do not see the same {type(dataset).__name__}: {shown}. Every process '
                'must list the same images in the same order: sort what comes from a set, a dict or a folder, and give every '
                'machine the same files.'
            )


def _shown(value: Any) -> str:
    text = ', '.join(value) if isinstance(value, list) else f'{value:,}' if isinstance(value, int) else str(value)
    return text if len(text) <= 100 else f'{text[:100]} ...'


def _content(dataset: Any) -> str | None:
    """Digest of a few samples, evenly spaced; None where they cannot be read, or come out differently each time."""
    source: Any = getattr(dataset, 'data_source', None)
    if not hasattr(source, 'get_sample'):
        return None
    chosen = np.unique(np.linspace(0, len(source) - 1, SAMPLES_READ).astype(int)).tolist()
    try:
        first, second = (
            hashlib.blake2b(b''.join(_bytes(source.get_sample(i)) for i in chosen)).hexdigest() for _ in range(2)
        )
    except Exception:  # whatever a source of one's own raises: reading the samples will say it better
        return None
    return first if first == second else None


def _bytes(sample: Any) -> bytes:
    """What a sample is made of: an image or an array, perhaps with a label."""
    if isinstance(sample, tuple | list):
        return b''.join(map(_bytes, sample))
    return hashlib.blake2b(np.ascontiguousarray(sample).tobytes()).digest()
