"""Tar shards written from any data source, so that `WebDataset` and the webdataset library read them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from ....errors import DataError
from ....files import write_atomic
from ....provenance import sha256
from ...robust import EXHAUSTED, UNREADABLE, error_line, name_of
from .endings import IMAGE_ENDINGS
from .labels import CLASSES

RECORD, SUMS = 'shards.json', 'SHA256SUMS'
FORMAT = 1  # of the record and of the shards


class Sample(NamedTuple):
    """One image to be written."""

    place: int  # in the order of the shards
    name: str  # of its members
    members: tuple[tuple[str, bytes], ...]  # ending and content; none where it is broken
    problem: str  # why it is broken


class Encoded:
    """Samples of a data source as the members of a tar, by their place in the order of the shards.

    Encoded bytes are copied as they are, once it is clear that they can be decoded. What a source has as pixels alone becomes PNG, where
    it is RGB of 8 bits, or TIFF (`tifffile`).

    Args:
        source: data source.
        order: int (N,) numbers of its samples.
    """

    def __init__(self, source: Any, order: np.ndarray) -> None:
        self.source, self.order = source, order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, place: int) -> Sample:
        index = int(self.order[place])
        name = f'{index:09d}'
        try:
            ending, content = encoded(self.source, index)
        except UNREADABLE as error:
            if isinstance(error, OSError) and error.errno in EXHAUSTED:
                raise
            return Sample(place, name, (), f'{name_of(self.source, index)} ({error_line(error)})')
        members = [(ending, content)]
        if getattr(self.source, 'labels', None) is not None:
            members.append(('cls', str(int(self.source.labels[index])).encode()))
        return Sample(place, name, tuple(members), '')


def encoded(source: Any, index: int) -> tuple[str, bytes]:
    """Ending and bytes of an image.

    Raises:
        OSError, ValueError, ...: of `UNREADABLE`; it cannot be decoded.
    """
    if hasattr(source, 'read_bytes'):
        content = source.read_bytes(index)
        source.decoder(content)
        return _ending(content, name_of(source, index)), content
    sample = source.get_sample(index)
    image = sample[0] if isinstance(sample, tuple) else sample
    file = io.BytesIO()
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        image = Image.fromarray(image)
    if isinstance(image, Image.Image):
        image.convert('RGB').save(file, 'PNG')
        return 'png', file.getvalue()
    try:
        import tifffile
    except ImportError:
        raise DataError(
            'Images of other than 3 channels are written as TIFF by tifffile: pip install tifffile'
        ) from None
    tifffile.imwrite(
        file, np.asarray(image), photometric='minisblack', planarconfig='separate', metadata=None, software=''
    )
    return 'tif', file.getvalue()


def _ending(content: bytes, name: str) -> str:
    """Of an encoded image: that of its name where it is one of images, else what it looks like."""
    ending = os.path.splitext(name)[1].lower().lstrip('.')
    if ending in IMAGE_ENDINGS:
        return ending
    try:
        with Image.open(io.BytesIO(content)) as image:
            kind = (image.format or 'img').lower()
    except UNREADABLE:
        kind = 'tif'  # the decoder read it and Pillow cannot: a raster of many channels
    return {'jpeg': 'jpg', 'tiff': 'tif', 'jpeg2000': 'jp2'}.get(kind, kind)


@dataclass
class Record:
    """What is known of the shards in a folder: written after each of them.

    Attributes:
        settings: what their bytes follow from.
        shards: name, sha256, bytes, samples and `next`, the place of the first sample after it, of each.
        broken: places and names of the samples that could not be read.
        finished: no shard is missing.
    """

    settings: dict[str, Any]
    shards: list[dict[str, Any]] = field(default_factory=list)
    broken: list[tuple[int, str]] = field(default_factory=list)
    finished: bool = False

    @property
    def next(self) -> int:
        """Place of the first sample that is in no shard yet."""
        return self.shards[-1]['next'] if self.shards else 0

    def write(self, folder: Path) -> None:
        """Keep it, and the check sums in the form of `sha256sum --check`."""
        text = json.dumps({'format': FORMAT, **asdict(self)}, indent=1)
        sums = ''.join(f'{shard["sha256"]}  {shard["name"]}\n' for shard in self.shards)
        write_atomic(folder / SUMS, lambda file: file.write(sums.encode()), DataError)
        write_atomic(folder / RECORD, lambda file: file.write(text.encode()), DataError)


def read_record(folder: Path, settings: dict[str, Any]) -> Record:
    """The record of a folder, with the shards whose check sums are right; an empty one for a new folder.

    Raises:
        DataError: the folder holds shards that were made otherwise, or that no record knows.
    """
    path = folder / RECORD
    if not path.exists():
        others = sorted(file.name for file in folder.glob('*.tar'))
        if others:
            raise DataError(
                f'{folder} holds {others[0]} and no {RECORD}: it was made by something else. Choose another folder.'
            )
        return Record(settings)
    try:
        content = json.loads(path.read_text())
        kept = Record(
            content['settings'], content['shards'], [tuple(pair) for pair in content['broken']], content['finished']
        )
        form = content['format']
    except (ValueError, KeyError, TypeError):
        raise DataError(f'{path} cannot be read. Remove {folder} or choose another folder.') from None
    settings = json.loads(json.dumps(settings))
    if form != FORMAT or kept.settings != settings:
        changed = [key for key in settings if kept.settings.get(key) != settings[key]] or ['form']
        raise DataError(
            f'{folder} holds shards made with other settings ({", ".join(changed)}). Choose another folder, or remove this one.'
        )
    good = 0
    for shard in kept.shards:
        file = folder / shard['name']
        if not file.is_file() or file.stat().st_size != shard['bytes'] or sha256(file) != shard['sha256']:
            break
        good += 1
    if good < len(kept.shards):
        kept = Record(kept.settings, kept.shards[:good], kept.broken)
    kept.broken = [pair for pair in kept.broken if pair[0] < kept.next or kept.finished]
    return kept


def write_shards(
    folder: Path, record: Record, samples: Iterable[Sample], shard_bytes: int, name: str
) -> Iterator[tuple[Sample, str]]:
    """Write samples into shards, from where the record ends; gives each sample, with the name of a shard that was just finished or ''.

    A shard is written under another name and renamed when it is complete. The bytes follow from the samples alone.

    Args:
        folder: of the shards.
        record: kept up to date.
        samples: from place `record.next` on.
        shard_bytes: a shard is closed before its images and labels are more than that; a larger image is a shard of its own.
        name: what the names of the shards begin with.
    """
    part: _Part | None = None
    try:
        for sample in samples:
            done = ''
            if sample.problem:
                record.broken.append((sample.place, sample.problem))
            else:
                size = sum(len(content) for _, content in sample.members)
                if part is not None and part.size + size > shard_bytes:
                    done = part.finish(record, sample.place)
                    part = None
                part = part or _Part(folder, f'{name}-{len(record.shards):06d}.tar')
                part.add(sample)
            yield sample, done
        if part is not None:
            part.finish(record, record.settings['images'])
            part = None
        record.finished = True
        record.write(folder)
    finally:
        if part is not None:
            part.drop()


class _Part:
    """A shard that is being written."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.path = folder / f'.{name}.part'
        self.size = self.samples = 0
        self._file = _Hashing(open(self.path, 'wb'))
        self._tar = tarfile.TarFile(fileobj=self._file, mode='w', format=tarfile.USTAR_FORMAT)  # type: ignore[arg-type]

    def add(self, sample: Sample) -> None:
        for ending, content in sample.members:
            info = tarfile.TarInfo(f'{sample.name}.{ending}')  # its times and owners are zeros
            info.size = len(content)
            self._tar.addfile(info, io.BytesIO(content))
            self.size += len(content)
        self.samples += 1

    def finish(self, record: Record, following: int) -> str:
        """Close, rename and record; gives the name."""
        self._tar.close()
        self._file.close()
        self.path.rename(self.folder / self.name)
        record.shards.append(
            {
                'name': self.name,
                'sha256': self._file.digest.hexdigest(),
                'bytes': self._file.count,
                'samples': self.samples,
                'next': following,
            }
        )
        record.write(self.folder)
        return self.name

    def drop(self) -> None:
        """Remove what there is of it."""
        with contextlib.suppress(OSError):  # of a full disk, which has been said
            self._file.close()
        self.path.unlink(missing_ok=True)


class _Hashing:
    """A file that knows the check sum of what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.digest, self.count = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.count += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self.count

    def close(self) -> None:
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()


def write_classes(folder: Path, classes: list[str]) -> None:
    """The names of the classes, which `WebDataset` reads beside the shards."""
    write_atomic(folder / CLASSES, lambda file: file.write(json.dumps(classes, ensure_ascii=False).encode()), DataError)
