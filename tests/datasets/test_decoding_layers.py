"""Images with any number of channels and bits: TIFF, PNG, JPEG, NumPy; their values, their ranges, what is refused."""

import importlib.util
import io
import warnings

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from selfsup.datasets.base import ImageDataset
from selfsup.datasets.data_sources import ImageFolder, ImageList
from selfsup.datasets.decoding import Decoder, load_rgb
from selfsup.datasets.robust import UNREADABLE
from selfsup.errors import ConfigError, DataError, SelfSupWarning


def values(channels, dtype=np.uint16, top=60000):
    return np.random.default_rng(0).integers(0, top, (channels, 64, 80)).astype(dtype)


def tiff(array, **kwargs):
    file = io.BytesIO()
    tifffile.imwrite(file, array, **kwargs)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def saved(image, kind, **kwargs):
    file = io.BytesIO()
    image.save(file, kind, **kwargs)
    return file.getvalue()


def pages(array):
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for page in array:
            writer.write(page, contiguous=False, metadata=None)
        writer.write(array[0, ::4, ::4], metadata=None)  # a preview
    return file.getvalue()


LAYOUTS = {
    'interleaved': lambda x: tiff(np.moveaxis(x, 0, -1), photometric='minisblack', planarconfig='contig'),
    'planes': lambda x: tiff(x, photometric='minisblack', planarconfig='separate'),
    'pages': pages,
    'tiles': lambda x: tiff(np.moveaxis(x, 0, -1), photometric='minisblack', planarconfig='contig', tile=(16, 16)),
    'deflated': lambda x: tiff(
        x, photometric='minisblack', planarconfig='separate', compression='zlib', predictor=True
    ),
    'BigTIFF': lambda x: tiff(x, bigtiff=True, byteorder='>'),
    'ImageJ': lambda x: tiff(x, imagej=True),
    'OME': lambda x: tiff(x, ome=True, metadata={'axes': 'CYX'}),
    'NumPy': npy,
}


@pytest.mark.parametrize('layout', list(LAYOUTS))
def test_thirteen_channels_of_every_layout(layout):
    expected = values(13)
    image = Decoder(13)(LAYOUTS[layout](expected))
    assert image.dtype == np.uint16 and np.array_equal(image, expected)


def deep_png(array):
    cv2 = pytest.importorskip('cv2')
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[len(array)]
    return cv2.imencode('.png', np.ascontiguousarray(np.moveaxis(array[order], 0, -1)))[1].tobytes()


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_deep_png_keeps_its_bits(channels):
    expected = values(channels)
    image = Decoder(channels, (0, 65535))(deep_png(expected))
    assert image.dtype == np.uint16 and np.array_equal(image, expected)


def test_eight_bits():
    pixels = values(4, np.uint8, 256)
    rgba = Image.fromarray(np.moveaxis(pixels, 0, -1))
    assert np.array_equal(Decoder(4)(saved(rgba, 'PNG')), pixels)
    assert np.array_equal(Decoder(3, (0, 255))(saved(rgba, 'PNG')), pixels[:3])  # without transparency
    grey = Image.fromarray(pixels[0])
    for kind in ('PNG', 'JPEG', 'TIFF', 'BMP'):
        data = saved(grey, kind)
        expected = np.asarray(Image.open(io.BytesIO(data)))[None]
        assert np.array_equal(Decoder(1)(data), expected)
        assert np.array_equal(Decoder(3, (0, 255))(data), np.repeat(expected, 3, axis=0))
    bits = Image.fromarray(pixels[0] > 99)
    for kind in ('PNG', 'TIFF'):
        assert np.array_equal(Decoder(1)(saved(bits, kind))[0], (pixels[0] > 99) * np.uint8(255))
    lzw = saved(rgba.convert('RGB'), 'TIFF', compression='tiff_lzw')  # which tifffile alone does not read
    assert np.array_equal(Decoder(3, (0, 255))(lzw), pixels[:3])


