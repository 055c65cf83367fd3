"""Write any images as tar shards, for training from few large files: python tools/make_shards.py folder:/photos /data/shards

The shards are what `wds:/data/shards` reads, and the webdataset library too: each image as it is stored (as PNG or TIFF where the source
has pixels alone), its class as .cls, the names of the classes in classes.json. Images come in random order, so that reading shard by
shard still mixes them. Broken ones are named and left out; with more than --max-unreadable nothing more is written. SHA256SUMS has the
check sums (`sha256sum --check`). The same command goes on after a kill: finished shards are checked and kept. The same images and
options give the same bytes, for any number of workers.
"""

from __future__ import annotations

from .. import cli
from ..errors import UsageError
from .options import MISSING, Declared, option

TYPE_CHECKING = False  # see options.py
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from . import base


class Options(Declared):
    """See the `help` of each field."""

    source: str = option(
        MISSING, 'source', metavar='ADDRESS', help='images, such as folder:/photos or list:list.txt?root=/photos'
    )
    out: str = option(MISSING, 'out', metavar='FOLDER', help='where the shards go')
    shard_bytes: str = option('256MB', help='size of a shard (default: 256MB)')
    workers: int = option(2, type=int, help='processes that read images (default: 2)')
    in_order: bool = option(False, help='keep the order of the source')
    seed: int = option(0, type=cli.seed, help='of the random order (default: 0)')
    name: str = option('shard', help='what the names of the shards begin with (default: shard)')
    max_unreadable: float = option(0.01, type=float, help='share of the images that may be broken (default: 0.01)')

    def validate(self) -> None:
        if self.workers < 0 or not 0 <= self.max_unreadable < 1:
            raise UsageError('--workers must be 0 or more, --max-unreadable in [0, 1)')
        if not self.name or '/' in self.name:
            raise UsageError(f'--name {self.name!r} must be the beginning of a file name')


def run(asked: Options) -> base.Outcome:
    """Write the shards, or those that are missing.

    Raises:
        SelfSupError: what the user can mend.
    """
    from pathlib import Path

    from ..datasets.data_sources.shards import writing
    from ..errors import DataError
    from ..files import byte_count, only_process
    from ..registry import DATA_SOURCES
    from . import base

    try:
        size = byte_count(asked.shard_bytes)
    except ValueError as error:
        raise UsageError(f'--shard-bytes: {error}') from None
    source = DATA_SOURCES.build(asked.source)
    if hasattr(source, 'objects'):
        raise UsageError(f'{type(source).__name__} has boxes, and shards hold images with a class at most')
    folder = Path(asked.out).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f'{folder} cannot be made: {error.strerror}.') from None
    with only_process(folder / '.making', f'{folder} is being written by {{owner}}. Wait for it.', DataError):
        record = writing.read_record(folder, settings_of(asked, source, size))
        kept = len(record.shards)
        if not record.finished:
            if source.classes is not None and source.labels is not None:
                writing.write_classes(folder, [str(name) for name in source.classes])
            _write(asked, source, folder, record, size)
    images = sum(shard['samples'] for shard in record.shards)
    written = sum(shard['bytes'] for shard in record.shards)
    lines = [f'{len(record.shards)} shards ({kept} were there), {images:,} images, {written / 1e6:,.1f} MB: {folder}']
    if record.broken:
        lines.append(f'{len(record.broken)} broken images are left out; {folder / writing.RECORD} names them')
    return base.Outcome([*lines, f'read them with: --data wds:{folder}'])


def settings_of(asked: Options, source: Any, size: int) -> dict[str, Any]:
    """What the bytes of the shards follow from."""
    from ..datasets.digest import data_digest

    digest = data_digest(source)
    order = {'in_order': asked.in_order, 'seed': None if asked.in_order else asked.seed}
    return {'images': len(source), 'source': digest, 'shard_bytes': size, 'name': asked.name, **order}


def _write(asked: Options, source: Any, folder: Path, record: Any, size: int) -> None:
    """Read, encode and write what is missing; says how far it is."""
    import logging
    import time

    import numpy as np

    from ..datasets.data_sources.shards import writing
    from ..errors import DataError

    order = np.arange(len(source))
    if not asked.in_order:
        order = np.random.default_rng(asked.seed).permutation(len(source))
    total, first = len(order), record.next
    started = said = time.monotonic()
    samples = _samples(writing.Encoded(source, order), first, asked.workers)
    for sample, finished in writing.write_shards(folder, record, samples, size, asked.name):
        if sample.problem:
            logging.getLogger('selfsup').warning(f'skipped unreadable image {sample.problem}')
            if len(record.broken) > asked.max_unreadable * total:
                raise DataError(
                    f'{len(record.broken)} of {total} images cannot be read, more than {100 * asked.max_unreadable:g}%. The limit is '
                    f'--max-unreadable {asked.max_unreadable:g}. Repair or remove: {", ".join(name for _, name in record.broken[:100])}'
                )
        now = time.monotonic()
        if finished or now - said > 5:
            done = sample.place + 1
            left = (now - started) * (total - done) / (done - first)
            print(f'{done:,} of {total:,} images, {len(record.shards)} shards, {left:.0f} s to go', flush=True)
            said = now


def _samples(encoded: Any, first: int, workers: int) -> Iterator[Any]:
    """Samples from place `first` on, in order, read by several processes."""
    from torch.utils.data import DataLoader

    places = range(first, len(encoded))
    yield from DataLoader(
        encoded,
        batch_size=None,
        sampler=places,
        num_workers=min(workers, len(places)),
        collate_fn=lambda sample: sample,
    )
