"""The cache of small images: same views, shared, checked against its source, and never half of one."""

import logging
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from selfsup.datasets import ConcatDataset, ContrastiveDataset
from selfsup.datasets.cache import CachedSource, cached
from selfsup.datasets.cache.images import shrink, small_size
from selfsup.datasets.data_sources import DataSource, ImageFolder
from selfsup.datasets.loaders import build_loader
from selfsup.datasets.robust import unreadable
from selfsup.datasets.wrappers import use_cache
from selfsup.errors import ConfigError, DataError
from tests.distributed.helpers import run_ranks

from .conftest import TENSOR, save_image, truncate

CPU = torch.device('cpu')
VIEWS = [dict(type='RandomResizedCrop', size=8), dict(type='RandomHorizontalFlip'), *TENSOR]


def loader_of(root, where, workers=0, size=12, **settings):
    dataset = dict(type='ContrastiveDataset', data_source=dict(type='ImageFolder', root=str(root)), pipeline=VIEWS)
    section = dict(batch_size=20, num_workers=workers, dataset=dataset, cache=dict(size=size, where=str(where)))
    return build_loader({**section, **settings}, seed=3, device=CPU)


def views(loader):
    loader.set_position(0)
    return torch.cat([batch['img'] for batch in loader])


class Small(DataSource):
    """What a cache shall hold, made each time: an independent statement of it."""

    def __init__(self, source, size):
        super().__init__()
        self.source, self.size, self.labels = source, size, source.labels

    def __len__(self):
        return len(self.source)

    def read_image(self, index):
        image = self.source.read_image(index)
        width, height = image.size
        short = min(width, height)
        if short <= self.size:
            return image
        return image.resize(
            (int(self.size * width / short), int(self.size * height / short)), Image.Resampling.BILINEAR
        )

    def describe(self, index):
        return self.source.describe(index)


@pytest.mark.parametrize('where', ['memory', 'folder'])
def test_views_are_those_of_the_smaller_images_for_any_number_of_workers(folder, tmp_path, where):
    where = where if where == 'memory' else tmp_path / 'cache'
    plain = build_loader(
        dict(batch_size=20, dataset=ContrastiveDataset(Small(ImageFolder(folder), 12), VIEWS)), seed=3, device=CPU
    )
    expected = views(plain)
    for workers in (0, 2):
        loader = loader_of(folder, where, workers)
        assert torch.equal(views(loader), expected)
        loader.close()
    source = loader.dataset.data_source
    assert isinstance(source, CachedSource) and source.image_size == (12, 15) and source.root == str(folder)
    assert source.labels.tolist() == [0] * 50 + [1] * 50 and source.classes == ['cat', 'dog']
    assert source.get_sample(60)[1] == 1 and source.describe(60).endswith('dog/060.jpg')


def test_arrays_are_handed_out_without_a_copy(folder):
    source = cached(ImageFolder(folder), {'size': 12}, 'fast')
    first, again = source.read_image(7), source.read_image(7)
    assert first.dtype == np.uint8 and first.shape == (12, 15, 3) and np.shares_memory(first, again)
    assert not first.flags.writeable
    begin = time.process_time()
    for index in range(100):
        source.get_sample(index)
    assert (time.process_time() - begin) / 100 < 0.5e-3  # it takes 0.003 ms; a read from a file takes more than 1


def test_fast_views_from_a_cache_look_like_those_of_the_reference(tmp_path):
    for number, photo in enumerate(load_sample_images().images):
        for part in range(4):
            Image.fromarray(photo[20 * part :, 50 * part : 400 + 50 * part]).save(tmp_path / f'{number}{part}.png')
    steps = [
        dict(type='RandomResizedCrop', size=64, scale=(0.2, 1.0)),
        dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
        dict(type='RandomHorizontalFlip'),
    ]

    def seen(backend):
        dataset = dict(type='ExtractDataset', data_source=dict(type='ImageFolder', root=str(tmp_path)), pipeline=steps)
        section = dict(batch_size=8, dataset=dataset, prefetch=True, img_norm_cfg=dict(mean=[0.0], std=[1 / 255]))
        cache = dict(size=128, where='memory')
        loader = build_loader({**section, 'pipeline_backend': backend, 'cache': cache}, seed=0, device=CPU)
        for epoch in range(4):
            loader.set_position(epoch)
            yield from torch.cat([batch['img'] for batch in loader])

    errors = [float(((a - b) ** 2).mean()) for a, b in zip(seen('fast'), seen('reference'), strict=True)]
    decibels = [10 * np.log10(255**2 / max(error, 1e-3)) for error in errors]
    assert np.mean(decibels) >= 46 and min(decibels) >= 35 and max(errors) > 0


