"""What it costs to get an image out of each data source, in any order and in the order that training reads it in.

The photos of a folder are written in every form, several times over. Measured is the CPU time of one process to have the encoded
bytes of an image (of arrays: its pixels), with all files in the page cache: what a disk or a network adds is not in it. Decoding a
photo comes on top. What is kept in memory or unpacked has room for the blocks of a window, and is empty at the start.

    python benchmarks/speed/sources.py PHOTOS      # a folder of JPEG files; 2 minutes
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / 'benchmarks' / 'results' / 'speed' / 'sources.json'
GROUP, SHARD, SIDE = 100, 200, 256  # images of a row group and of a shard, pixels of a side in the array
WINDOW = 4  # blocks


def write(photos: list[bytes], root: Path) -> dict[str, str]:
    """Address of the photos in each form."""
    import datasets
    import lmdb
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    from selfsup.datasets.decoding import load_rgb

    names = [f'{number:05d}.jpg' for number in range(len(photos))]
    (root / 'folder').mkdir()
    for name, data in zip(names, photos, strict=True):
        (root / 'folder' / name).write_bytes(data)
    (root / 'list.csv').write_text('path\n' + ''.join(f'folder/{name}\n' for name in names))
    pq.write_table(pa.table({'image': photos}), root / 'photos.parquet', row_group_size=GROUP)
    features = datasets.Features(image=datasets.Image())
    rows = {'image': [{'bytes': data, 'path': None} for data in photos]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(root / 'hf'))
    with lmdb.open(str(root / 'photos.lmdb'), map_size=1 << 32) as store, store.begin(write=True) as transaction:
        for name, data in zip(names, photos, strict=True):
            transaction.put(name.encode(), data)
    pixels = [np.asarray(load_rgb(io.BytesIO(data)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for data in photos]
    np.save(root / 'photos.npy', np.stack(pixels))
    for ending in ('.tar', '.tar.gz'):
        write_shards(root, photos, ending)
    room = int(1.2 * WINDOW * SHARD * sum(map(len, photos)) / len(photos))
    return {
        'files in a folder': f'folder:{root}/folder',
        'files of a CSV': f'csv:{root}/list.csv',
        'tar shards': f'wds:{root}/photos-*.tar',
        'tar shards, packed by gzip': f'wds:{root}/photos-*.tar.gz?cache_dir={root}/{{new}}&cache_bytes={room}',
        f'Parquet, row groups of {GROUP}': f'parquet:{root}/photos.parquet?cached_groups={WINDOW}',
        'HF data set': f'hf:{root}/hf',
        'HF stream': f'hf:{root}/hf?streaming=true&window_images=256',
        'LMDB': f'lmdb:{root}/photos.lmdb',
        f'array of {SIDE} x {SIDE} pixels': f'npy:{root}/photos.npy',
    }


def write_shards(root: Path, photos: list[bytes], ending: str) -> None:
    import tarfile

    for first in range(0, len(photos), SHARD):
        path = root / f'photos-{first // SHARD:03d}{ending}'
        with tarfile.open(path, 'w' if ending == '.tar' else 'w:gz') as tar:  # type: ignore[call-overload]
            for number, data in enumerate(photos[first : first + SHARD], first):
                info = tarfile.TarInfo(f'{number:05d}.jpg')
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def cost(read: Callable[[int], Any], order: Iterable[int]) -> float:
    """CPU milliseconds per image."""
    indices = list(order)
    start = time.process_time()
    for index in indices:
        read(index)
    return round((time.process_time() - start) * 1e3 / len(indices), 3)


def measure(address: str) -> dict[str, Any]:
    """Numbers of one source; None where it cannot be read in that order."""
    from selfsup.datasets.loaders import EpochSampler, WindowSampler
    from selfsup.registry import DATA_SOURCES

    def source(new: str) -> tuple[Any, Callable[[int], Any]]:
        built = DATA_SOURCES.build(DATA_SOURCES.from_text(address.replace('{new}', new)))
        return built, getattr(built, 'read_bytes', built.read_image)

    source('index')  # which member of a tar is where is looked up once, and kept
    opened, read = source('a')
    in_blocks = opened.locality is not None
    kind = WindowSampler if in_blocks else EpochSampler
    window = {'window': WINDOW} if in_blocks else {}
    trained = [draw.index for draw in kind(opened, batch_size=64, **window)]
    random = np.random.default_rng(0).permutation(len(opened))[:100].tolist()
    training = cost(read, trained)
    anywhere = None if opened.in_order else cost(source('b')[1], random)
    _, read = source('c')  # as a resumed run begins
    return {
        'training_ms': training,
        'random_ms': anywhere,
        'resume_ms': cost(read, [len(opened) // 2]),
        'blocks': in_blocks,
    }


def table(record: dict[str, Any]) -> str:
    """The rows of docs/data.md."""
    lines = [
        '| source | CPU ms per image, training order | any order | first image after a resume, ms |',
        '|---|---|---|---|',
    ]
    for name, row in record['sources'].items():
        random = 'not possible' if row['random_ms'] is None else f'{row["random_ms"]:.2f}'
        lines.append(f'| {name} | {row["training_ms"]:.2f} | {random} | {row["resume_ms"]:.1f} |')
    return '\n'.join(lines) + '\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('photos', type=Path, help='a folder of JPEG files')
    parser.add_argument('--copies', type=int, default=10, help='how often each photo is written')
    parser.add_argument('--out', type=Path, default=RESULT)
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    import selfsup.datasets  # noqa: F401  # its import registers the sources

    photos = [path.read_bytes() for path in sorted(args.photos.rglob('*.[jJ][pP]*[gG]'))] * args.copies
    with tempfile.TemporaryDirectory() as folder:
        sources = {name: measure(address) for name, address in write(photos, Path(folder)).items()}
    record = {
        'images': len(photos),
        'kilobytes_per_image': round(sum(map(len, photos)) / len(photos) / 1e3, 1),
        'machine': f'{platform.machine()}, Python {platform.python_version()}',
        'sources': sources,
    }
    args.out.write_text(json.dumps(record, indent=1) + '\n')
    print(table(record), end='')


if __name__ == '__main__':
    main()
