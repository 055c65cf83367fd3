"""What a data set of very many images costs before its first image is read: memory of the index, memory and time of the order of an epoch.

    python benchmarks/speed/billion.py --out benchmarks/results/speed/billion.json

Each case runs in a process of its own; what counts is resident memory: what stays, and the peak on the way, above that of the same process
before. Images are a few bytes that nothing decodes. Numbers per image hold for any number of images; for a billion they are extrapolated.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import multiprocessing
import os
import platform
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
NAMES = 'n{:08d}/n{:08d}_{:08d}.JPEG'  # as in ImageNet, 30 characters
PER_BLOCK = 10_000  # images of a shard


def resident() -> int:
    """Bytes of this process in memory now."""
    return int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def name(number: int) -> str:
    return NAMES.format(number % 1000, number % 1000, number)


def list_file(folder: Path, count: int) -> Callable[[], Any]:
    image_folder(folder, count)  # the source looks for some of them
    path = folder / 'list.txt'
    with path.open('w') as file:
        file.writelines(f'{name(i)} {i % 1000}\n' for i in range(count))

    def make() -> Any:
        from selfsup.registry import DATA_SOURCES

        return DATA_SOURCES.build({'type': 'ImageList', 'root': str(folder), 'list_file': str(path)})

    return make


def image_folder(folder: Path, count: int) -> Callable[[], Any]:
    for kind in range(min(count, 1000)):
        (folder / f'n{kind:08d}').mkdir()
    for number in range(count):
        (folder / name(number)).touch()

    def make() -> Any:
        from selfsup.registry import DATA_SOURCES

        return DATA_SOURCES.build({'type': 'ImageFolder', 'root': str(folder)})

    return make


def web_dataset(folder: Path, count: int) -> Callable[[], Any]:
    for first in range(0, count, PER_BLOCK):
        with tarfile.open(folder / f'{first // PER_BLOCK:06d}.tar', 'w') as tar:
            for number in range(first, min(first + PER_BLOCK, count)):
                for ending, content in (('jpg', b'\xff\xd8\xff'), ('cls', b'%d' % (number % 1000))):
                    info = tarfile.TarInfo(f'{number:09d}.{ending}')
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))

    def make() -> Any:
        from selfsup.registry import DATA_SOURCES

        shards = str(folder / '*.tar')
        return DATA_SOURCES.build({'type': 'WebDataset', 'shards': shards, 'cache_dir': str(folder / 'cache')})

    return make


def parquet(folder: Path, count: int) -> Callable[[], Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({'image': [b'\xff\xd8\xff'] * count, 'label': [i % 1000 for i in range(count)]})
    pq.write_table(table, folder / 'part.parquet', row_group_size=PER_BLOCK)

    def make() -> Any:
        from selfsup.registry import DATA_SOURCES

        return DATA_SOURCES.build({'type': 'Parquet', 'files': str(folder / 'part.parquet')})

    return make


def sampler(kind: str) -> Callable[[Path, int], Callable[[], Any]]:
    def prepare(folder: Path, count: int) -> Callable[[], Any]:
        import numpy as np

        from selfsup.datasets.loaders.samplers import EpochSampler
        from selfsup.datasets.loaders.window import WindowSampler

        class Source:
            blocks = np.arange(0, count, PER_BLOCK)

        class Data:
            data_source = Source()

            def __len__(self) -> int:
                return count

        cls: Any = {'EpochSampler': EpochSampler, 'WindowSampler': WindowSampler}[kind]
        one = cls(Data(), batch_size=32, world_size=8, drop_last=True)
        return lambda: next(iter(one))

    return prepare


CASES: dict[str, tuple[Callable[[Path, int], Callable[[], Any]], int]] = {
    'ImageList': (list_file, 50_000),
    'ImageFolder': (image_folder, 50_000),
    'WebDataset': (web_dataset, 100_000),
    'Parquet': (parquet, 1_000_000),
    'EpochSampler': (sampler('EpochSampler'), 10_000_000),
    'WindowSampler': (sampler('WindowSampler'), 10_000_000),
}


def _measure(count: int, small: Callable[[], Any], make: Callable[[], Any], pipe: Any) -> None:
    small()  # imports what it needs
    gc.collect()
    before = resident()
    Path('/proc/self/clear_refs').write_text('5')  # the peak counts from here
    start = time.perf_counter()
    made = make()
    seconds = time.perf_counter() - start
    peak = int(next(x for x in Path('/proc/self/status').read_text().splitlines() if x.startswith('VmHWM')).split()[1])
    gc.collect()
    stays = resident() - before
    pipe.send(
        {'images': count, 'peak': peak * 1024 - before, 'stays': stays, 'seconds': seconds, 'kind': str(type(made))}
    )


def measure(case: str, count: int) -> dict[str, Any]:
    """Bytes per image, and seconds, of one case in a fresh process."""
    prepare, _ = CASES[case]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        make, small = prepare(Path(folder), count), prepare(Path(other), 1000)
        import selfsup.datasets  # noqa: F401  (before the process forks, so that it does not count)

        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context('fork').Process(target=_measure, args=(count, small, make, there))
        process.start()
        there.close()
        found = here.recv()
        process.join()
    return {
        'images': count,
        'bytes_per_image': round(found['stays'] / count, 1),
        'peak_bytes_per_image': round(found['peak'] / count, 1),
        'seconds_per_million': round(found['seconds'] * 1e6 / count, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', help='JSON file of the numbers')
    parser.add_argument('--cases', nargs='+', choices=CASES, default=list(CASES))
    args = parser.parse_args()
    cases = {}
    for case in args.cases:
        cases[case] = measure(case, CASES[case][1])
        print(case, cases[case], flush=True)
    result: dict[str, Any] = {'machine': f'{platform.machine()}, Python {platform.python_version()}', 'cases': cases}
    if args.out:
        Path(args.out).write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__':
    main()