def test_a_folder_is_used_again_and_one_of_other_images_is_not(folder, tmp_path, caplog):
    where = tmp_path / 'cache'
    caplog.set_level(logging.INFO, 'selfsup')

    def built(**change):
        caplog.clear()
        loader_of(folder, where, **change)
        return any('built in' in message for message in caplog.messages)

    assert built() and not built()
    assert built(size=10) and built(pipeline_backend='fast')
    save_image(folder / 'cat' / '003.jpg', seed=777, size=(40, 30))  # another file under the same name
    assert built() and not built()
    save_image(folder / 'dog' / 'new.jpg')
    assert built() and not built()


def test_a_damaged_cache_is_built_again(folder, tmp_path, caplog):
    expected = views(loader_of(folder, tmp_path))
    (home,) = (path for path in tmp_path.iterdir() if path.name.startswith('100_images'))
    damages = (
        lambda: os.truncate(max(home.glob('images_*.bin'), key=os.path.getsize), 1000),
        lambda: [path.write_bytes(bytes(path.stat().st_size)) for path in home.glob('images_*.bin')],
        lambda: (home / 'rows.bin').write_bytes((home / 'rows.bin').read_bytes()[:-1]),
        lambda: (home / 'cache.json').write_text('{'),
        lambda: [path.unlink() for path in home.glob('images_*.bin')],
    )
    caplog.set_level(logging.INFO, 'selfsup')
    for damage in damages:
        damage()
        caplog.clear()
        assert torch.equal(views(loader_of(folder, tmp_path)), expected)
        assert any('built in' in message for message in caplog.messages)


KILLED = """
import sys, time
import torch
from selfsup.datasets.cache import cached
from selfsup.datasets.data_sources import ImageFolder

class Slow(ImageFolder):
    def read_image(self, index):
        with open(sys.argv[3], 'a') as file:
            file.write('.')
        time.sleep(float(sys.argv[4]))
        return super().read_image(index)

Slow.__name__ = 'ImageFolder'
cached(Slow(sys.argv[1]), {'size': 12, 'where': sys.argv[2]}, 'reference')
"""


def test_a_killed_builder_leaves_what_the_next_one_goes_on_from(folder, tmp_path):
    where, reads = tmp_path / 'cache', tmp_path / 'reads'
    command = [sys.executable, '-c', KILLED, str(folder), str(where), str(reads)]
    process = subprocess.Popen([*command, '0.02'])
    end = time.monotonic() + 60
    while time.monotonic() < end and sum(path.stat().st_size for path in where.glob('*/rows_*.bin')) < 20 * 35:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(where.glob('*/cache.json'))
    time.sleep(1)  # its processes see that it is gone, and stop
    before = len(reads.read_text())
    time.sleep(0.5)
    assert len(reads.read_text()) == before < 116  # 16 of them to tell the size
    (torn,) = sorted(where.glob('*/rows_*.bin'))[:1]
    torn.write_bytes(torn.read_bytes() + b'half a row')
    subprocess.run([*command, '0'], check=True, timeout=60)
    assert len(reads.read_text()) - before < 16 + 100 - 10  # goes on: at least ten were not read again
    expected = views(loader_of(folder, tmp_path / 'other'))
    assert torch.equal(views(loader_of(folder, where)), expected)


def test_broken_images_stay_broken(folder, caplog):
    bad = folder / 'cat' / '049.jpg'
    truncate(bad)
    loader = loader_of(folder, 'memory')
    with caplog.at_level(logging.WARNING, 'selfsup'):
        images = views(loader)
        views(loader)
    assert len(images) == 100 and unreadable(loader.dataset).tolist() == [49]
    assert sum(str(bad) in message for message in caplog.messages) == 1
    sample, taken = loader.dataset.reader.read(49)
    assert taken == 50 and sample[1] == 1


def test_what_cannot_be_cached_is_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match='cache needs a size'):
        cached(ImageFolder(folder), {'where': 'memory'}, 'fast')
    with pytest.raises(ConfigError, match=r'cache\.size'):
        loader_of(folder, 'memory', size=0)
    with pytest.raises(ConfigError, match='cannot be cached'):
        use_cache([1, 2], {'size': 12})
    boxes = ImageFolder(folder)
    boxes.objects = []
    with pytest.raises(ConfigError, match='boxes'):
        cached(boxes, {'size': 12}, 'fast')
    (tmp_path / 'file').touch()
    with pytest.raises(DataError, match='cannot be made'):
        loader_of(folder, tmp_path / 'file')


