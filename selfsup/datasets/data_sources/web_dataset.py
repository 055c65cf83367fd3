"""Images in tar shards, as the webdataset library writes them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import numpy as np
from annotated_types import Len

from ... import distributed as dist
from ...arguments import Count
from ...errors import ConfigError
from ...files import byte_count
from ...registry import DATA_SOURCES
from .base import EncodedSource, NameTable, PathLike
from .shards.endings import IMAGE_ENDINGS
from .shards.index import ShardIndex, build_index, cache_folder, lines
from .shards.labels import Labels, labels_of
from .shards.patterns import shards_of
from .shards.places import Shard, look_at
from .shards.reader import TarReader
from .shards.remarks import check_images, count_lost
from .shards.store import ShardStore
from .shards.urls import is_url


@DATA_SOURCES.register_module()
class WebDataset(EncodedSource):
    """Images in tar shards: files, or URLs of any kind that fsspec reads (`s3://`, `gs://`, `https://`, ...); plain, or packed by gzip.

    Members that share a base name are one sample: `n01/0001.jpg` and `n01/0001.cls`. Which there are is looked up once, from the headers
    of the tars, and kept in a file beside them (`.selfsup-*.index`, or in ~/.cache/selfsup where they cannot be written to); a shard whose
    size or time has changed is looked up again. The images of plain tars on a disk are read where they are, in any order. Shards that are
    packed or elsewhere are fetched and unpacked as a whole into `cache_dir`, so training reads them one by one: see `locality`.

    A shard that is cut off or damaged is named in a warning. What its good part holds is used, an image that lies in the damage is
    unreadable like a broken file, and what nobody can know of any more is estimated (`lost`) and counts as unreadable too.

    Args:
        shards: pattern or list of patterns: `/shards/train-{000..127}.tar`, `s3://bucket/{a,b}-*.tar.gz`, or a folder with shards.
        label: which member is the label: 'cls', 'txt' or another ending, of which the text is a whole number or the name of a class;
            'json:key' (or 'json:key.key'), a value in a JSON file; 'none'. None: 'cls' where there is one. Names of classes are numbered as
            they are sorted; numbers have the names in `classes.json`, a list, beside the shards where there is one.
        image: ending of the image member, such as 'jpg' or 'left.png', where a sample has several; None: the one that is an image.
        return_label: hand out labels where there are any.
        sequential: shuffle blocks of shards; None: where shards are fetched or unpacked.
        cache_dir: folder for shards that are fetched or unpacked, shared by all processes; None: ~/.cache/selfsup/shards.
        cache_bytes: room for them there, as a number or '20GB'. Where the shards of a `WindowSampler`'s window do not fit, they are fetched
            again and again.
        storage_options: of the file systems of URLs, see fsspec: dict(anon=True).
        channels, value_range, exif: see `Decoder`.

    Attributes:
        blocks_kept: number of shards that `cache_bytes` has room for; None where nothing is fetched.
        lost: estimated number of images that damaged shards held and that are not among those of the source.

    Raises:
        ConfigError: `cache_bytes` is no size.
        DataError: a pattern names nothing, a shard is missing, no image is found, or labels cannot be read.
    """

    blocks_kept: int | None = None

    def __init__(
        self,
        shards: str | Annotated[Sequence[str], Len(1)],
        label: str | None = None,
        image: str | None = None,
        return_label: bool = True,
        sequential: bool | None = None,
        cache_dir: PathLike | None = None,
        cache_bytes: Count | str = '20GB',
        storage_options: dict | None = None,
        channels: Count = 3,
        value_range: tuple[float, float] | None = None,
        exif: Literal['apply', 'ignore'] = 'ignore',
    ) -> None:
        super().__init__(return_label, channels, value_range, exif)
        options = dict(storage_options or {})
        paths = shards_of([shards] if isinstance(shards, str) else shards)
        try:
            room = byte_count(cache_bytes)
        except ValueError as error:
            raise ConfigError(f'WebDataset cache_bytes={error}.') from None
        self._store = ShardStore(cache_dir or cache_folder() / 'shards', room, options)
        open_tar = partial(_open_tar, self._store)
        self._reader = TarReader(open_tar)
        self.root = _common_folder(paths)

        def look() -> tuple[list[Shard], ShardIndex, Labels]:
            found = [look_at(path, options) for path in paths]
            asked = {'images': list(IMAGE_ENDINGS), 'image': image, 'label': label or 'cls'}
            index = build_index(
                found, asked, open_tar, cache_folder() / 'index' if is_url(self.root) else Path(self.root)
            )
            check_images(found, index, image)
            return found, index, labels_of(lines(index.labels), lines(index.names), label, self.root, options)

        self._shards, index, labels = dist.on_main(look)
        self._offsets, self._sizes, self._names = index.offsets, index.sizes, NameTable(lines(index.names))
        self.labels, self.classes, self.no_labels = labels
        self.blocks = self._starts = (np.cumsum(index.counts) - index.counts)[index.counts > 0]
        self._shard_of_block = np.flatnonzero(index.counts)
        if sequential if sequential is not None else not all(shard.direct for shard in self._shards):
            self.locality = self.blocks
            largest = int(max(np.add.reduceat(index.sizes, self.blocks)))
            self.blocks_kept = None if all(shard.direct for shard in self._shards) else room // largest
        self.lost = count_lost(self._shards, index)

    def __len__(self) -> int:
        return len(self._offsets)

    def describe(self, index: int) -> str:
        return f'{self._shard(index).path}: {self._names[index]}'

    def read_bytes(self, index: int) -> bytes:
        return self._reader.read(self._shard(index), int(self._offsets[index]), int(self._sizes[index]))

    def size_of(self, index: int) -> int:
        """Bytes of the encoded image number `index`."""
        return int(self._sizes[index])

    def _shard(self, index: int) -> Shard:
        block = np.searchsorted(self._starts, index, side='right') - 1
        return self._shards[self._shard_of_block[block]]


def _open_tar(store: ShardStore, shard: Shard) -> BinaryIO:
    return open(shard.path, 'rb') if shard.direct else store.open(shard)


def _common_folder(paths: list[str]) -> str:
    """The folder that all shards lie in, from which their names count; of URLs too."""
    common = []
    for level in zip(*(path.split('/')[:-1] for path in paths), strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    return '/'.join(common) or ('/' if paths[0].startswith('/') else '')
