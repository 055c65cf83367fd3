"""VOC2007 from the lists to labels and samples: the tools of prepare_data, on a miniature."""

from __future__ import annotations

import json

import numpy as np
import pytest

from selfsup.errors import DataError
from selfsup.evaluation.svm.voc07_labels import draw_samples, read_partition

from . import voc_miniature


def test_labels_lists_and_samples(voc):
    classes, images, labels = read_partition(voc, 'trainval')
    assert classes == sorted(voc_miniature.CLASSES) and len(images) == 42
    first = (voc / 'ImageSets' / 'Main' / f'{classes[1]}_trainval.txt').read_text().split()[:2]
    assert labels[0, 1] == {'1': 1, '-1': 0, '0': -1}[first[1]] and images[0] == first[0]
    assert set(np.unique(labels)) == {1, 0, -1}
    saved = voc / 'SVMLabels'
    assert np.array_equal(np.load(saved / 'train_labels.npy'), labels)
    assert np.load(saved / 'test_images.npy')[0].endswith('JPEGImages/000043.jpg')
    assert json.loads((saved / 'train_targets.json').read_text())[images[3]] == labels[3].tolist()
    lines = (voc / 'Lists' / 'trainvaltest.txt').read_text().splitlines()
    assert lines[0] == '000001.jpg' and lines[42] == '000043.jpg' and len(lines) == 72
    chosen = np.load(saved / 'low_shot' / 'labels' / 'train_targets_sample2_k1.npy')
    assert ((chosen == 1).sum(0) == 1).all() and ((chosen == 0).sum(0) == 19).all()
    assert (chosen[chosen != -1] == labels[chosen != -1]).all()
    again = draw_samples(labels, [1], 2, seed=0)
    assert np.array_equal(again[2, 1], chosen) and not np.array_equal(again[1, 1], chosen)
    assert not np.array_equal(draw_samples(labels, [1], 1, seed=1)[1, 1], again[1, 1])


def test_partitions_apart_need_their_lists(voc, call, tmp_path):
    with pytest.raises(DataError, match=r'has no file CLASS_train\.txt'):
        call(
            'prepare_data/create_voc_data_files',
            '--data_source_dir',
            voc,
            '--output_dir',
            tmp_path / 'o',
            '--separate_partitions',
            1,
        )
    assert not (tmp_path / 'o').exists()
    with pytest.raises(DataError, match=r'k=9 needs .* images with label'):
        call(
            'prepare_data/create_voc_low_shot_challenge_samples',
            '--targets_data_file',
            voc / 'SVMLabels' / 'train_targets.json',
            '--output_path',
            tmp_path / 'o',
            '--k_values',
            '1,9',
        )
    assert not (tmp_path / 'o').exists()


def test_convert_subset(call, tmp_path):
    (tmp_path / 'all.txt').write_text('n01/n01_1.JPEG 0\nn02/n02_7.JPEG 1\nn02/n02_8.JPEG 1\n')
    (tmp_path / 'part.txt').write_text('n02_8.JPEG\nn01_1.JPEG\n')
    call(
        'prepare_data/convert_subset',
        tmp_path / 'part.txt',
        tmp_path / 'o.txt',
        '--labeled',
        tmp_path / 'all.txt',
    )
    assert (tmp_path / 'o.txt').read_text() == 'n02/n02_8.JPEG 1\nn01/n01_1.JPEG 0\n'
    before = (tmp_path / 'all.txt').read_text()
    with pytest.raises(DataError, match=r'all\.txt exists; give --force'):
        call(
            'prepare_data/convert_subset',
            tmp_path / 'part.txt',
            tmp_path / 'all.txt',
            '--labeled',
            tmp_path / 'all.txt',
        )
    assert (tmp_path / 'all.txt').read_text() == before


@pytest.mark.parametrize(
    ('part', 'labeled', 'message'),
    [
        (b'n03_1.JPEG\n', b'n01/n01_1.JPEG 0\n', r'lacks 1 of the 1 images .* n03_1\.JPEG'),
        (b'1.JPEG\n', b'n01/1.JPEG 0\nn02/1.JPEG 1\n', 'has 2 lines, but 1 names of files'),
        (b' \n', b'n01/n01_1.JPEG 0\n', r'part\.txt is empty'),
        (b'n01_1.JPEG\n', b'\xff\xfe', r'all\.txt cannot be read as a list'),
    ],
    ids=['unknown name', 'names twice', 'empty', 'no text'],
)
def test_convert_subset_refuses(call, tmp_path, part, labeled, message):
    (tmp_path / 'part.txt').write_bytes(part)
    (tmp_path / 'all.txt').write_bytes(labeled)
    with pytest.raises(DataError, match=message):
        call(
            'prepare_data/convert_subset',
            tmp_path / 'part.txt',
            tmp_path / 'p.txt',
            '--labeled',
            tmp_path / 'all.txt',
        )
    assert not (tmp_path / 'p.txt').exists()


def test_other_samples_are_not_replaced(voc, call, tmp_path):
    """The same again is no change; another seed would make results that cannot be compared, or a mixture of both."""
    arguments = (
        'prepare_data/create_voc_low_shot_challenge_samples',
        '--targets_data_file',
        voc / 'SVMLabels' / 'train_targets.json',
        '--k_values',
        1,
        '--num_samples',
        2,
        '--output_path',
    )
    call(*arguments, tmp_path)
    call(*arguments, tmp_path)
    path = tmp_path / 'train_targets_sample1_k1.npy'
    before = np.load(path)
    with pytest.raises(DataError, match=r'holds another sample, .* give --force'):
        call(*arguments, tmp_path, '--seed', 1)
    assert np.array_equal(np.load(path), before)
    call(*arguments, tmp_path, '--seed', 1, '--force')
    assert not np.array_equal(np.load(path), before)
    with pytest.raises(DataError, match='seed=-1'):
        call(*arguments, tmp_path, '--seed', -1)
    with pytest.raises(DataError, match='cannot be made: File exists'):
        call(*arguments, path)
