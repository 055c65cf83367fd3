"""LMDB: the layouts in use, and what is no image."""

import builtins
import io
import logging
import pickle

import numpy as np
import pytest
from PIL import Image

from selfsup.datasets import ContrastiveDataset
from selfsup.datasets.data_sources import LMDB
from selfsup.errors import DataError
from tests.datasets.conftest import TENSOR

from .written import images, labels, pixels

lmdb = pytest.importorskip('lmdb')


@pytest.fixture
def store(tmp_path):
    def write(entries):
        with lmdb.open(str(tmp_path / 'db'), map_size=1 << 24) as store, store.begin(write=True) as transaction:
            for key, value in entries.items():
                transaction.put(key.encode(), value)
        return tmp_path / 'db'

    return write


def image_of(source, index):
    sample = source.get_sample(index)
    return np.asarray(sample[0] if isinstance(sample, tuple) else sample)


def test_numbered_keys_with_labels_beside_them(store):
    entries = {f'image-{i + 1:09d}': data for i, data in enumerate(images(12))}
    entries.update({f'label-{i + 1:09d}': f'word {label}'.encode() for i, label in enumerate(labels(12))})
    source = LMDB(store({**entries, 'num-samples': b'12'}))
    assert len(source) == 12 and source.classes == ['word 0', 'word 1', 'word 2']
    assert source.labels.tolist() == labels(12) and source.describe(3).endswith('db: image-000000004')
    np.testing.assert_array_equal(image_of(source, 3), pixels(images(12)[3]))


def test_folders_in_keys_are_classes(store):
    source = LMDB(store({f'{"ab"[i % 2]}/{i}': data for i, data in enumerate(images(6))}))
    assert source.classes == ['a', 'b'] and source.labels.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(image_of(source, 1), pixels(images(6)[2]))


def test_keys_and_labels_of_a_list(store, tmp_path):
    path = store({f'k{i}': data for i, data in enumerate(images(6))})
    (tmp_path / 'list.txt').write_text('k4 1\nk2 0\n')
    source = LMDB(path, list_file=tmp_path / 'list.txt')
    assert len(source) == 2 and source.labels.tolist() == [1, 0]
    np.testing.assert_array_equal(image_of(source, 0), pixels(images(6)[4]))
    (tmp_path / 'list.txt').write_text('k4 1\nk9 0\n')
    with pytest.raises(DataError, match=r"1 of its 2 keys are not in .*, such as 'k9'. Its first key is 'k0'"):
        LMDB(path, list_file=tmp_path / 'list.txt')


@pytest.mark.parametrize('protocol', [4, 5])
def test_pickled_pairs_of_plain_kinds(store, protocol):
    entries = {str(i): pickle.dumps((data, i % 3), protocol) for i, data in enumerate(images(6))}
    entries.update({'__len__': pickle.dumps(6), '__keys__': pickle.dumps([str(i).encode() for i in range(6)])})
    source = LMDB(store(entries))
    assert len(source) == 6 and source.labels is None and 'labels_inside=True' in source.no_labels
    np.testing.assert_array_equal(image_of(source, 5), pixels(images(6)[5]))
    assert LMDB(source.path, labels_inside=True).labels.tolist() == labels(6)


class Evil:
    def __reduce__(self):
        return builtins.exec, ("raise SystemExit('it was run')",)


def test_a_pickle_that_would_run_something_is_not_read(store):
    with pytest.raises(DataError, match=r'is no encoded image'):
        LMDB(store({'a': pickle.dumps(Evil())}))


def varint(number):
    out = b''
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def datum(data, shape=(0, 0, 0), label=0, encoded=False):
    fields = [(1, shape[0]), (2, shape[1]), (3, shape[2]), (5, label), (7, int(encoded))]
    return b'\x22' + varint(len(data)) + data + b''.join(bytes([n << 3]) + varint(value) for n, value in fields)


def test_the_datum_of_caffe_encoded_and_raw(store):
    raw = pixels(images(2)[1])
    planes = raw[..., ::-1].transpose(2, 0, 1)  # blue, green, red
    entries = {'0': datum(images(2)[0], label=3, encoded=True), '1': datum(planes.tobytes(), planes.shape, label=300)}
    source = LMDB(store(entries), labels_inside=True)
    assert source.labels.tolist() == [3, 300]
    np.testing.assert_array_equal(image_of(source, 0), pixels(images(2)[0]))
    np.testing.assert_array_equal(image_of(source, 1), raw)


def test_two_sources_read_one_store(store):
    path = store({str(i): data for i, data in enumerate(images(4))})
    one, other = LMDB(path), LMDB(path)
    np.testing.assert_array_equal(image_of(one, 0), image_of(other, 0))


def test_broken_values_are_named_and_skipped(store, caplog):
    entries = {f'{i:03d}': data for i, data in enumerate(images(200))}
    entries['003'], entries['005'] = b'', entries['005'][:50]
    pipeline = [dict(type='RandomResizedCrop', size=8), *TENSOR]
    dataset = ContrastiveDataset(LMDB(store(entries)), pipeline)
    with caplog.at_level(logging.WARNING, 'selfsup'):
        assert dataset[3]['img'].shape == dataset[5]['img'].shape
    assert dataset.reader.bad_indices().tolist() == [3, 5] and 'db: 003' in caplog.text


def test_what_is_no_store_of_images(store, tmp_path):
    with pytest.raises(DataError, match=r'does not exist'):
        LMDB(tmp_path / 'nowhere')
    with pytest.raises(DataError, match=r'has no data.mdb'):
        LMDB(tmp_path)
    (tmp_path / 'file.mdb').write_bytes(b'x' * 10_000)
    with pytest.raises(DataError, match=r'cannot be opened as an LMDB'):
        LMDB(tmp_path / 'file.mdb')
    path = store({'a': b'text', 'image-1': images(1)[0]})
    with pytest.raises(DataError, match=r"holds no key 'frame-{}'"):
        LMDB(path, image_key='frame-{}')
    with pytest.raises(DataError, match=r'is no pattern of keys'):
        LMDB(path, image_key='image-{x}')
    assert len(LMDB(path, image_key='image-{}')) == 1


def test_webp_and_jpeg_are_known_as_images(store):
    entries = {}
    for kind in ('webp', 'jpeg', 'bmp', 'gif', 'tiff', 'ppm'):
        file = io.BytesIO()
        Image.new('RGB', (8, 8), 'red').save(file, kind)
        entries[kind] = file.getvalue()
    source = LMDB(store(entries))
    assert source.packed == 'no' and all(image_of(source, i).shape == (8, 8, 3) for i in range(6))
