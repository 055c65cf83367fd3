"""JPEG files decoded fast: the pixels of Pillow, and its judgement of damaged files."""

import io
import random

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from selfsup.datasets.data_sources import ImageFolder
from selfsup.datasets.decoding import Decoder, fast, image_libraries, load_rgb
from selfsup.datasets.decoding.jpeg_header import orientation_if_plain
from selfsup.datasets.robust import UNREADABLE, error_line

KINDS = {
    '444': dict(subsampling=0),
    '422': dict(subsampling=1),
    '420': dict(subsampling=2),
    'grey': dict(),
    'progressive': dict(progressive=True),
    'progressive 444': dict(progressive=True, subsampling=0, quality=95),
    'restarts': dict(restart_marker_blocks=7),
    'segments': dict(comment=b'a comment', icc_profile=bytes(3000), dpi=(72, 72)),
}


def encoded(image, **kwargs):
    file = io.BytesIO()
    image.save(file, 'JPEG', **kwargs)
    return file.getvalue()


@pytest.fixture(scope='module')
def photo():
    return Image.fromarray(load_sample_images().images[0][100:300, 100:333])  # no side is a whole number of blocks


@pytest.fixture(scope='module')
def files(photo):
    return {kind: encoded(photo.convert('L') if kind == 'grey' else photo, **args) for kind, args in KINDS.items()}


@pytest.fixture(params=list(fast.MAKERS))
def decode(request):
    if request.param == 'simplejpeg':
        pytest.importorskip('simplejpeg')
    return fast.MAKERS[request.param]()


def by_pillow(data):
    """Pixels, or the error."""
    try:
        return np.asarray(load_rgb(io.BytesIO(data)))
    except UNREADABLE as error:
        return error


@pytest.mark.parametrize('kind', list(KINDS))
def test_plain_files_have_the_pixels_of_pillow(files, decode, kind):
    assert orientation_if_plain(files[kind]) == 1
    image = decode(files[kind])
    assert image.dtype == np.uint8 and image.flags['C_CONTIGUOUS']
    assert np.array_equal(image, by_pillow(files[kind]))


def damaged(data, rng):
    """A file cut off, with other bytes, with segments put in or taken out."""
    data = bytearray(data)
    place = rng.randrange(1, len(data))
    kind = rng.choice(('cut', 'cut and ended', 'bytes', 'header', 'inserted', 'deleted', 'junk'))
    if kind.startswith('cut'):
        del data[place:]
        data += b'\xff\xd9' if kind == 'cut and ended' else b''
    elif kind == 'inserted':
        data[place:place] = rng.choice((b'\xff\xd9', b'\xff\xc4\xff\xff', b'\xff\xda\x00\x0c', b'\xff\xdb\x00\x43'))
    elif kind == 'deleted':
        del data[place : place + rng.randrange(1, 400)]
    elif kind == 'junk':
        data += rng.randbytes(50)
    else:
        for _ in range(rng.choice((1, 3, 20))):
            data[rng.randrange(700 if kind == 'header' else len(data))] = rng.choice((0, 255, rng.randrange(256)))
    return bytes(data)


def test_damaged_files_are_judged_as_by_pillow(files, decode):
    rng, read, refused = random.Random(0), 0, 0
    for _ in range(500):
        data = damaged(rng.choice(list(files.values())), rng)
        image = decode(data) if orientation_if_plain(data) is not None else None
        expected = by_pillow(data)
        refused += isinstance(expected, Exception)
        if image is not None:
            read += 1
            assert np.array_equal(image, expected)
    assert read > 50 and refused > 100


def with_frame(data, place, value):
    """The file with another byte in its frame header: 0 precision, 5 number of components, 6 id of the first."""
    frame = max(data.find(b'\xff\xc0'), data.find(b'\xff\xc2')) + 4
    return data[: frame + place] + bytes([value]) + data[frame + place + 1 :]