@pytest.mark.parametrize(
    'data, channels, found',
    [
        (tiff(values(13)), 4, 13),
        (pages(values(2)), 4, 2),
        (npy(values(1)[0]), 13, 1),
        (saved(Image.new('RGB', (9, 9)), 'PNG'), 1, 3),
        (saved(Image.new('LA', (9, 9)), 'PNG'), 1, 2),
    ],
)
def test_another_number_of_channels_is_named(data, channels, found):
    with pytest.raises(ValueError, match=rf'it has {found} channels?, not the {channels} of the data source'):
        Decoder(channels)(data)


def kept(array, value_range=None):
    return Decoder(len(array), value_range)(npy(array))


@pytest.mark.filterwarnings('ignore::selfsup.errors.SelfSupWarning')
def test_types_are_converted_where_nothing_is_lost():
    whole = values(2, np.int64, 60000)
    for dtype in (np.int32, np.uint32, np.int64):
        image = kept(whole.astype(dtype))
        assert image.dtype == np.uint16 and np.array_equal(image, whole)
    signed = (whole - 30000).astype(np.int16)
    image = kept(signed, (-30000, 30000))
    assert image.dtype == np.float32 and np.array_equal(image, signed)
    assert kept(whole / 7, (0, 9000)).dtype == np.float32
    assert kept(whole > 5).max() == 255


@pytest.mark.parametrize(
    'array, value_range, message',
    [
        (values(2).astype(np.float32), None, r'floats from 0?.* to 59.*: state value_range'),
        (values(2).astype(np.int32) - 99, None, r'go from -\d+ to 5.*state value_range'),
        (values(2).astype(np.int32) + 9999, None, r'does not fit into 16 bits'),
        (values(2).astype(np.int64) + 2**24, (0, 2**25), r'whole numbers up to 16777216 only'),
        (np.full((2, 4, 4), np.nan), (0, 1), r'not a number'),
        (np.full((2, 4, 4), 1e300), (0, 1e300), r'too large for float32'),
        (np.zeros((2, 4, 4), dtype=complex), (0, 1), r'complex128; save it'),
        (np.zeros((2, 4, 4, 4), dtype=np.uint8), None, r'shape \(2, 4, 4, 4\), not \(channels, height, width\)'),
    ],
)
def test_what_would_be_lost_is_refused(array, value_range, message):
    with pytest.raises(ValueError, match=message):
        kept(array, value_range)


@pytest.mark.parametrize('value_range', [(1, 1), (5, 0), (0, float('inf'))])
def test_a_range_that_is_none_is_refused(value_range):
    with pytest.raises(ConfigError, match='value_range='):
        Decoder(4, value_range)


@pytest.mark.parametrize('layout', ['interleaved', 'deflated', 'NumPy'])
def test_damaged_files_are_unreadable_or_read(layout):
    good = LAYOUTS[layout](values(5))
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(60):
        data = bytearray(good)
        if number % 2:
            del data[rng.integers(1, len(data)) :]
        else:
            data[rng.integers(300)] = rng.integers(256)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                assert Decoder(5)(bytes(data)).shape[0] == 5
        except UNREADABLE:
            refused += 1
        else:
            assert number % 2 == 0, 'a file that was cut off'
    assert refused >= 30


def files(tmp_path, arrays):
    for number, array in enumerate(arrays):
        (tmp_path / f'{number}.tif').write_bytes(tiff(array, photometric='minisblack'))
    return tmp_path


def test_a_dataset_hands_out_tensors(tmp_path):
    arrays = [values(4), values(4)[:, ::2]]
    root = files(tmp_path, arrays)
    (tmp_path / 'list.txt').write_text('0.tif\n1.tif\n')
    for source in (ImageFolder(root, channels=4), ImageList(root, tmp_path / 'list.txt', channels=4)):
        dataset = ImageDataset(source, prefetch=True)
        for number, array in enumerate(arrays):
            image, _, _ = dataset.read(number)
            assert image.dtype == torch.float32
            assert torch.equal(image, torch.from_numpy(array.astype(np.float32) / np.float32(65535)))
    image, _, _ = ImageDataset(ImageFolder(root, channels=4, value_range=(1000, 50000)), prefetch=True).read(0)
    assert image.min() == 0 and image.max() == 1  # cut off at the ends
    expected = (torch.from_numpy(arrays[0].astype(np.float32)) - 1000) / 49000
    assert torch.allclose(image, expected.clamp(0, 1))


