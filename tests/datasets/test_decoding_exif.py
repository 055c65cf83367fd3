"""EXIF orientation: one rule for every format and backend; boxes are those of the image as it is read."""

import io
import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps, features

from selfsup.datasets.data_sources import COCO, ImageFolder
from selfsup.datasets.decoding import Decoder
from selfsup.datasets.decoding.endings import register_heif
from selfsup.errors import DataError, SelfSupWarning

FORMATS = ['JPEG', 'PNG', 'TIFF'] + [name for name in ('WEBP', 'AVIF') if features.check(name.lower())]


def photo(height=40, width=56):
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([4 * y, 4 * x, 2 * (x + y)], -1).astype(np.uint8))


def encoded(image, kind, orientation, **kwargs):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, kind, exif=exif, **kwargs)
    return file.getvalue()


def shown(image, orientation):
    image.getexif()[0x0112] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


def decoded(data, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', SelfSupWarning)
        return {backend: np.asarray(_decoder(backend, **kwargs)(data)) for backend in ('reference', 'fast')}


def _decoder(backend, **kwargs):
    decoder = Decoder(**kwargs)
    decoder.use_backend(backend)
    return decoder


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('kind', FORMATS)
def test_every_format_is_stored_or_shown(kind, orientation):
    lossy = {} if kind in ('PNG', 'TIFF') else dict(quality=95)
    data = encoded(photo(), kind, orientation, **lossy)
    for image in decoded(data).values():
        assert image.shape == (40, 56, 3)
        assert np.abs(image.astype(int) - np.asarray(photo())).mean() < 3
    expected = shown(photo(), orientation)
    for image in decoded(data, exif='apply').values():
        assert image.shape == expected.shape
        assert np.abs(image.astype(int) - expected).mean() < 3


@pytest.mark.parametrize('orientation', range(1, 9))
def test_heic_is_stored_or_shown(orientation):
    pillow_heif = pytest.importorskip('pillow_heif')
    register_heif()
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    pillow_heif.from_pillow(photo()).save(file, quality=95, exif=exif.tobytes())
    for how, expected in (('ignore', np.asarray(photo())), ('apply', shown(photo(), orientation))):
        image = decoded(file.getvalue(), exif=how)['fast']
        assert image.shape == expected.shape and np.abs(image.astype(int) - expected).mean() < 3


@pytest.mark.parametrize('orientation', range(1, 9))
def test_arrays_are_turned_alike(orientation):
    data = encoded(photo().getchannel(1), 'PNG', orientation)
    image = decoded(data, channels=1, exif='apply')['fast']
    assert np.array_equal(image[0], shown(photo().getchannel(1), orientation))


def test_orientation_in_xmp(tmp_path):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    file = io.BytesIO()
    photo().save(file, 'JPEG', xmp=xmp)
    images = decoded(file.getvalue(), exif='apply')
    assert images['fast'].shape == (56, 40, 3)
    assert np.array_equal(images['fast'], images['reference'])


def test_mangled_exif_leaves_the_pixels(tmp_path):
    file = io.BytesIO()
    photo().save(file, 'JPEG', exif=b'Exif\0\0II*\0\xff\xff\xff\xff')
    for image in decoded(file.getvalue(), exif='apply').values():
        assert image.shape == (40, 56, 3)


@pytest.mark.parametrize('backend', ['reference', 'fast'])
def test_an_ignored_orientation_is_said_once(tmp_path, backend):
    for number in range(4):
        (tmp_path / f'{number}.jpg').write_bytes(encoded(photo(), 'JPEG', 1 if number == 0 else 6))
    source = ImageFolder(tmp_path)
    source.use_backend(backend)
    with pytest.warns(SelfSupWarning, match=r"1\.jpg: its EXIF orientation \(6\) is ignored.*exif='apply'") as said:
        for index in range(4):
            source.read_image(index)
    assert len(said) == 1
    turned = ImageFolder(tmp_path, exif='apply')
    turned.use_backend(backend)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert [np.asarray(turned.read_image(index)).shape for index in (0, 1)] == [(40, 56, 3), (56, 40, 3)]


def test_workers_say_it_once_together():
    decoder, data = Decoder(), encoded(photo(), 'JPEG', 3)
    worker = torch.multiprocessing.get_context('fork').Process(target=decoder, args=(data,))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        worker.start()
        worker.join()
        warnings.simplefilter('error')
        decoder(data)
    assert worker.exitcode == 0


def coco(tmp_path, width, height, **kwargs):
    (tmp_path / 'a.jpg').write_bytes(encoded(photo(), 'JPEG', 6))
    content = {
        'images': [{'id': 1, 'file_name': 'a.jpg', 'width': width, 'height': height}],
        'categories': [{'id': 1, 'name': 'thing'}],
        'annotations': [{'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [5, 6, 10, 20]}],
    }
    (tmp_path / 'a.json').write_text(json.dumps(content))
    return COCO(tmp_path, tmp_path / 'a.json', **kwargs)


@pytest.mark.filterwarnings('ignore::selfsup.errors.SelfSupWarning')
def test_boxes_are_those_of_the_image_as_it_is_read(tmp_path):
    for exif, size in (('ignore', (56, 40)), ('apply', (40, 56))):
        source = coco(tmp_path, *size, exif=exif)
        image, objects = source.get_sample(0)
        assert image.size == size and objects.boxes.tolist() == [[5, 6, 15, 26]]
        source.use_backend('fast')
        assert np.array_equal(source.get_sample(0)[0], image)
    with pytest.raises(
        DataError, match=r"56 x 40 pixels, its annotation says 40 x 56\. .* as they are stored: .* exif='apply'"
    ):
        coco(tmp_path, 40, 56).get_sample(0)
    with pytest.raises(
        DataError, match=r"40 x 56 pixels, its annotation says 56 x 40\. .* as they are shown: .* exif='ignore'"
    ):
        coco(tmp_path, 56, 40, exif='apply').get_sample(0)
