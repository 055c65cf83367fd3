"""Tar shards: what is found in them, how it is read, and what becomes of damage."""

import os
import pickle
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from selfsup.datasets import ContrastiveDataset
from selfsup.datasets.data_sources import WebDataset
from selfsup.datasets.data_sources.shards import index as shard_index
from selfsup.datasets.data_sources.shards.patterns import braces, shards_of
from selfsup.datasets.data_sources.shards.places import look_at
from selfsup.datasets.data_sources.shards.store import ShardStore
from selfsup.datasets.digest import data_digest
from selfsup.datasets.loaders import build_loader
from selfsup.errors import ConfigError, DataError, SelfSupWarning

from .conftest import TENSOR
from .tar_shards import cut, encoded, json_label, samples, write_shards, write_tar


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def pixels(source, index):
    return np.asarray(source.read_image(index))


def noise(seed):
    return np.random.RandomState(seed).randint(0, 256, (16, 20, 3), dtype=np.uint8)


# ---- which shards ----


def test_braces_are_those_of_a_shell():
    assert list(braces('a{08..11}.tar')) == ['a08.tar', 'a09.tar', 'a10.tar', 'a11.tar']
    assert list(braces('{9..11}')) == ['9', '10', '11'] and list(braces('{2..0}')) == ['2', '1', '0']
    assert list(braces('{a,b{1,2}}-{x,y}')) == ['a-x', 'a-y', 'b1-x', 'b1-y', 'b2-x', 'b2-y']
    assert list(braces('{a}/{}/{x..y}')) == ['{a}/{}/{x..y}'] and list(braces('{a{1,2}}')) == ['{a1}', '{a2}']
    assert list(braces('a{1,2')) == ['a{1,2']


def test_patterns_folders_and_what_is_not_there(tmp_path):
    paths = [str(path) for path in write_shards(tmp_path / 's', 3, 2)]
    for pattern in ('s/train-{000..002}.tar', 's/*.tar', 's'):
        assert shards_of([str(tmp_path / pattern)]) == paths
    assert shards_of([paths[2], str(tmp_path / 's/*-00[01].tar')]) == [paths[2], *paths[:2]]
    with pytest.raises(DataError, match=r"'.*x-\*\.tar' names no shard"):
        shards_of([str(tmp_path / 'x-*.tar')])
    with pytest.raises(DataError, match=r'train-000\.tar is named twice'):
        shards_of([paths[0], str(tmp_path / 's')])
    with pytest.raises(DataError, match=r'train-003\.tar cannot be read: No such file'):
        WebDataset(str(tmp_path / 's/train-{000..003}.tar'))
    with pytest.raises(DataError, match=r'nowhere://x/a\.tar cannot be read: Protocol not known'):
        WebDataset('nowhere://x/a.tar')


# ---- what is in them ----


@pytest.mark.parametrize('ending', ['.tar', '.tar.gz', '.tgz'])
def test_samples_and_labels(tmp_path, ending):
    paths = write_shards(tmp_path / 's', 3, 7, ending)
    source = WebDataset(str(tmp_path / 's' / f'train-{{000..002}}{ending}'))
    assert len(source) == 21 and source.blocks.tolist() == [0, 7, 14]
    assert (source.locality is None) == (ending == '.tar')
    assert all((pixels(source, i) == noise(i)).all() for i in (20, 0, 13, 7))
    assert source.labels.tolist() == [i % 5 for i in range(21)] and source.classes is None and source.num_classes == 5
    assert source.describe(8) == f'{paths[1]}: 000008.png' and source.size_of(8) == len(encoded(8))
    assert source.get_sample(8)[1] == 3
    assert WebDataset(str(tmp_path / 's'), return_label=False).get_sample(8).size == (20, 16)


