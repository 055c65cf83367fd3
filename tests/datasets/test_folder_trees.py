"""Folders of images in which something lies that is no class, or that were meant otherwise."""

from __future__ import annotations

import warnings

import pytest

from selfsup.datasets import ClassificationDataset
from selfsup.datasets.data_sources import ImageFolder
from selfsup.errors import ConfigError, SelfSupWarning

from .conftest import TENSOR, save_image


def tree(root, *names):
    for name in names:
        save_image(root / name)
    return str(root)


def silently(root, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        return ImageFolder(root, **kwargs)


SYSTEM = (
    '@eaDir',
    '__MACOSX',
    '.ipynb_checkpoints',
    'lost+found',
    '$RECYCLE.BIN',
    'System Volume Information',
    '.Trash-1000',
    '#recycle',
    '.snapshot',
    '@Recycle',
    '#snapshot',
    '.git',
    '__pycache__',
)


@pytest.mark.parametrize('name', SYSTEM)
def test_folders_of_the_system_are_no_classes_at_any_level(name, tmp_path):
    root = tree(
        tmp_path,
        'cat/1.png',
        'dog/1.png',
        f'{name}/1.png',
        f'{name}/cat/1.png',
        f'dog/{name}/2.png',
        f'cat/deep/{name}/3.png',
    )
    source = silently(root)
    assert source.classes == ['cat', 'dog'] and source.labels.tolist() == [0, 1] and len(source) == 2


def test_folders_of_the_system_do_not_count_as_empty_classes(tmp_path):
    root = tree(tmp_path, 'cat/1.png', 'dog/1.png')
    (tmp_path / '@eaDir').mkdir()
    (tmp_path / 'lost+found').mkdir()
    assert silently(root).classes == ['cat', 'dog']


def test_a_root_one_level_too_high(tmp_path):
    root = tree(tmp_path, 'train/cat/1.png', 'train/dog/1.png', 'Val/cat/1.png')
    with pytest.warns(
        SelfSupWarning, match=r"class folders are Val, train, which look like splits.* give root='.*/Val'"
    ):
        assert ImageFolder(root).classes == ['Val', 'train']
    assert silently(f'{root}/train').classes == ['cat', 'dog']
    silently(root, return_label=False)  # nobody reads the labels


def test_classes_that_are_called_like_a_split_among_others(tmp_path):
    assert silently(tree(tmp_path, 'car/1.png', 'train/1.png')).classes == ['car', 'train']


def test_one_folder_around_all_classes(tmp_path):
    root = tree(tmp_path, 'images/cat/1.png', 'images/dog/1.png')
    with pytest.warns(
        SelfSupWarning, match=r"all images lie in 'images', so there is one class, .*cat, dog\..*/images'"
    ):
        assert ImageFolder(root).classes == ['images']
    assert silently(tree(tmp_path / 'other', 'images/1.png', 'images/2.png')).classes == ['images']


def test_the_same_folders_in_every_class(tmp_path):
    root = tree(tmp_path, *(f'fold{k}/{name}/1.png' for k in range(3) for name in ('cat', 'dog')))
    with pytest.warns(SelfSupWarning, match='hold nothing but the same folders, cat, dog. .*one level too high'):
        ImageFolder(root)
    tree(tmp_path, 'fold0/bird/1.png')
    silently(root)


def test_classes_that_differ_in_case_alone(tmp_path):
    with pytest.warns(SelfSupWarning, match='the classes Cat, cat differ in case or spaces alone'):
        ImageFolder(tree(tmp_path, 'Cat/1.png', 'cat/1.png', 'dog/1.png'))


def test_a_stray_image_is_named(tmp_path):
    root = tree(tmp_path, 'cat/1.png', 'dog/1.png', 'dog/2.png', 'logo.png')
    with pytest.warns(SelfSupWarning, match=r'there are no labels, as an image lies beside its folders: logo.png'):
        source = ImageFolder(root)
    assert source.labels is None and len(source) == 4
    with pytest.raises(ConfigError, match=r'needs labels, .* an image lies beside the folders of .*: logo\.png\. Move'):
        ClassificationDataset(source, TENSOR)
    silently(root, return_label=False)


def test_a_flat_folder_and_one_that_is_mostly_flat_say_nothing(tmp_path):
    assert silently(tree(tmp_path / 'flat', 'a.png', 'b.png')).no_labels == ''
    mixed = silently(tree(tmp_path / 'mixed', 'a.png', 'b.png', 'sub/c.png'))
    with pytest.raises(ConfigError, match=r'2 images lie beside the folders of .*: a\.png, b\.png'):
        ClassificationDataset(mixed, TENSOR)
