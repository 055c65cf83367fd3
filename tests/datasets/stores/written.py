"""The same small images in every form that a source reads."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.datasets.tar_shards import write_tar

COUNT, SIZE = 48, 24


def encoded(number: int) -> bytes:
    """A PNG, so that arrays hold the very same pixels."""
    pixels = np.random.RandomState(number).randint(0, 256, (6, 6, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BILINEAR).save(file, 'png')
    return file.getvalue()


def images(count: int = COUNT) -> list[bytes]:
    return [encoded(number) for number in range(count)]


def labels(count: int = COUNT) -> list[int]:
    return [number % 3 for number in range(count)]


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def folder(root: Path) -> str:
    for number, data in enumerate(images()):
        path = root / 'folder' / f'{number:03d}.png'
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    return f'folder:{root}/folder'


def tiff(root: Path) -> str:
    (root / 'tiff').mkdir()
    for number, data in enumerate(images()):
        Image.fromarray(pixels(data)).save(root / 'tiff' / f'{number:03d}.tif')
    return f'folder:{root}/tiff'


def image_list(root: Path) -> str:
    folder(root)
    (root / 'list.txt').write_text(''.join(f'folder/{number:03d}.png\n' for number in range(COUNT)))
    return f'list:{root}/list.txt'


def csv(root: Path) -> str:
    folder(root)
    rows = [f'{label};folder/{number:03d}.png\n' for number, label in enumerate(labels())]
    (root / 'list.csv').write_text('class;file\n' + ''.join(rows))
    return f'csv:{root}/list.csv?path=file&label=class'


def parquet(root: Path, group: int = 6) -> str:
    pytest.importorskip('pyarrow')
    import pyarrow as pa
    import pyarrow.parquet as pq

    for part in range(2):
        half = slice(part * COUNT // 2, (part + 1) * COUNT // 2)
        table = pa.table({'photo': images()[half], 'label': [f'class {label}' for label in labels()[half]]})
        pq.write_table(table, root / f'part{part}.parquet', row_group_size=group, write_statistics=['label'])
    return f'parquet:{root}/*.parquet'


def hf_data():
    datasets = pytest.importorskip('datasets')
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=['x', 'y', 'z']))
    rows = {'image': [{'bytes': data, 'path': None} for data in images()], 'label': labels()}
    return datasets.Dataset.from_dict(rows, features=features)


def hf(root: Path) -> str:
    hf_data().save_to_disk(str(root / 'hf'))
    return f'hf:{root}/hf'


def hf_stream(root: Path) -> str:
    return f'{hf(root)}?streaming=true&window_images=32'


def lmdb(root: Path) -> str:
    package = pytest.importorskip('lmdb')
    with package.open(str(root / 'data.lmdb'), map_size=1 << 24) as store, store.begin(write=True) as transaction:
        for number, data in enumerate(images()):
            transaction.put(f'{number:05d}'.encode(), data)
    return f'lmdb:{root}/data.lmdb'


def npy(root: Path) -> str:
    np.save(root / 'images.npy', np.stack([pixels(data) for data in images()]))
    return f'npy:{root}/images.npy'


def shards(root: Path, ending: str = '.tar') -> str:
    """Four shards."""
    for number in range(4):
        first = number * COUNT // 4
        members = [(f'{first + i:03d}.png', data) for i, data in enumerate(images()[first : first + COUNT // 4])]
        write_tar(root / f'photos-{number}{ending}', members, 'w' if ending == '.tar' else 'w:gz')
    return f'wds:{root}/photos-{{0..3}}{ending}'


def packed_shards(root: Path) -> str:
    return f'{shards(root, ".tar.gz")}?cache_dir={root}/cache'


def shards_at_urls(root: Path) -> str:
    pytest.importorskip('fsspec')
    return f'{shards(root).replace("wds:", "wds:file://")}?cache_dir={root}/cache'


FORMS: dict[str, Callable[[Path], str]] = {
    'folder': folder,
    'list': image_list,
    'csv': csv,
    'parquet': parquet,
    'hf': hf,
    'hf stream': hf_stream,
    'lmdb': lmdb,
    'npy': npy,
    'tiff': tiff,
    'shards': shards,
    'packed shards': packed_shards,
    'shards at URLs': shards_at_urls,
}