@pytest.mark.parametrize(
    ('make', 'label', 'labels', 'classes'),
    [
        (json_label, 'json:of.class', [0, 1, 0, 1], ['cat', 'dog']),
        (json_label, 'json:number', [0, 1, 2, 3], None),
        (lambda i: ('txt', f' {"ba"[i % 2]} kind\n'), 'txt', [1, 0, 1, 0], ['a kind', 'b kind']),
        (lambda i: ('cls', 'ba'[i % 2]), None, [1, 0, 1, 0], ['a', 'b']),
        (lambda i: ('cls', str(i)), 'none', None, None),
        (lambda i: ('txt', 'a caption'), None, None, None),
    ],
)
def test_where_labels_stand(tmp_path, make, label, labels, classes):
    write_shards(tmp_path, 2, 2, label=make)
    source = WebDataset(str(tmp_path), label=label)
    assert (None if source.labels is None else source.labels.tolist()) == labels and source.classes == classes
    assert (source.labels is None) == bool(source.no_labels)


def test_labels_that_are_not_there(tmp_path):
    write_tar(tmp_path / 'a.tar', samples(0, 4, label=lambda i: ('cls' if i != 2 else '', '1')))
    assert 'the first 000002.png' in WebDataset(str(tmp_path)).no_labels
    with pytest.raises(DataError, match=r"label='cls': 1 of 4 samples have no label, the first 000002.png"):
        WebDataset(str(tmp_path), label='cls')
    with pytest.raises(DataError, match=r"label='json:x': no sample has such a member"):
        WebDataset(str(tmp_path), label='json:x')


def test_names_of_classes_stand_beside_the_shards(tmp_path):
    write_shards(tmp_path, 1, 6)
    (tmp_path / 'classes.json').write_text('["a", "b", "c", "d", "e"]')
    assert WebDataset(str(tmp_path)).classes == list('abcde')
    (tmp_path / 'classes.json').write_text('["a", "b"]')
    with pytest.raises(DataError, match=r'000004\.png has the label 4, but classes.json names 2 classes'):
        WebDataset(str(tmp_path))
    (tmp_path / 'classes.json').write_text('{"a": 1}')
    with pytest.raises(DataError, match='is no list of the names of classes'):
        WebDataset(str(tmp_path))


def test_which_member_is_the_image(tmp_path):
    long = 'a/' + 'x' * 200 + '/0.JPG'  # a name that takes a header of its own
    members = [('a/0.png', encoded(0)), ('a/0.seg.png', encoded(1)), ('b/0.txt', b'no image'), ('._c.png', b'-')]
    write_tar(tmp_path / 'a.tar', [*members, (long, encoded(2)), ('a/0.png', encoded(3))])
    with pytest.warns(SelfSupWarning) as said:
        source = WebDataset(str(tmp_path / 'a.tar'))
    text = ' '.join(str(one.message) for one in said)
    assert '1 samples have no image' in text and 'b/0' in text and '1 members come twice' in text
    assert len(source) == 2 and (pixels(source, 0) == noise(3)).all() and source.describe(1).endswith(long)
    with pytest.warns(SelfSupWarning):
        assert (pixels(WebDataset(str(tmp_path / 'a.tar'), image='seg.png'), 0) == noise(1)).all()
    write_tar(tmp_path / 'b.tar', [('0.left.png', encoded(0)), ('0.right.png', encoded(1))])
    with pytest.raises(DataError, match=r"several images, ending in left.png, right.png. .* image='left.png'"):
        WebDataset(str(tmp_path / 'b.tar'))
    write_tar(tmp_path / 'c.tar', [('0.txt', b'')])
    with pytest.raises(DataError, match=r'The 1 shards hold no image ending in .*Samples without one: .*c\.tar: 0'):
        WebDataset(str(tmp_path / 'c.tar'))


# ---- the index ----


