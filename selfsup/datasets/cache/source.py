"""A data source whose images come from a cache."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np
from PIL import Image

from ... import distributed as dist
from ...arguments import Count
from ...errors import ConfigError, DataError, SelfSupError
from ...machine import cores
from ..data_sources import DataSource
from ..decoding import Backend, Pixels, image_libraries
from ..digest import data_digest
from .builder import build
from .images import read_small, shrink
from .place import Folder, Memory, Place, amount, check_room
from .progress import Progress
from .store import Places, Store, open_store

FORMAT = 1  # of the files; another one is another cache
SAMPLED = 16  # images that tell how large the cache becomes, and whether the source holds other images than before
TELL_EVERY = 5.0  # seconds after which processes that build together hear of each other


class CacheSettings(TypedDict, total=False):
    """`cache` of a config. `size`: pixels of the shortest side, images are never enlarged; `where`: 'memory' or a folder."""

    size: Count
    where: str


class CachedSource(DataSource):
    """The images of a data source, small and decoded; everything else is as the source tells it.

    Images that could not be read when the cache was built are read from the source again, which says why they cannot.

    Args:
        source: the data source.
        store: of its images.
        size: of their shortest side.
        place: kept as long as the store is read.
        backend: 'reference' hands out PIL images, 'fast' arrays that are not copied.

    Attributes:
        image_size: (height, width) that all images share, or None.
    """

    locality = None  # reading in any order costs the same

    def __init__(self, source: Any, store: Store, size: int, place: Place, backend: Backend) -> None:
        super().__init__(source.return_label)
        self.source, self.store, self.size, self.backend = source, store, size, backend
        self.labels, self.classes, self.no_labels = source.labels, source.classes, source.no_labels
        self.channels = getattr(source, 'channels', None)
        self.image_size = store.image_size
        self._place = place

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or 'source' not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.source, name)

    def __len__(self) -> int:
        return len(self.store)

    @property
    def num_classes(self) -> int | None:
        """Number of classes of the source."""
        return self.source.num_classes

    def use_backend(self, backend: Backend) -> None:
        """In which form images are handed out; what is stored stays."""
        self.backend = backend
        if hasattr(self.source, 'use_backend'):
            self.source.use_backend(backend)

    def read_image(self, index: int) -> Pixels:
        stored = self.store[index]
        if stored is None:
            stored = shrink(self.source.read_image(index), self.size)
        if self.backend == 'reference' and stored.shape[2] == 3 and stored.dtype == np.uint8:
            return Image.fromarray(stored)
        return stored

    def describe(self, index: int) -> str:
        return self.source.describe(index)


def cached(source: Any, settings: CacheSettings, backend: Backend, together: bool = False) -> CachedSource:
    """The same source with its images from a cache, which is built where there is none.

    Args:
        source: data source with `read_image`.
        settings: of the cache.
        backend: that decodes, and the form in which images are handed out.
        together: all processes of the group call; those of one machine share a cache, and one of them builds it.

    Raises:
        ConfigError: a source that cannot be cached, or settings that say too little.
        DataError: the cache does not fit or cannot be built.
    """
    size, where = settings.get('size'), settings.get('where', 'memory')
    if size is None:
        raise ConfigError("cache needs a size: cache=dict(size=256, where='memory'), or a folder as where.")
    _check(source)
    key, mean_bytes = _key(source, size, backend)
    place: Place = Memory(key) if where == 'memory' else Folder(Path(where).expanduser(), key)
    places = _together(place, source, size, mean_bytes) if together else _alone(place, source, size, mean_bytes)
    try:
        store = open_store(places)
    except (OSError, ValueError) as error:
        raise DataError(f'cache: {place} cannot be opened: {error}. Start again, or remove it.') from None
    return CachedSource(source, store, size, place, backend)


def _check(source: Any) -> None:
    if hasattr(source, 'objects'):
        raise ConfigError(
            f'{type(source).__name__} hands out boxes, which a cache does not move with the smaller image: leave out cache.'
        )
    if not isinstance(source, DataSource) or type(source).get_sample is not DataSource.get_sample:
        raise ConfigError(
            f'{type(source).__name__} cannot be cached: derive it from selfsup.datasets.data_sources.DataSource and define '
            'read_image, or leave out cache.'
        )


def _key(source: Any, size: int, backend: Backend) -> tuple[dict[str, Any], float]:
    """What the content of a cache depends on, and the bytes of an image on average."""
    digest = data_digest(source)
    some = np.unique(np.linspace(0, len(source) - 1, SAMPLED).astype(int)).tolist()
    images = [read_small(source, index, size) for index in some]
    content = hashlib.blake2b(digest_size=16)
    for image in images:
        content.update(b'broken' if image is None else image.tobytes())
    decoder = getattr(source, 'decoder', None)
    key = {
        'format': FORMAT,
        'size': size,
        'source': type(source).__name__,
        **{name: digest[name] for name in ('images', 'names', 'sizes')},
        'content': content.hexdigest(),
        'decoding': {name: repr(getattr(decoder, name, None)) for name in ('channels', 'value_range', 'exif')},
        'backend': backend,
        'libraries': image_libraries(backend),
    }
    return key, float(np.mean([image.nbytes for image in images if image is not None] or [0]))


def _steps(
    place: Place, source: Any, size: int, mean_bytes: float, processes: int
) -> Generator[Places | None, None, None]:
    """Find the cache, wait for it or build it: None now and then, the places of the finished one at the end."""
    log = logging.getLogger('selfsup')
    waiting = False
    while not place.try_hold():
        if not waiting:
            log.info(f'cache: waiting for another process that builds {place}')
        waiting = True
        time.sleep(0.5)
        yield None
    try:
        places = place.finished()
        if places is None:
            needed = mean_bytes * len(source)
            check_room(place, needed, len(source), size)
            log.info(
                f'cache: {len(source):,} images with a shortest side of {size} pixels take about {amount(needed)}; '
                f'{processes} process{"es" if processes > 1 else ""} put them into {place}'
            )
            progress = Progress('cache', len(source))
            try:
                places = yield from build(place, source, size, processes, progress)
            finally:
                seconds = progress.end()
            log.info(f'cache: built in {seconds:,.0f} s')
        else:
            log.info(f'cache: {len(source):,} images with a shortest side of {size} pixels are in {place}')
        yield places
    finally:
        place.release()


def _alone(place: Place, source: Any, size: int, mean_bytes: float) -> Places:
    return next(places for places in _steps(place, source, size, mean_bytes, cores()) if places is not None)


def _together(place: Place, source: Any, size: int, mean_bytes: float) -> Places:
    """The same for all processes of the group: the first of each machine builds, and the others hear of it every few seconds, so that no
    collective runs into its time limit."""
    machines = dist.gather_objects(_machine())
    leads = machines.index(_machine()) == dist.rank()
    steps = _steps(place, source, size, mean_bytes, cores()) if leads else None
    state: Places | SelfSupError | None = None
    while True:
        begin = time.monotonic()
        while steps is not None and state is None and time.monotonic() - begin < TELL_EVERY:
            try:
                state = next(steps)
            except SelfSupError as error:
                state = error
        states = dist.gather_objects(state)
        of_leaders = [states[machines.index(machine)] for machine in machines]
        failed = next((told for told in of_leaders if isinstance(told, SelfSupError)), None)
        if failed is not None or all(of_leaders):
            if steps is not None:
                steps.close()  # ends the processes of a cache that is of no use any more, and lets the place go
            if failed is not None:
                raise failed
            return cast(Places, of_leaders[dist.rank()])


def _machine() -> str:
    """What processes share that can open each other's memory."""
    try:
        inside = os.readlink('/proc/self/ns/pid')
    except OSError:
        inside = ''
    return f'{socket.gethostname()} {inside}'
