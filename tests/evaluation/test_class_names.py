"""Whether class numbers mean the same in a checkpoint, in training and in testing."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from selfsup.datasets import ClassificationDataset, ConcatDataset
from selfsup.datasets.data_sources import Digits, ImageFolder, ImageList
from selfsup.errors import DataError
from selfsup.evaluation.class_names import Naming, check_checkpoint_classes, compare, naming_of
from selfsup.evaluation.labelled import check_classes

STEPS = [dict(type='ToTensor')]


def folder(root, *classes):
    for name in classes:
        (root / name).mkdir(parents=True)
        Image.new('RGB', (4, 4)).save(root / name / '1.png')
    return root


def of_folder(root, *classes):
    return ClassificationDataset(ImageFolder(str(folder(root, *classes))), STEPS)


def of_list(root, text):
    """A list of images below `root`, which are drawn."""
    for line in text.splitlines():
        path = root / line.rsplit(maxsplit=1)[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (4, 4)).save(path)
    (root / 'list.txt').write_text(text)
    return ClassificationDataset(ImageList(str(root), str(root / 'list.txt')), STEPS)


def test_equal_names_need_no_word(tmp_path):
    train, test = of_folder(tmp_path / 'a', 'cat', 'dog'), of_folder(tmp_path / 'b', 'cat', 'dog')
    assert check_classes(train, test) is None
    assert check_classes(ConcatDataset([train, train]), test) is None
    listed = of_list(tmp_path / 'c', 'cat/1.png 0\ndog/1.png 1\n')
    assert check_classes(listed, test) is None and check_classes(train, listed) is None


@pytest.mark.parametrize(
    ('tested', 'message'),
    [
        (
            ('cat', 'dog'),
            r"only for training ant; only for testing none\. 'cat' is 1 for training and 0 for testing, 'dog' is 2",
        ),
        (('ant', 'bee', 'cat', 'dog'), r"only for training none; only for testing bee\. 'cat' is 1 for training and 2"),
        (('ant', 'cat', 'dig'), 'only for training dog; only for testing dig'),
        (('ant', 'cat', 'dog', 'eel'), 'only for training none; only for testing eel'),
    ],
)
def test_other_folders_are_refused(tested, message, tmp_path):
    train, test = of_folder(tmp_path / 'a', 'ant', 'cat', 'dog'), of_folder(tmp_path / 'b', *tested)
    with pytest.raises(DataError, match=f'different classes: {message}'):
        check_classes(train, test)


def test_a_list_in_another_order_than_the_folders(tmp_path):
    listed, test = of_list(tmp_path / 'a', 'dog/1.png 0\ncat/1.png 1\n'), of_folder(tmp_path / 'b', 'cat', 'dog')
    with pytest.raises(
        DataError, match=r"the same ones, numbered otherwise\. 'cat' is 1 for training and 0 for testing"
    ):
        check_classes(listed, test)
    with pytest.raises(DataError, match="'dog' is 0 for training and 1 for testing"):
        check_classes(listed, of_list(tmp_path / 'c', 'dog/1.png 1\ncat/1.png 0\n'))
    with pytest.raises(DataError, match='only for testing wolf'):  # number 1 is a cat in training
        check_classes(listed, of_list(tmp_path / 'd', 'dog/1.png 0\nwolf/1.png 1\n'))


@pytest.mark.parametrize(
    'form', ['{0}/1.png {0}\n', 'photo_{0}.png {0}\n'], ids=['names in the paths', 'numbers alone']
)
def test_numbers_of_a_list_against_folders_sorted_as_text(form, tmp_path):
    """Folders 0, 1, 10, 11, 2, ...: class 2 of the folders is 10 of the list."""
    listed = of_list(tmp_path / 'list', ''.join(form.format(i) for i in range(12)))
    test = of_folder(tmp_path / 'folders', *map(str, range(12)))
    for pair in ((listed, test), (test, listed)):
        with pytest.raises(DataError, match='sorted as text'):
            check_classes(*pair)
    padded = of_folder(tmp_path / 'padded', *(f'{i:02d}' for i in range(12)))
    said = check_classes(listed, padded)  # 02 is 2
    assert said is None if form.startswith('{') else 'cannot be compared' in said


def test_what_cannot_be_compared_is_said(tmp_path):
    plain, named = of_list(tmp_path / 'a', 'x.png 0\ny.png 1\n'), of_folder(tmp_path / 'b', 'cat', 'dog')
    assert check_classes(plain, named) == (
        'Class names cannot be compared: the training images come from a list, which numbers its '
        'classes. The numbers must mean the same on both sides.'
    )
    assert 'the test images come from a list' in check_classes(named, plain)
    other = of_list(tmp_path / 'c', 'katze/1.png 0\nhund/1.png 1\n')
    assert 'no folder name of the test images is one of the training images' in check_classes(named, other)


def test_a_list_without_images_of_some_classes_can_be_compared(tmp_path):
    train = of_folder(tmp_path / 'a', 'ant', 'cat', 'dog')
    assert check_classes(train, of_list(tmp_path / 'b', 'ant/1.png 0\ndog/1.png 2\n')) is None
    with pytest.raises(DataError, match="'dog' is 2 for training and 1 for testing"):
        check_classes(train, of_list(tmp_path / 'c', 'ant/1.png 0\ndog/1.png 1\n'))


def test_names_of_a_checkpoint(tmp_path):
    test = of_folder(tmp_path / 'b', 'cat', 'dog')
    for names, message in (
        (['dog', 'cat'], 'the same ones, numbered otherwise'),
        (['cat'], 'only for testing dog'),
        (['ant', 'cat', 'dog'], 'only for training ant'),
    ):
        with pytest.raises(DataError, match=f"{message}.*the checkpoint 'x.pth'"):
            check_checkpoint_classes({'meta': {'classes': names}}, 'x.pth', test, None)
    assert check_checkpoint_classes({'meta': {'classes': ['cat', 'dog']}}, 'x.pth', test, None) is None


@pytest.mark.parametrize(
    'checkpoint', [{}, {'meta': {}}, {'meta': {'classes': None}}, {'meta': [1]}, {'meta': {'classes': 'cat'}}]
)
def test_a_checkpoint_without_names_asks_the_training_images(checkpoint, tmp_path):
    test = of_folder(tmp_path / 'test', 'cat', 'dog')
    folder(tmp_path / 'train', 'ant', 'cat', 'dog')
    train = dict(
        type='ClassificationDataset', data_source=dict(type='ImageFolder', root=str(tmp_path / 'train')), pipeline=STEPS
    )
    with pytest.raises(DataError, match=r'only for training ant.*data\.train of the config'):
        check_checkpoint_classes(checkpoint, 'x.pth', test, train)
    gone = dict(
        type='ClassificationDataset', data_source=dict(type='ImageFolder', root=str(tmp_path / 'gone')), pipeline=STEPS
    )
    line = check_checkpoint_classes(checkpoint, 'x.pth', test, gone)
    assert "the checkpoint 'x.pth' keeps no names, and the images of data.train, which would tell, are not here" in line
    assert "the checkpoint 'x.pth' keeps no names" in check_checkpoint_classes(checkpoint, 'x.pth', test, None)


def test_sources_of_the_package_have_names():
    assert naming_of(Digits('train'), 'x').names == {i: str(i) for i in range(10)}


def test_folders_named_by_numbers_in_order_are_no_exchange():
    plain = Naming('the list', reason='the list has no names')
    assert 'cannot be compared' in compare(plain, Naming('the folders', {i: str(i) for i in range(10)}, complete=True))
    assert 'cannot be compared' in compare(plain, Naming('the folders', {0: '1998', 1: '2003'}, complete=True))
    with pytest.raises(DataError, match="for the folders, the folder '10' is class 2"):
        compare(plain, Naming('the folders', {0: '0', 1: '1', 2: '10', 3: '2'}, complete=True))


def test_labels_stay_as_they_are(tmp_path):
    """Names that a list's paths tell are for comparison alone: the number of classes is that of the labels."""
    listed = of_list(tmp_path, 'dog/1.png 3\ncat/1.png 1\n')
    assert listed.data_source.classes is None and listed.data_source.num_classes == 4
    assert np.array_equal(listed.labels, [3, 1])