def test_other_files_are_left_to_pillow(photo, files):
    adobe = b'\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00'
    jfif = 2 + 18  # its segment follows the start
    rgb = files['444'][:2] + adobe + b'\x00' + files['444'][jfif:]
    ycbcr = files['444'][:2] + adobe + b'\x01' + files['444'][jfif:]
    assert orientation_if_plain(ycbcr) == 1 and orientation_if_plain(rgb) is None
    png = io.BytesIO()
    photo.save(png, 'PNG')
    others = [
        encoded(photo.convert('CMYK')),
        with_frame(files['444'], 0, 12),
        with_frame(files['444'], 5, 4),
        files['444'][:2] + files['444'][jfif:].replace(b'\xff\xc0\x00\x11\x08', b'\xff\xc1\x00\x11\x08'),
        files['444'][:2] + b'\xff\xe2\x00\x08MPF\x00\x00\x00' + files['444'][2:],
        files['444'][:2] + b'\xff\xff' + files['444'][2:],
        files['444'][:100],
        png.getvalue(),
        b'',
        b'\xff\xd8\xff',
    ]
    assert [orientation_if_plain(data) for data in others] == [None] * len(others)


@pytest.mark.parametrize('size, orientation', [((8, 8), 1), ((8, 8), 6), ((8, 8), 3)])
@pytest.mark.parametrize('order', ['<', '>'])
def test_the_orientation_is_that_of_pillow(photo, order, size, orientation):
    exif = Image.Exif()
    exif.endian = order
    exif[0x010F], exif[0x0112], exif[0x0132] = 'a camera', orientation, '2020:01:01 00:00:00'
    data = encoded(photo, exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        assert image.getexif()[0x0112] == orientation
    assert orientation_if_plain(data) == orientation


def test_a_source_reads_the_same_with_each_backend(tmp_path, files, photo):
    for number, data in enumerate(files.values()):
        (tmp_path / f'{number}.jpg').write_bytes(data)
    photo.save(tmp_path / 'a.png')
    photo.convert('CMYK').save(tmp_path / 'b.jpg')
    source = ImageFolder(tmp_path)
    reference = [source.read_image(index) for index in range(len(source))]
    source.use_backend('fast')
    images = [source.read_image(index) for index in range(len(source))]
    assert [type(image) for image in images].count(np.ndarray) == len(files)
    assert all(isinstance(image, Image.Image) for image in reference)
    assert all(np.array_equal(image, expected) for image, expected in zip(images, reference, strict=True))


def test_a_file_that_was_cut_off_is_refused_alike(files):
    decoder, messages = Decoder(), []
    for backend in ('reference', 'fast'):
        decoder.use_backend(backend)
        with pytest.raises(OSError, match='truncated') as caught:
            decoder(files['420'][:3000])
        messages.append(error_line(caught.value))
    assert messages[0] == messages[1]


def test_libraries_in_use_are_named():
    reference, used = image_libraries('reference'), image_libraries('fast')
    assert reference['pillow'] == Image.__version__ and reference['libjpeg-turbo']
    assert reference.items() <= used.items() and used['opencv'] != 'none'
    assert ('simplejpeg' in used) == (fast.fast_decoder()[0] == 'simplejpeg')


@pytest.fixture
def forget():
    """What was found out about the installed decoders."""
    for clear in (fast.fast_decoder.cache_clear, fast.say_what_is_used.cache_clear):
        clear()
    yield
    for clear in (fast.fast_decoder.cache_clear, fast.say_what_is_used.cache_clear):
        clear()


@pytest.mark.parametrize('installed', [['torchvision'], []])
def test_an_absent_decoder_is_said_once(files, monkeypatch, caplog, forget, installed):
    monkeypatch.setattr(fast, 'MAKERS', {name: fast.MAKERS[name] for name in installed})
    with caplog.at_level('INFO', 'selfsup'):
        for decoder in (Decoder(), Decoder()):
            decoder.use_backend('fast')
            assert np.array_equal(decoder(files['420']), by_pillow(files['420']))
    by = installed[0] if installed else 'pillow'
    assert [r.getMessage() for r in caplog.records] == [
        f'simplejpeg is not installed: JPEG files are decoded by {by}, with the same pixels (pip install simplejpeg).'
    ]
    assert 'simplejpeg' not in image_libraries('fast')