def test_a_data_set_that_comes_twice_is_cached_once(folder):
    source = ImageFolder(folder)
    one = ContrastiveDataset(source, VIEWS)
    use_cache(ConcatDataset([one, one]), {'size': 12})
    assert isinstance(one.data_source, CachedSource) and one.data_source.source is source


def test_no_room_is_said_before_it_is_taken(folder, tmp_path, monkeypatch):
    monkeypatch.setattr('selfsup.datasets.cache.place.free_memory', lambda: 40_000)
    monkeypatch.setattr('shutil.disk_usage', lambda path: SimpleNamespace(free=50_000))
    with pytest.raises(
        DataError, match=r'^cache: 100 images of size=12 take about 0\.05 MB, and 0\.04 MB are free in memory'
    ):
        loader_of(folder, 'memory')
    with pytest.raises(DataError, match=r'0\.05 MB are free in .*100_images_'):
        loader_of(folder, tmp_path)


class Failing(ImageFolder):
    def read_image(self, index):
        if index == 55:
            raise RuntimeError('not of the image')
        return super().read_image(index)


def test_an_error_in_a_builder_ends_all_of_them(folder, tmp_path, capfd):
    with pytest.raises(DataError, match='image 55 of Failing: RuntimeError: not of the image'):
        cached(Failing(folder), {'size': 12, 'where': str(tmp_path)}, 'reference')


@pytest.mark.parametrize(
    ('shape', 'dtype'), [((13, 40, 30), 'uint16'), ((4, 30, 41), 'uint8'), ((1, 24, 24), 'float32')]
)
def test_other_channels_and_types_are_kept(shape, dtype, monkeypatch):
    rng = np.random.default_rng(0)
    smooth = np.cumsum(rng.random((5, *shape)), axis=-1) / shape[-1]
    arrays = [(one * (60_000 if dtype == 'uint16' else 250 if dtype == 'uint8' else 1)).astype(dtype) for one in smooth]

    class Arrays(DataSource):
        def __len__(self):
            return len(arrays)

        def read_image(self, index):
            return arrays[index]

        def describe(self, index):
            return f'array {index}'

    source = cached(Arrays(), {'size': 20}, 'fast')
    height, width = small_size(*shape[1:], 20)
    for index, array in enumerate(arrays):
        image = source.read_image(index)
        assert image.dtype == dtype and image.shape == (shape[0], height, width)
        assert np.array_equal(image, shrink(array, 20))
        truth = np.stack(
            [np.asarray(Image.fromarray(part).resize((width, height), 2)) for part in array.astype(np.float32)]
        )
        assert np.abs(image - truth).max() <= (1e-5 if dtype == 'float32' else 0.51)


def test_small_images_are_not_enlarged():
    assert small_size(300, 500, 256) == (256, 426) and small_size(500, 300, 256) == (426, 256)
    assert small_size(100, 300, 256) == (100, 300)


def _of_a_rank(root, *places):
    from selfsup import distributed as dist

    results = []
    for where in places:
        section = dict(
            batch_size=25,
            dataset=dict(type='ContrastiveDataset', data_source=dict(type='ImageFolder', root=root), pipeline=VIEWS),
            cache=dict(size=12, where=where),
        )
        loader = build_loader(section, seed=3, device=CPU, rank=dist.rank(), world_size=dist.world_size())
        segments = sorted(loader.dataset.data_source.store.segments.values())
        results.append((segments, [batch['img'] for batch in loader]))
    with pytest.raises(DataError, match='cannot be made'):  # on every rank
        build_loader(
            {**section, 'cache': dict(size=12, where=f'{root}/labels')},
            seed=3,
            device=CPU,
            rank=dist.rank(),
            world_size=dist.world_size(),
        )
    return os.getpid(), results


@pytest.mark.dist
def test_processes_share_one_cache(folder, tmp_path):
    expected = views(loader_of(folder, 'memory', sampler=dict(shuffle=True), batch_size=50))
    (folder / 'labels').touch()
    where = tmp_path / 'cache'
    (pid, first), (_, second) = run_ranks(_of_a_rank, 2, str(folder), 'memory', str(where))
    for (segments, images), (same, others) in zip(first, second, strict=True):
        assert segments == same
        joined = torch.cat([part for pair in zip(images, others, strict=True) for part in pair])
        assert torch.equal(joined, expected)
    assert all(f'/proc/{pid}/' in path for path in first[0][0]) and len(list(where.iterdir())) == 1
