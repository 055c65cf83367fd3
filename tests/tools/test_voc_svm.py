"""VOC2007 from the lists to mAP: the tools of prepare_data, benchmarks/svm.py and the launchers, on a miniature."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from selfsup.errors import DataError
from selfsup.evaluation.svm import files as svm_files
from selfsup.evaluation.svm.voc07_labels import draw_samples, read_partition
from selfsup.weights.write import write_checkpoint_atomic

from . import voc_miniature
from .test_launchers import FAKE_SRUN

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
model = dict(type='Classification', backbone=dict(type='ResNet', depth=18, stage_blocks=(1, 1, 1, 1), base_channels=4, stem='cifar'),
             head=dict(type='ClsHead', with_avg_pool=True, in_channels=32, num_classes=3))
data = dict(imgs_per_gpu=8, train=dict(type='ClassificationDataset', data_source=dict(type='Digits', split='train'), pipeline=[]))
optimizer = dict(type='SGD', lr=0.1)
lr_config = dict(policy='fixed')
total_epochs = 1
"""
DATA = """
data = dict(imgs_per_gpu=16, workers_per_gpu=0, extract=dict(
    type='ExtractDataset',
    data_source=dict(type='ImageList', list_file='{voc}/Lists/trainvaltest.txt', root='{voc}/JPEGImages', return_label=False),
    pipeline=[dict(type='Resize', size=(32, 32)), dict(type='ToTensor')]))
split_name, split_at = ['voc07_trainval', 'voc07_test'], [42]
"""
FULL = ('crossval_ap.npy', 'chosen_cost.npy', 'test_ap.npy', 'json_preds.json', 'result.json')
LOW_SHOT = tuple(f'test_ap_{name}.npy' for name in ('sample1_k1', 'sample2_k1', 'mean', 'min', 'max', 'std'))


def bash(folder: Path, script: str, *args: object, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ['bash', str(ROOT / script), *map(str, args)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1', **env},
    )


@pytest.fixture(scope='module')
def voc(tmp_path_factory) -> Path:
    """The miniature, prepared by prepare_voc07_cls.sh; its folder's parents are the project folder."""
    folder = tmp_path_factory.mktemp('project')
    voc_miniature.write(folder / 'downloads')
    done = bash(folder, 'tools/prepare_data/prepare_voc07_cls.sh', 'downloads', LOW_SHOT_K='1', LOW_SHOT_SAMPLES='2')
    assert done.returncode == 0, done.stderr
    return folder / 'data' / 'VOCdevkit' / 'VOC2007'


@pytest.fixture
def call(monkeypatch, capsys):
    """call('benchmarks/svm.py', args...) -> what it printed."""

    def run(script: str, *args: object) -> str:
        monkeypatch.setattr(sys, 'argv', [script, *map(str, args)])
        runpy.run_path(str(ROOT / script))['main']()
        return capsys.readouterr().out

    return run


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
            'tools/prepare_data/create_voc_data_files.py',
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
            'tools/prepare_data/create_voc_low_shot_challenge_samples.py',
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
        'tools/prepare_data/convert_subset.py',
        tmp_path / 'part.txt',
        tmp_path / 'o.txt',
        '--labeled',
        tmp_path / 'all.txt',
    )
    assert (tmp_path / 'o.txt').read_text() == 'n02/n02_8.JPEG 1\nn01/n01_1.JPEG 0\n'
    before = (tmp_path / 'all.txt').read_text()
    with pytest.raises(DataError, match=r'all\.txt exists; give --force'):
        call(
            'tools/prepare_data/convert_subset.py',
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
            'tools/prepare_data/convert_subset.py',
            tmp_path / 'part.txt',
            tmp_path / 'p.txt',
            '--labeled',
            tmp_path / 'all.txt',
        )
    assert not (tmp_path / 'p.txt').exists()


