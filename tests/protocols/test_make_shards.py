"""Any source becomes tar shards: the same bytes every time, nothing lost, and on after a kill."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from selfsup.datasets.data_sources import DataSource, Digits, ImageFolder, WebDataset
from selfsup.datasets.data_sources.shards import writing
from selfsup.errors import DataError, UsageError
from selfsup.protocols import make_shards
from selfsup.registry import DATA_SOURCES
from tests.datasets.conftest import save_image, truncate

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    """60 JPEGs in two folders."""
    root = tmp_path_factory.mktemp('photos')
    for i in range(60):
        save_image(root / ('cat' if i < 30 else 'dog') / f'{i:02d}.jpg', seed=i, size=(40, 30))
    return root


def make(photos, out, **options):
    options = {'workers': 0, 'shard_bytes': '12kB', **options}
    return make_shards.run(make_shards.Options(source=str(photos), out=str(out), **options)).lines


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.startswith('.')}


def test_shards_hold_the_bytes_of_the_files_and_their_classes(photos, tmp_path):
    lines = make(photos, tmp_path / 'out')
    source, shards = ImageFolder(str(photos)), WebDataset(str(tmp_path / 'out'))
    count = len(list((tmp_path / 'out').glob('*.tar')))
    assert 4 < count < 20 and lines[0].startswith(f'{count} shards (0 were there), 60 images')
    assert shards.classes == ['cat', 'dog'] and len(shards) == 60
    order = [int(shards.describe(i)[-13:-4]) for i in range(60)]
    assert sorted(order) == list(range(60)) != order
    assert all(
        shards.read_bytes(i) == source.read_bytes(k) and shards.labels[i] == source.labels[k]
        for i, k in enumerate(order)
    )
    ends = [*shards.blocks[1:].tolist(), 60]
    for first, end in zip(shards.blocks.tolist(), ends, strict=True):
        assert sum(len(source.read_bytes(k)) + 1 for k in order[first:end]) <= 12_000
    checked = subprocess.run(
        ['sha256sum', '--check', 'SHA256SUMS'], cwd=tmp_path / 'out', capture_output=True, text=True
    )
    assert checked.returncode == 0 and checked.stdout.count('OK') == count
    with tarfile.open(tmp_path / 'out/shard-000000.tar') as tar:  # as any other program reads them
        first = tar.getmembers()[0]
        assert (first.mtime, first.uid, first.uname) == (0, 0, '')
    in_order = make(photos, tmp_path / 'ordered', in_order=True, shard_bytes='1GB')
    assert (
        in_order[0].startswith('1 shards')
        and WebDataset(str(tmp_path / 'ordered')).labels.tolist() == source.labels.tolist()
    )


def test_the_same_bytes_every_time(photos, tmp_path):
    make(photos, tmp_path / 'one')
    one = content(tmp_path / 'one')
    make(photos, tmp_path / 'two', workers=2)
    assert content(tmp_path / 'two') == one
    make(photos, tmp_path / 'three', seed=1)
    assert content(tmp_path / 'three')['shard-000000.tar'] != one['shard-000000.tar']
    # again: nothing is done; a damaged or a missing shard, and all after it, are made anew
    stamp = (tmp_path / 'one/shard-000003.tar').stat().st_mtime_ns
    assert f'({len(one) - 3} were there)' in make(photos, tmp_path / 'one')[0]
    (tmp_path / 'one/shard-000002.tar').write_bytes(b'x')
    assert '(2 were there)' in make(photos, tmp_path / 'one')[0] and content(tmp_path / 'one') == one
    assert (tmp_path / 'one/shard-000003.tar').stat().st_mtime_ns > stamp


def test_a_kill_in_the_middle(photos, tmp_path):
    command = [
        sys.executable,
        'tools/make_shards.py',
        photos,
        tmp_path / 'out',
        '--shard-bytes',
        '12kB',
        '--workers',
        '0',
    ]
    slow = 'import time; from selfsup.datasets.data_sources.shards import writing as w; f = w._Part.finish; '
    slow += 'w._Part.finish = lambda *a: (f(*a), time.sleep(0.3))[0]; import sys; sys.argv = sys.argv[1:]; '
    slow += 'import runpy; runpy.run_path(sys.argv[0], run_name="__main__")'
    running = subprocess.Popen([sys.executable, '-c', slow, *command[1:]], cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / 'out/shard-000001.tar').exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    done = len(list((tmp_path / 'out').glob('shard-*.tar')))
    (tmp_path / 'out/.shard-000002.tar.part').write_bytes(b'half a shard')
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0 and 2 <= done < 6, finished.stderr
    make(photos, tmp_path / 'straight')
    assert content(tmp_path / 'out') == content(tmp_path / 'straight')
    assert not list((tmp_path / 'out').glob('.*.part'))


def test_broken_images_are_named_and_left_out(photos, tmp_path, caplog):
    for i in range(60):
        save_image(tmp_path / 'in' / f'{i:02d}.jpg', seed=i)
    for i in (7, 30):
        truncate(tmp_path / 'in' / f'{i:02d}.jpg')
    with pytest.raises(
        DataError, match=r'of 60 images cannot be read, more than 1%. The limit is --max-unreadable 0.01'
    ):
        make(tmp_path / 'in', tmp_path / 'out')
    lines = make(tmp_path / 'in', tmp_path / 'out', max_unreadable=0.05)
    assert '2 broken images are left out' in lines[1] and len(WebDataset(str(tmp_path / 'out'))) == 58
    record = json.loads((tmp_path / 'out/shards.json').read_text())
    assert sorted(name.partition(' (')[0][-6:] for _, name in record['broken']) == ['07.jpg', '30.jpg']
    assert 'skipped unreadable image' in caplog.text


def test_other_settings_and_foreign_folders_are_refused(photos, tmp_path):
    make(photos, tmp_path / 'out')
    for options, changed in (
        ({'seed': 3}, 'seed'),
        ({'shard_bytes': '1MB'}, 'shard_bytes'),
        ({'in_order': True}, 'in_order, seed'),
    ):
        with pytest.raises(DataError, match=rf'made with other settings \({changed}\)'):
            make(photos, tmp_path / 'out', **options)
    with pytest.raises(DataError, match=r'other settings \(images, source\)'):
        make(photos / 'cat', tmp_path / 'out')
    (tmp_path / 'foreign').mkdir()
    (tmp_path / 'foreign/a.tar').touch()
    with pytest.raises(DataError, match=r'holds a\.tar and no shards\.json'):
        make(photos, tmp_path / 'foreign')
    with pytest.raises(UsageError, match="--shard-bytes: 'big' is no number of bytes"):
        make(photos, tmp_path / 'x', shard_bytes='big')
    with pytest.raises(UsageError, match=r'--max-unreadable in \[0, 1\)'):
        make(photos, tmp_path / 'x', max_unreadable=1.0)


def test_what_a_source_has_as_pixels(tmp_path):
    make('digits:?size=16', tmp_path / 'out', shard_bytes='1GB')
    digits, shards = Digits(size=16), WebDataset(str(tmp_path / 'out'))
    assert shards.classes == digits.classes and len(shards) == len(digits)
    for i in (0, 100):
        index = int(shards.describe(i)[-13:-4])
        assert (np.asarray(shards.read_image(i)) == np.asarray(digits.read_image(index))).all()


def test_rasters_of_many_channels_become_tiff(tmp_path):
    import io

    import tifffile

    class Rasters(DataSource):
        def __len__(self):
            return 3

        def describe(self, index):
            return f'raster {index}'

        def read_image(self, index):
            return np.random.RandomState(index).randint(0, 60000, (13, 8, 9)).astype(np.uint16)

    DATA_SOURCES.register_module(module=Rasters, force=True)
    ending, data = writing.encoded(Rasters(), 1)
    assert ending == 'tif' and (tifffile.imread(io.BytesIO(data)) == Rasters().read_image(1)).all()
    assert writing.encoded(Rasters(), 1)[1] == data
