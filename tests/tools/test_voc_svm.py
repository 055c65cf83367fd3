"""VOC2007 linear SVMs on features: benchmarks/svm.py, on a miniature."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from selfsup.errors import DataError
from selfsup.evaluation.svm import files as svm_files


@pytest.fixture
def work(tmp_path, voc) -> Path:
    """A work directory with features in which a class can be seen."""
    generator = np.random.default_rng(0)
    (tmp_path / 'features').mkdir()
    for split, name in (('trainval', 'train'), ('test', 'test')):
        labels = np.load(voc / 'SVMLabels' / f'{name}_labels.npy')
        features = generator.random((len(labels), 12)) + np.tile(labels == 1, 4)
        np.save(tmp_path / 'features' / f'voc07_{split}_feat5.npy', features.astype(np.float32))
    return tmp_path


def test_both_protocols_and_both_solvers(work, voc, call):
    arguments = ('benchmarks/svm', work, '--labels', voc / 'SVMLabels')
    out = call(*arguments)
    found = {
        name: np.load(work / 'svm' / 'feat5' / f'{name}.npy') for name in ('crossval_ap', 'chosen_cost', 'test_ap')
    }
    assert (
        found['crossval_ap'].shape == (3, 19)
        and found['chosen_cost'].shape == (3,)
        and found['test_ap'].shape == (3, 1)
    )
    assert (
        f'feat5 svm: Mean AP: {found["test_ap"].mean():.4f}' in out
        and out in (work / 'logs' / 'eval_svm.log').read_text()
    )
    assert found['test_ap'].mean() > 0.8
    result = json.loads((work / 'svm' / 'feat5' / 'result.json').read_text())
    assert result['protocol'] == 'voc07_svm' and result['numbers']['mAP'] == pytest.approx(
        100 * found['test_ap'].mean()
    )
    predictions = json.loads((work / 'svm' / 'feat5' / 'json_preds.json').read_text())
    assert len(predictions) == 30 and len(predictions['000043']) == 3
    with pytest.raises(DataError, match='holds results; give --force'):
        call(*arguments)
    call(*arguments, '--force', '--solver', 'sklearn')
    assert np.load(work / 'svm' / 'feat5' / 'test_ap.npy') == pytest.approx(found['test_ap'], abs=0.05)

    low = (*arguments, '--low-shot', '--k', 1, '--samples', 1, 2)
    lines = call(*low).splitlines()
    mean = np.load(work / 'svm_lowshot' / 'feat5' / 'test_ap_mean.npy')
    assert mean.shape == (1, 19) and np.load(work / 'svm_lowshot' / 'feat5' / 'test_ap_sample2_k1.npy').shape == (1, 19)
    assert lines[1].endswith(f'(documented): {100 * mean.max():.2f}') and 'held-out training images' in lines[2]
    assert len((work / 'logs' / 'eval_svm.log').read_text().splitlines()) == 5


def broken(work: Path, voc: Path, what: str) -> Path:
    """A copy of the labels or features with one mistake; returns the folder of labels."""
    labels = work / 'labels'
    labels.mkdir()
    arrays = {name: np.load(voc / 'SVMLabels' / f'{name}_labels.npy') for name in ('train', 'test')}
    path = work / 'features' / 'voc07_trainval_feat5.npy'
    features = np.load(path)
    if what == 'class missing':
        arrays['test'][:, 1] = 0
    elif what == 'labels of another list':
        arrays['train'] = arrays['train'][:-1]
    elif what == 'other classes':
        arrays['test'] = arrays['test'][:, :2]
    elif what == 'unknown label':
        arrays['train'][0, 0] = 5
    elif what == 'other length':
        np.save(path, features[:-3])
    elif what == 'other layer':
        np.save(path, features[:, :-1])
    elif what == 'not a number':
        features[7, 2] = np.nan
        np.save(path, features)
    elif what == 'cut short':
        path.write_bytes(path.read_bytes()[:300])
    for name, values in arrays.items():
        np.save(labels / f'{name}_labels.npy', values)
    return labels


@pytest.mark.parametrize(
    ('what', 'message'),
    [
        ('class missing', 'no image shows class 1'),
        ('labels of another list', r'has 42 rows, train_labels.npy has 41'),
        ('other classes', 'has 2 classes, the training labels have 3'),
        ('unknown label', 'Label 5 is none of'),
        ('other length', 'has 39 rows, train_labels.npy has 42'),
        ('other layer', '11 numbers per training image, 12 per test image'),
        ('not a number', 'row 7 is NaN or infinite'),
        ('cut short', 'is no NumPy array file'),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(work, voc, call, what, message):
    with pytest.raises(DataError, match=message):
        call('benchmarks/svm', work, '--labels', broken(work, voc, what))
    assert not (work / 'svm').exists() and not (work / 'logs').exists()


def test_results_replaced_leave_nothing_of_other_samples(work, voc, call):
    """A run with fewer samples or k: their old arrays would look like results of this run."""
    arguments = (
        'benchmarks/svm',
        work,
        '--labels',
        voc / 'SVMLabels',
        '--low-shot',
        '--k',
        1,
        '--force',
        '--samples',
    )
    call(*arguments, 1, 2)
    call(*arguments, 2)
    assert sorted(path.name for path in (work / 'svm_lowshot' / 'feat5').glob('*sample*')) == ['test_ap_sample2_k1.npy']


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda sample, train: np.roll(sample, 1, axis=0), r'labels differ from those of train_labels\.npy'),
        (lambda sample, train: np.where(sample == 0, -1, sample), r'class 0, 1, 2 .* has no negative image'),
    ],
    ids=['of another list', 'no negatives'],
)
def test_low_shot_samples_must_be_part_of_the_training_labels(work, voc, call, change, message):
    labels = work / 'labels'
    shutil.copytree(voc / 'SVMLabels', labels)
    path = labels / 'low_shot' / 'labels' / 'train_targets_sample1_k1.npy'
    np.save(path, change(np.load(path), np.load(labels / 'train_labels.npy')))
    with pytest.raises(DataError, match=message):
        call('benchmarks/svm', work, '--labels', labels, '--low-shot', '--k', 1, '--samples', 1, '--check')


def test_known_before_hours_of_work(work, voc, call):
    """A folder that cannot be written, and an archive in place of an array."""
    (work / 'svm').write_text('')
    with pytest.raises(DataError, match=r'svm/feat5 cannot be written: .*svm is a file or read-only'):
        call('benchmarks/svm', work, '--labels', voc / 'SVMLabels', '--check')
    np.savez(work / 'train_labels.npz', a=np.zeros(3))
    (work / 'train_labels.npz').rename(work / 'train_labels.npy')
    with pytest.raises(DataError, match='archive of several arrays'):
        call('benchmarks/svm', work, '--labels', work, '--low-shot')


def test_missing_files_say_how_to_make_them(work, voc, call):
    with pytest.raises(DataError, match=r'feat4\.npy does not exist. Extract them'):
        call('benchmarks/svm', work, '--labels', voc / 'SVMLabels', '--features', 'feat4')
    with pytest.raises(DataError, match=r'sample1_k2\.npy does not exist. Make it with'):
        call('benchmarks/svm', work, '--labels', voc / 'SVMLabels', '--low-shot', '--k', 2)
    with pytest.raises(DataError, match='names 30 images, but there are 4'):
        svm_files.read_names(voc / 'SVMLabels' / 'test_images.npy', 4)