def test_the_index_is_made_once_and_again_for_what_changed(tmp_path, monkeypatch):
    paths = write_shards(tmp_path / 's', 3, 4)
    looked = []
    real = shard_index.find_samples
    monkeypatch.setattr(
        shard_index, 'find_samples', lambda file, **asked: looked.append(file.name) or real(file, **asked)
    )
    WebDataset(str(tmp_path / 's'))
    (kept,) = (tmp_path / 's').glob('.selfsup-*.index')
    WebDataset(str(tmp_path / 's'))
    assert sorted(looked) == [str(path) for path in paths]
    write_tar(paths[1], samples(100, 5))
    source = WebDataset(str(tmp_path / 's'))
    assert looked[3:] == [str(paths[1])] and len(source) == 13 and (pixels(source, 4) == noise(100)).all()
    WebDataset(str(tmp_path / 's'), label='none')  # other members are wanted: a file of its own
    assert len(list((tmp_path / 's').glob('.selfsup-*.index'))) == 2 and len(looked) == 7
    for damage in (b'', b'PK\x03\x04', kept.read_bytes()[:300]):  # half a file is none
        kept.write_bytes(damage)
        assert len(WebDataset(str(tmp_path / 's'))) == 13
    assert len(looked) == 16


def test_where_nothing_can_be_written(tmp_path, monkeypatch):
    write_shards(tmp_path / 's', 1, 4)
    monkeypatch.setattr(shard_index, 'write_obstacle', lambda folder: folder if folder == tmp_path / 's' else None)
    WebDataset(str(tmp_path / 's'))
    assert not list((tmp_path / 's').glob('.selfsup-*')) and list((tmp_path / 'cache/selfsup/index').iterdir())


def test_the_digest_tells_shards_apart(tmp_path):
    write_shards(tmp_path / 's', 2, 4)
    one = data_digest(WebDataset(str(tmp_path / 's')))
    moved = shutil.copytree(tmp_path / 's', tmp_path / 'moved')
    assert data_digest(WebDataset(str(moved))) == one and one['sizes'] is not None
    write_tar(moved / 'train-001.tar', [(name, data + b' ' * name.endswith('png')) for name, data in samples(4, 4)])
    other = data_digest(WebDataset(str(moved)))
    assert other['sizes'] != one['sizes'] and other['names'] == one['names']
    (moved / 'train-001.tar').rename(moved / 'train-002.tar')
    assert data_digest(WebDataset(str(moved)))['names'] != one['names']


# ---- reading ----


def test_few_files_are_open_and_reading_is_safe(tmp_path):
    write_shards(tmp_path, 12, 3)
    source = WebDataset(str(tmp_path))
    before = len(os.listdir('/proc/self/fd'))
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda i: (pixels(source, i) == noise(i)).all(), list(range(36)) * 3))
    assert all(found) and len(os.listdir('/proc/self/fd')) - before <= 8
    again = pickle.loads(pickle.dumps(source))
    assert (pixels(again, 5) == noise(5)).all()


def test_a_shard_that_changes_under_a_run(tmp_path):
    (path,) = write_shards(tmp_path, 1, 3)
    source = WebDataset(str(path))
    write_tar(path, samples(0, 5))
    with pytest.raises(DataError, match='has changed since its members were looked up'):
        source.read_bytes(0)


def remote(tmp_path, **settings):
    """Shards in fsspec's memory."""
    import fsspec

    memory = fsspec.filesystem('memory')
    folder = f'/{tmp_path.name}'
    for path in write_shards(tmp_path / 's', **settings):
        memory.pipe_file(f'{folder}/{path.name}', path.read_bytes())
    return memory, folder


@pytest.mark.parametrize('ending', ['.tar', '.tar.gz'])
def test_shards_elsewhere_are_fetched_as_a_whole(tmp_path, ending):
    memory, folder = remote(tmp_path, shards=4, each=3, ending=ending)
    memory.pipe_file(f'{folder}/classes.json', b'["a", "b", "c", "d", "e"]')
    source = WebDataset(f'memory:/{folder}/train-{{000..003}}{ending}', cache_dir=tmp_path / 'store')
    assert source.locality.tolist() == [0, 3, 6, 9] and source.classes == list('abcde')
    assert all((pixels(source, i) == noise(i)).all() for i in range(12))
    assert source.describe(4) == f'memory:/{folder}/train-001{ending}: 000004.png'
    assert len(list((tmp_path / 'store').glob('*.tar'))) == 4
    named = WebDataset(f'memory:/{folder}/*{ending}', cache_dir=tmp_path / 'store')
    assert data_digest(named) == data_digest(source)
    url = f'file://{tmp_path}/s/train-000{ending}'
    assert (pixels(WebDataset(url, cache_dir=tmp_path / 'store'), 2) == noise(2)).all()
    memory.pipe_file(f'{folder}/train-001{ending}', (tmp_path / f's/train-002{ending}').read_bytes())
    again = WebDataset(f'memory:/{folder}/train-{{000..003}}{ending}', cache_dir=tmp_path / 'store')
    assert (pixels(again, 3) == noise(6)).all()  # what changed is fetched again


