"""Arrays of NumPy: layouts, kinds of values, files that are compressed, labels beside them."""

import logging

import numpy as np
import pytest
from PIL import Image

from selfsup.datasets.data_sources import NumpyArray
from selfsup.errors import DataError

RNG = np.random.RandomState(0)
RGB = RNG.randint(0, 256, (5, 20, 24, 3), dtype=np.uint8)


def save(path, array, **others):
    np.save(path, array) if path.suffix == '.npy' else np.savez(path, array, **others)
    return path


@pytest.mark.parametrize('layout', ['NHWC', 'NCHW'])
@pytest.mark.parametrize('name', ['x.npy', 'x.npz'])
def test_rgb_in_both_layouts(tmp_path, layout, name):
    stored = RGB if layout == 'NHWC' else np.asfortranarray(RGB.transpose(0, 3, 1, 2))
    source = NumpyArray(save(tmp_path / name, stored))
    assert source.layout == layout and isinstance(source._array, np.memmap)
    assert isinstance(source.get_sample(2), Image.Image)
    np.testing.assert_array_equal(np.asarray(source.get_sample(2)), RGB[2])
    source.use_backend('fast')
    np.testing.assert_array_equal(source.get_sample(2), RGB[2])
    source.get_sample(2)[:] = 0  # a step may write into it
    np.testing.assert_array_equal(source.get_sample(2), RGB[2])


def test_grey_becomes_rgb_or_stays_one_channel(tmp_path):
    path = save(tmp_path / 'x.npy', RGB[..., 0])
    np.testing.assert_array_equal(np.asarray(NumpyArray(path).get_sample(1)), RGB[1][..., :1].repeat(3, -1))
    np.testing.assert_array_equal(NumpyArray(path, channels=1).get_sample(1), RGB[1, None, ..., 0])


def test_sixteen_bits_keep_the_upper_ones_as_rgb_and_all_with_a_range(tmp_path):
    deep = RNG.randint(0, 65536, (4, 20, 20), dtype=np.uint16)
    path = save(tmp_path / 'x.npy', deep)
    assert np.asarray(NumpyArray(path).get_sample(0))[..., 0].tolist() == (deep[0] >> 8).tolist()
    image = NumpyArray(path, channels=1, value_range=(0, 4095)).get_sample(0)
    assert image.dtype == np.uint16 and image.shape == (1, 20, 20)
    np.testing.assert_array_equal(image[0], deep[0])


@pytest.mark.parametrize('kind', [np.float16, np.float64, np.int32])
def test_values_without_a_range_are_refused_and_with_one_become_floats(tmp_path, kind):
    many = RNG.randint(0, 100, (4, 13, 20, 20)).astype(kind)
    path = save(tmp_path / 'x.npy', many)
    with pytest.raises(DataError, match=r'of which nobody knows the range: set value_range'):
        NumpyArray(path, channels=13)
    image = NumpyArray(path, channels=13, value_range=(0, 100)).get_sample(3)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, many[3].astype(np.float32))


def test_a_compressed_file_is_unpacked_once_and_said(tmp_path, caplog):
    np.savez_compressed(tmp_path / 'x.npz', x_train=RGB, y_train=np.arange(5)[:, None], x_test=RGB)
    with caplog.at_level(logging.INFO, 'selfsup'):
        source = NumpyArray(tmp_path / 'x.npz')
    assert source.labels.tolist() == [0, 1, 2, 3, 4] and source.key == 'x_train'
    assert len([r for r in caplog.records if 'its x_train is unpacked into memory' in r.getMessage()]) == 1
    np.testing.assert_array_equal(np.asarray(source.get_sample(4)[0]), RGB[4])


def test_labels_of_a_file_of_their_own(tmp_path):
    path = save(tmp_path / 'x.npy', RGB)
    source = NumpyArray(path, labels=save(tmp_path / 'y.npy', np.array(['b', 'a', 'b', 'c', 'a'])))
    assert source.classes == ['a', 'b', 'c'] and source.labels.tolist() == [1, 0, 1, 2, 0]
    with pytest.raises(DataError, match=r'has the shape \(4,\), but there are 5 images'):
        NumpyArray(path, labels=save(tmp_path / 'z.npy', np.arange(4)))
    assert 'give a second file as labels=' in NumpyArray(path).no_labels


@pytest.mark.parametrize(
    ('array', 'arguments', 'message'),
    [
        (np.zeros((5, 20), np.uint8), {}, r'shape \(5, 20\); images are'),
        (np.zeros((5, 3, 20, 3), np.uint8), {}, 'which axis holds the channels cannot be told. Set layout='),
        (np.zeros((5, 40, 20, 30), np.uint8), {}, 'cannot be told. Set layout='),
        (np.zeros((5, 20, 20), np.uint8), dict(layout='NHWC'), "is not layout='NHWC': NHW"),
        (np.zeros((5, 20, 20, 4), np.uint8), {}, 'has 4 channels: set channels=4'),
        (np.zeros((5, 20, 20, 3), np.complex64), {}, 'images are whole numbers or floats'),
        (np.zeros((0, 20, 20, 3), np.uint8), {}, 'holds no images'),
        (np.zeros((5, 20, 20, 3), np.uint8), dict(key='x'), 'is one array, without keys'),
    ],
)
def test_arrays_that_are_no_images(tmp_path, array, arguments, message):
    with pytest.raises(DataError, match=message):
        NumpyArray(save(tmp_path / 'x.npy', array), **arguments)


def test_files_that_are_none(tmp_path):
    with pytest.raises(DataError, match=r'does not exist. Give a .npy or .npz file'):
        NumpyArray(tmp_path / 'x.npy')
    (tmp_path / 'x.npy').write_bytes(b'no array')
    with pytest.raises(DataError, match=r'cannot be read as an array'):
        NumpyArray(tmp_path / 'x.npy')
    np.save(tmp_path / 'o.npy', np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError, match=r'cannot be read as an array: .*Python objects'):
        NumpyArray(tmp_path / 'o.npy')
    np.savez(tmp_path / 'k.npz', one=RGB, two=RGB)
    with pytest.raises(DataError, match=r'which array holds the images cannot be told; .* It has one \(5, 20, 24, 3\)'):
        NumpyArray(tmp_path / 'k.npz')
    with pytest.raises(DataError, match=r"has no key='on'; .* Did you mean 'one'"):
        NumpyArray(tmp_path / 'k.npz', key='on')