def test_other_samples_are_not_replaced(voc, call, tmp_path):
    """The same again is no change; another seed would make results that cannot be compared, or a mixture of both."""
    arguments = (
        'tools/prepare_data/create_voc_low_shot_challenge_samples.py',
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


def test_both_protocols_and_both_solvers(work, voc, call):
    arguments = ('benchmarks/svm.py', work, '--labels', voc / 'SVMLabels')
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
        call('benchmarks/svm.py', work, '--labels', broken(work, voc, what))
    assert not (work / 'svm').exists() and not (work / 'logs').exists()


def test_results_replaced_leave_nothing_of_other_samples(work, voc, call):
    """A run with fewer samples or k: their old arrays would look like results of this run."""
    arguments = (
        'benchmarks/svm.py',
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
        call('benchmarks/svm.py', work, '--labels', labels, '--low-shot', '--k', 1, '--samples', 1, '--check')


def test_known_before_hours_of_work(work, voc, call):
    """A folder that cannot be written, and an archive in place of an array."""
    (work / 'svm').write_text('')
    with pytest.raises(DataError, match=r'svm/feat5 cannot be written: .*svm is a file or read-only'):
        call('benchmarks/svm.py', work, '--labels', voc / 'SVMLabels', '--check')
    np.savez(work / 'train_labels.npz', a=np.zeros(3))
    (work / 'train_labels.npz').rename(work / 'train_labels.npy')
    with pytest.raises(DataError, match='archive of several arrays'):
        call('benchmarks/svm.py', work, '--labels', work, '--low-shot')


def test_missing_files_say_how_to_make_them(work, voc, call):
    with pytest.raises(DataError, match=r'feat4\.npy does not exist. Extract them'):
        call('benchmarks/svm.py', work, '--labels', voc / 'SVMLabels', '--features', 'feat4')
    with pytest.raises(DataError, match=r'sample1_k2\.npy does not exist. Make it with'):
        call('benchmarks/svm.py', work, '--labels', voc / 'SVMLabels', '--low-shot', '--k', 2)
    with pytest.raises(DataError, match='names 30 images, but there are 4'):
        svm_files.read_names(voc / 'SVMLabels' / 'test_images.npy', 4)


@pytest.mark.dist
def test_from_weights_to_map(voc):
    """dist_test_svm_pretrain.sh with one process: weights, then random ones; srun_test_svm_epoch.sh: a checkpoint with these weights."""
    from selfsup.registry import MODELS

    project = voc.parents[2]
    (project / 'configs').mkdir()
    (project / 'configs' / 'tiny.py').write_text(CONFIG)
    (project / 'images.py').write_text(DATA.format(voc=voc))
    namespace: dict = {}
    exec(CONFIG, namespace)
    torch.manual_seed(3)
    model = MODELS.build(namespace['model'])
    write_checkpoint_atomic({'state_dict': model.backbone.state_dict()}, project / 'w.pth')
    options = {'DATASET_CONFIG': 'images.py', 'SVM_ARGS': '--device cpu'}
    low = {**options, 'LOW_SHOT_ARGS': '--k 1 --samples 1 2'}
    script = 'benchmarks/dist_test_svm_pretrain.sh'
    done = bash(project, script, 'configs/tiny.py', 'w.pth', 'feat4 feat5', 1, **low)
    assert done.returncode == 0, done.stderr
    work = project / 'work_dirs' / 'tiny' / 'w.pth'
    for feature in ('feat4', 'feat5'):
        assert all((work / 'svm' / feature / name).is_file() for name in FULL)
        assert all((work / 'svm_lowshot' / feature / name).is_file() for name in LOW_SHOT)
    result = json.loads((work / 'svm' / 'feat5' / 'result.json').read_text())
    assert result['weights']['sha256'] and result['config']['path'].endswith('tiny.py')
    assert len((work / 'logs' / 'eval_svm.log').read_text().splitlines()) == 8
    again = bash(project, script, 'configs/tiny.py', 'w.pth', 'feat5', 1, **low)
    assert again.returncode == 1 and 'holds results; give --force' in again.stderr and 'images.py' not in again.stdout

    done = bash(project, script, 'configs/tiny.py', 'random', 'feat5', 1, **low)
    assert done.returncode == 0, done.stderr
    result = json.loads((project / 'work_dirs' / 'tiny' / 'random' / 'svm' / 'feat5' / 'result.json').read_text())
    assert result['weights'] is None

    write_checkpoint_atomic({'state_dict': model.state_dict()}, project / 'work_dirs' / 'tiny' / 'epoch_1.pth')
    srun = (
        project / 'bin' / 'srun'
    )  # stands in for Slurm: the arguments are written down, the command runs as the only task
    srun.parent.mkdir()
    srun.write_text(FAKE_SRUN)
    srun.chmod(0o755)
    done = bash(
        project,
        'benchmarks/srun_test_svm_epoch.sh',
        'part',
        'configs/tiny.py',
        1,
        'feat5',
        1,
        **low,
        PATH=f'{srun.parent}:{os.environ["PATH"]}',
        SRUN_RECORD=str(project / 'args'),
    )
    assert done.returncode == 0, done.stderr
    assert (project / 'args').read_text().startswith('-p part --job-name=selfsup-extract')
    result = json.loads((project / 'work_dirs' / 'tiny' / 'svm' / 'feat5' / 'result.json').read_text())
    assert result['weights']['path'].endswith('work_dirs/tiny/epoch_1.pth')
    test_ap = [
        np.load(project / 'work_dirs' / 'tiny' / name / 'svm' / 'feat5' / 'test_ap.npy') for name in ('', 'w.pth')
    ]
    assert test_ap[0] == pytest.approx(test_ap[1], abs=1e-6)  # the same backbone


@pytest.mark.parametrize(
    ('script', 'args', 'message'),
    [
        (
            'dist_test_svm_pretrain.sh',
            ('c.py', 'w.pth'),
            'usage: bash benchmarks/dist_test_svm_pretrain.sh CONFIG PRETRAIN FEAT_LIST [NGPUS]',
        ),
        (
            'dist_test_svm_epoch.sh',
            ('c.py',),
            'usage: bash benchmarks/dist_test_svm_epoch.sh CONFIG EPOCH FEAT_LIST [NGPUS]',
        ),
        (
            'srun_test_svm_pretrain.sh',
            ('p', 'c.py', 'w'),
            'usage: bash benchmarks/srun_test_svm_pretrain.sh PARTITION CONFIG PRETRAIN',
        ),
        (
            'srun_test_svm_epoch.sh',
            ('p', 'c.py', '3'),
            'usage: bash benchmarks/srun_test_svm_epoch.sh PARTITION CONFIG EPOCH FEAT_LIST',
        ),
        ('dist_test_svm_epoch.sh', ('configs/no.py', '3', 'feat5'), "error: the config 'configs/no.py' is not a file"),
        (
            'dist_test_svm_pretrain.sh',
            ('configs/base.py', 'no.pth', 'feat5'),
            "error: the weights 'no.pth' is not a file",
        ),
        (
            'dist_test_svm_pretrain.sh',
            ('configs/base.py', 'random', 'feat9'),
            "error: FEAT_LIST 'feat9': give layers, feat1 to feat5",
        ),
        (
            'srun_test_svm_pretrain.sh',
            ('p', 'configs/base.py', 'random', 'feat4,feat5'),
            "error: FEAT_LIST 'feat4,feat5': give layers",
        ),
    ],
)
def test_wrong_arguments_of_the_launchers(script, args, message):
    done = bash(ROOT, f'benchmarks/{script}', *args)
    assert done.returncode in (1, 2) and message in done.stderr


def test_commands_of_the_epoch_launcher(tmp_path):
    """dist_test_svm_epoch.sh, with a stand-in for Python that writes the commands down: check, extract, judge, in the work directory."""
    for path in (tmp_path / 'configs' / 'a' / 'c.py', tmp_path / 'work_dirs' / 'a' / 'c' / 'epoch_3.pth'):
        path.parent.mkdir(parents=True)
        path.write_text(CONFIG)
    python = tmp_path / 'python'
    python.write_text(
        f'#!/bin/bash\ncase $1 in *work_dir.py) exec {sys.executable} "$@" ;; esac\necho "$@" >> commands\n'
    )
    python.chmod(0o755)
    done = bash(
        tmp_path,
        'benchmarks/dist_test_svm_epoch.sh',
        'configs/a/c.py',
        3,
        'feat4 feat5',
        2,
        PYTHON=str(python),
        FORCE='1',
    )
    assert done.returncode == 0, done.stderr
    check, check_low, extract, full, low = (tmp_path / 'commands').read_text().replace(f'{ROOT}/', '').splitlines()
    judge = (
        'benchmarks/svm.py work_dirs/a/c --features feat4 feat5 --config configs/a/c.py --labels data/VOCdevkit/VOC2007/SVMLabels '
        '--weights work_dirs/a/c/epoch_3.pth --force'
    )
    assert (check, check_low, full, low) == (
        f'{judge} --check',
        f'{judge} --low-shot --check',
        judge,
        f'{judge} --low-shot',
    )
    assert '--nproc_per_node=2' in extract and extract.endswith(
        'tools/extract.py configs/a/c.py --work_dir work_dirs/a/c --checkpoint work_dirs/a/c/epoch_3.pth '
        '--dataset-config benchmarks/extract_info/voc07.py --force --launcher pytorch'
    )


@pytest.mark.parametrize('features', ['', ' '])
def test_an_empty_list_of_layers_is_feat5(tmp_path, features):
    """As in the original scripts; with a stand-in for Python that writes the commands down."""
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'configs' / 'c.py').write_text(CONFIG)
    python = tmp_path / 'python'
    python.write_text(
        f'#!/bin/bash\ncase $1 in *work_dir.py) exec {sys.executable} "$@" ;; esac\necho "$@" >> commands\n'
    )
    python.chmod(0o755)
    done = bash(
        tmp_path, 'benchmarks/dist_test_svm_pretrain.sh', 'configs/c.py', 'random', features, 1, PYTHON=str(python)
    )
    assert done.returncode == 0, done.stderr
    commands = (tmp_path / 'commands').read_text().splitlines()
    judged = [line for line in commands if 'svm.py' in line]
    assert len(judged) == 4 and all('svm.py work_dirs/c/random --features feat5 --config' in line for line in judged)


def test_no_image_stands_in_for_one_that_cannot_be_read(call, tmp_path):
    """Training goes on with the next image while 99 % can be read; a row of features is matched with a label."""
    (tmp_path / 'JPEGImages').mkdir()
    (tmp_path / 'Lists').mkdir()
    names = [f'{i}.jpg' for i in range(101)]
    for name in names:
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / 'JPEGImages' / name)
    (tmp_path / 'JPEGImages' / names[3]).write_bytes(b'no image')
    (tmp_path / 'Lists' / 'trainvaltest.txt').write_text('\n'.join(names))
    (tmp_path / 'images.py').write_text(DATA.format(voc=tmp_path))
    (tmp_path / 'c.py').write_text(CONFIG)
    with pytest.raises(
        DataError, match=r'3\.jpg cannot be read, and its row cannot hold the features of another image'
    ):
        call(
            'tools/extract.py',
            tmp_path / 'c.py',
            '--pretrained',
            'random',
            '--dataset-config',
            tmp_path / 'images.py',
            '--work_dir',
            tmp_path / 'work',
        )
    assert not (tmp_path / 'work').exists()