def test_the_folder_of_fetched_shards_is_bounded(tmp_path):
    paths = write_shards(tmp_path / 's', 4, 3, '.tar.gz')
    shards = [look_at(str(path), {}) for path in paths]
    with ShardStore(tmp_path / 'one', 10**9, {}).open(shards[0]) as file:
        size = len(file.read())
    store = ShardStore(tmp_path / 'store', int(2.5 * size), {})
    files = [store.open(shard) for shard in (shards[0], shards[1], shards[0], shards[2])]  # 1 was used least lately
    kept = {path.name for path in (tmp_path / 'store').glob('*.tar')}
    assert kept == {store._path(shards[i]).name for i in (0, 2)}
    assert len(files[1].read()) == size  # who reads on has it still
    for file in files:
        file.close()
    assert not list((tmp_path / 'store').glob('*.tmp'))


def test_many_processes_fetch_a_shard_once(tmp_path, monkeypatch):
    (path,) = write_shards(tmp_path / 's', 1, 3, '.tar.gz')
    shard, fetched = look_at(str(path), {}), []
    real = ShardStore._fetch
    monkeypatch.setattr(ShardStore, '_fetch', lambda *args: fetched.append(1) or real(*args))
    gate = threading.Barrier(6)

    def fetch(_):
        gate.wait()
        with ShardStore(tmp_path / 'store', 10**9, {}).open(shard) as file:
            return len(file.read())

    with ThreadPoolExecutor(6) as threads:
        assert len(set(threads.map(fetch, range(6)))) == 1 and len(fetched) == 1


def test_a_place_that_does_not_answer(tmp_path, monkeypatch):
    memory, folder = remote(tmp_path, shards=2, each=2)
    source = WebDataset(f'memory:/{folder}/*.tar', cache_dir=tmp_path / 'store')
    shutil.rmtree(tmp_path / 'store')
    monkeypatch.setattr('selfsup.datasets.data_sources.shards.store.PAUSE', 0.0)
    calls = []
    real = type(memory).open
    monkeypatch.setattr(
        type(memory), 'open', lambda *a, **k: calls.append(1) or (_ for _ in ()).throw(TimeoutError('no answer'))
    )
    with pytest.raises(DataError, match='could not be fetched, at the 3rd try: TimeoutError: no answer'):
        source.read_bytes(0)
    assert len(calls) == 3 and not list((tmp_path / 'store').glob('*.t[am]*'))
    monkeypatch.setattr(type(memory), 'open', real)
    assert (pixels(source, 0) == noise(0)).all()


def test_room_that_is_no_size(tmp_path):
    write_shards(tmp_path, 1, 2)
    with pytest.raises(ConfigError, match="cache_bytes='much' is no number of bytes"):
        WebDataset(str(tmp_path), cache_bytes='much')


# ---- damage ----


def damage_header(path, name):
    content = bytearray(path.read_bytes())
    at = content.index(name.encode())
    content[at : at + 512] = b'\xff' * 512
    path.write_bytes(content)


