"""Images whose endings a folder does not name are left out, and that is said."""

import warnings

import pytest
from PIL import Image

from selfsup.datasets.data_sources import ImageFolder
from selfsup.errors import DataError, SelfSupWarning


def folder(path, names):
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (4, 4)).save(path / name, format='PNG')
    return path


def test_left_out_images_are_counted_by_ending(tmp_path):
    root = folder(tmp_path, [*(f'a/{i}.jfif' for i in range(3)), 'a/x.png', 'b/y.PNG', 'b/z.pbm', 'b/w.JFIF'])
    (root / 'a' / 'list.txt').write_text('x')
    (root / 'b' / 'labels.json').write_text('{}')
    with pytest.warns(
        SelfSupWarning, match=r'4 files ending in \.jfif, 1 file ending in \.pbm are left out, 2 images are read'
    ) as said:
        source = ImageFolder(root)
    assert len(source) == 2 and len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert len(ImageFolder(root, extensions=('.png', '.jfif', '.pbm'))) == 7


def test_other_files_are_no_images(tmp_path):
    root = folder(tmp_path, ['a/x.png', 'b/y.png'])
    for name in ('notes.txt', 'a/x.json', 'a/no_ending', 'b/archive.zip'):
        (root / name).write_text('x')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert len(ImageFolder(root)) == 2


def test_a_folder_of_left_out_images_alone(tmp_path):
    with pytest.raises(
        DataError, match=r'holds no images .*, but 2 files ending in \.jfif\. Check the folder, or set extensions'
    ):
        ImageFolder(folder(tmp_path, ['a/x.jfif', 'a/y.jfif']))
