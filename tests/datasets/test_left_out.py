"""Images whose endings a folder does not name are left out, and that is said."""

import re
import warnings

import numpy as np
import pytest
from PIL import Image, features

from selfsup.datasets import ConcatDataset
from selfsup.datasets.base import ImageDataset
from selfsup.datasets.data_sources import ImageFolder
from selfsup.datasets.decoding import readable_endings
from selfsup.datasets.digest import files_left_out
from selfsup.errors import DataError, SelfSupWarning


def folder(path, names):
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (4, 4)).save(path / name, format='PNG')
    return path


def test_every_ending_that_is_readable_counts(tmp_path):
    root = folder(
        tmp_path, [*(f'a/{i}.jfif' for i in range(3)), 'a/x.png', 'b/y.PNG', 'b/z.pbm', 'b/w.JFIF', 'b/v.jpe']
    )
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert len(ImageFolder(root)) == 8


def test_left_out_images_are_counted_by_ending(tmp_path, caplog):
    root = folder(
        tmp_path, [*(f'a/{i}.jfif' for i in range(3)), 'a/x.png', 'b/y.PNG', 'b/z.pbm', 'b/w.JFIF', 'b/c.NEF']
    )
    (root / 'a' / 'list.txt').write_text('x')
    (root / 'b' / 'labels.json').write_text('{}')
    left = r'4 files ending in \.jfif, 1 file ending in \.nef, 1 file ending in \.pbm'
    with (
        caplog.at_level('INFO', 'selfsup'),
        pytest.warns(SelfSupWarning, match=rf'{left} are left out, 2 images are read') as said,
    ):
        source = ImageFolder(root, extensions=('.png',))
    assert len(source) == 2 and len(said) == 1
    assert '1 file ending in .json, 1 file ending in .txt are no images' in caplog.text
    assert re.fullmatch(rf'{left}, 1 file ending in \.json, 1 file ending in \.txt', source.files_left_out())
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert len(ImageFolder(root, extensions=('.png', '.jfif', '.pbm', '.nef'))) == 8


def test_a_data_set_tells_what_its_sources_leave_out(tmp_path):
    root = folder(tmp_path, ['a/x.png', 'b/y.png'])
    (root / 'a' / 'list.txt').write_text('x')
    dataset = ImageDataset(ImageFolder(root))
    assert files_left_out(ConcatDataset([dataset, dataset])) == ['1 file ending in .txt'] * 2
    (root / 'a' / 'list.txt').unlink()
    assert files_left_out(ImageDataset(ImageFolder(root))) == []


def test_files_of_numbers_are_images_where_channels_are_stated(tmp_path):
    root = folder(tmp_path, ['a/x.png', 'b/y.png'])
    np.save(root / 'a' / 'z.npy', np.zeros((1, 4, 4), dtype=np.uint8))
    with pytest.warns(SelfSupWarning, match=r'1 file ending in \.npy are left out'):
        assert len(ImageFolder(root)) == 2
    assert len(ImageFolder(root, channels=1)) == 3


def test_films_pages_and_drawings_are_no_images():
    endings = readable_endings(arrays=True)
    assert {'.jpg', '.jpeg', '.jfif', '.png', '.bmp', '.gif', '.tif', '.tiff', '.ppm', '.pbm', '.npy'} <= set(endings)
    assert not {'.pdf', '.eps', '.ps', '.mpg', '.mpeg', '.fli', '.wmf', '.h5', '.txt', '.heic'} & set(endings)
    assert ('.webp' in endings) == features.check('webp') and ('.avif' in endings) == features.check('avif')


def test_other_files_are_no_images(tmp_path):
    root = folder(tmp_path, ['a/x.png', 'b/y.png'])
    for name in ('notes.txt', 'a/x.json', 'a/no_ending', 'b/archive.zip'):
        (root / name).write_text('x')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert len(ImageFolder(root)) == 2


def test_a_folder_of_left_out_images_alone(tmp_path):
    with pytest.raises(
        DataError, match=r'holds no images .*, but 2 files ending in \.heic\. Check the folder, or set extensions'
    ):
        ImageFolder(folder(tmp_path, ['a/x.heic', 'a/y.HEIC']))