@pytest.mark.parametrize('ending', ['.tar', '.tar.gz'])
def test_a_shard_that_is_cut_off_gives_its_good_part(tmp_path, ending):
    paths = write_shards(tmp_path / 's', 3, 20, ending)
    cut(paths[1])
    with pytest.warns(SelfSupWarning, match=rf'train-001{ending} is damaged: .*lost and count as unreadable'):
        source = WebDataset(str(tmp_path / 's'))
    known = len(source) - 40
    assert 5 < known < 15 and source.lost == 20 - known
    assert all(
        (pixels(source, i) == noise(i)).all() for i in (0, 19, 20, 19 + known - 1, 20 + known, len(source) - 1)[:4]
    )


def test_a_member_that_is_cut_off_is_unreadable(tmp_path):
    (path, _) = write_shards(tmp_path, 2, 5, label=lambda i: ('', ''))
    cut(path, 0.0)
    write_tar(path, samples(0, 5, label=lambda i: ('', '')))
    source = WebDataset(str(path))
    offset = int(source._offsets[3]) + 10
    path.write_bytes(path.read_bytes()[:offset])
    with pytest.warns(SelfSupWarning, match=r'it ends at byte [\d,]+, inside of 000003.png'):
        source = WebDataset(str(tmp_path))
    assert len(source) == 9 and source.lost == 1
    with pytest.raises(OSError, match=r'10 of .* bytes: the shard is cut off'):
        source.read_bytes(3)


def test_what_follows_a_damaged_header_is_found(tmp_path):
    (path, _) = write_shards(tmp_path, 2, 6, label=lambda i: ('', ''))
    damage_header(path, '000002.png')
    with pytest.warns(SelfSupWarning, match=r'after 000001.png'):
        source = WebDataset(str(tmp_path))
    assert len(source) == 11 and source.lost == 1
    assert [source.describe(i)[-10:] for i in range(5)] == [f'00000{i}.png' for i in (0, 1, 3, 4, 5)]
    assert (pixels(source, 2) == noise(3)).all()


def test_what_is_no_tar(tmp_path):
    write_shards(tmp_path, 2, 6)
    (tmp_path / 'x.tar').write_bytes(b'no tar' * 1000)
    (tmp_path / 'y.tar').write_bytes(b'')
    with pytest.warns(SelfSupWarning) as said:
        source = WebDataset(str(tmp_path))
    texts = [str(one.message) for one in said]
    assert len(source) == 12 and source.lost == 12 and sum('x.tar is damaged' in text for text in texts) == 1
    with pytest.raises(DataError, match=r'hold no image .*Damaged: .*x\.tar: '):
        WebDataset([str(tmp_path / 'x.tar'), str(tmp_path / 'y.tar')])


def test_training_reads_shards_and_skips_what_is_broken(tmp_path):
    """Batches are the same for any number of workers, and each process has few shards open."""
    write_shards(tmp_path / 's', 20, 6, '.tar.gz')
    cpu = torch.device('cpu')

    def batches(workers, **position):
        dataset = ContrastiveDataset(
            f'wds:{tmp_path}/s?cache_dir={tmp_path}/store', [dict(type='RandomResizedCrop', size=8), *TENSOR]
        )
        loader = build_loader(
            dict(batch_size=16, num_workers=workers, dataset=dataset, sampler=dict(type='WindowSampler', window=4)),
            seed=0,
            device=cpu,
        )
        loader.set_position(1, **position)
        found = [batch['img'] for batch in loader]
        loader.close()
        return found

    straight = batches(0)
    for workers in (1, 3):
        assert all(map(torch.equal, batches(workers), straight))
    assert all(map(torch.equal, batches(1, skip_batches=3), straight[3:]))


def test_a_window_that_does_not_fit_is_said(tmp_path, caplog):
    write_shards(tmp_path / 's', 6, 4, '.tar.gz')
    for room, count in (('6kB', 1), ('1MB', 0)):
        source = WebDataset(str(tmp_path / 's'), cache_bytes=room, cache_dir=tmp_path / room)
        caplog.clear()
        build_loader(dict(batch_size=4, dataset=ContrastiveDataset(source, TENSOR)), seed=0, device=torch.device('cpu'))
        said = [record for record in caplog.records if 'of the 16 blocks' in record.getMessage()]
        assert len(said) == count