def test_eight_bits_stay_so_and_rgb_stays_an_image(tmp_path):
    pixels = values(3, np.uint8, 256)
    (tmp_path / 'a.png').write_bytes(saved(Image.fromarray(np.moveaxis(pixels, 0, -1)), 'PNG'))
    image, _, _ = ImageDataset(ImageFolder(tmp_path), prefetch=True).read(0)
    assert isinstance(image, Image.Image)
    image, _, _ = ImageDataset(ImageFolder(tmp_path, value_range=(0, 255)), prefetch=True).read(0)
    assert torch.equal(image, torch.from_numpy(pixels))
    image, _, _ = ImageDataset(ImageFolder(tmp_path, value_range=(0, 127.5)), prefetch=True).read(0)
    assert image.dtype == torch.float32 and image.mean() > 0.6


def test_arrays_of_sources_of_others(tmp_path):
    class Arrays:
        def __len__(self):
            return 3

        def get_sample(self, index):
            return (values(13), values(2).astype(np.float32), values(3, np.uint8, 256).transpose(1, 2, 0))[index]

    dataset = ImageDataset(Arrays(), prefetch=True)
    assert dataset.read(0)[0].shape == (13, 64, 80) and isinstance(dataset.read(2)[0], np.ndarray)
    with pytest.raises(DataError, match=r'sample 1: its values are floats: state value_range'):
        dataset.read(1)


def test_values_far_under_their_range_are_said_once(tmp_path):
    root = files(tmp_path, [values(2), values(2, top=1020), values(2, top=1000)])
    with pytest.warns(
        SelfSupWarning, match=r'1\.tif: its values go from 0 to 1019, of a range from 0 to 65535: .*\(0, 1023\)'
    ) as said:
        source = ImageFolder(root, channels=2)
        for index in (0, 1, 2, 1):
            source.read_image(index)
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        ImageFolder(root, channels=2, value_range=(0, 1023)).read_image(1)
    with pytest.warns(SelfSupWarning, match=r'what lies outside is cut off'):
        ImageFolder(root, channels=2, value_range=(0, 1023)).read_image(0)


@pytest.mark.parametrize(
    'array, message',
    [
        (values(1, np.uint16, 4000)[0], r'0 to 39\d\d, of a range from 0 to 65535: .* nearly black.*\(0, 4095\)'),
        (values(1, np.int32, 200)[0], r'nearly black'),
        (values(1, np.int32, 2**30)[0], r'outside is cut off'),
    ],
)
def test_deep_grey_as_rgb_is_remarked_on(array, message):
    data = saved(Image.fromarray(array), 'TIFF')
    with pytest.warns(SelfSupWarning, match=message):
        load_rgb(io.BytesIO(data))


def test_deep_colours_as_rgb_are_remarked_on():
    for data in (deep_png(values(3, top=4000)), tiff(np.moveaxis(values(3, top=4000), 0, -1), photometric='rgb')):
        with pytest.warns(
            SelfSupWarning, match=r'^an image: its values go from 0 to 4095, .* nearly black.*\(0, 4095\)'
        ):
            load_rgb(io.BytesIO(data))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        load_rgb(io.BytesIO(deep_png(values(3))))
        load_rgb(io.BytesIO(saved(Image.new('RGB', (16, 16)), 'PNG')))


def test_floats_as_rgb_are_refused_with_the_setting():
    with pytest.raises(ValueError, match=r'channels=1 and value_range'):
        Decoder()(saved(Image.fromarray(values(1)[0].astype(np.float32)), 'TIFF'))


@pytest.mark.parametrize(
    'data, message',
    [
        (b'', 'it is empty'),
        (b'<!DOCTYPE html>', r"it begins with b'<!DOCTYP'"),
        (b'\0\0\0\x18ftypheic\0\0\0\0', 'pip install pillow-heif'),
        (npy(values(13)), 'array of NumPy'),
    ],
)
def test_files_of_no_known_format_say_what_they_are(data, message):
    if importlib.util.find_spec('pillow_heif') is None or b'heic' not in data:
        with pytest.raises(OSError, match=f'^cannot identify image file: .*{message}'):
            Decoder()(data)
