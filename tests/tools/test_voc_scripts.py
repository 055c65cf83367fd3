"""VOC2007 from weights to mAP: the scripts, extraction and SVMs, on a miniature."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from selfsup.errors import DataError
from selfsup.protocols import base, extraction, svm_scores, voc07_svm
from selfsup.protocols.options import parse
from selfsup.weights.write import write_checkpoint_atomic

from .conftest import bash
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
    # Stands in for Slurm: the arguments are written down, the command runs as the only task.
    srun = project / 'bin' / 'srun'
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


def stand_in(folder: Path) -> str:
    """A program in the place of Python that writes its commands down."""
    python = folder / 'python'
    python.write_text('#!/bin/bash\necho "$@" >> commands\n')
    python.chmod(0o755)
    return str(python)


def test_commands_of_the_epoch_launcher(tmp_path):
    """dist_test_svm_epoch.sh: check, extract with all processes, judge with one."""
    arguments = ('configs/a/c.py', 3, 'feat4 feat5', 2)
    python = stand_in(tmp_path)
    done = bash(
        tmp_path, 'benchmarks/dist_test_svm_epoch.sh', *arguments, PYTHON=python, FORCE='1', SVM_ARGS='--solver sklearn'
    )
    assert done.returncode == 0, done.stderr
    check, extract, judge = (tmp_path / 'commands').read_text().replace(f'{ROOT}/', '').splitlines()
    words = (
        'tools/evaluate.py voc07_svm configs/a/c.py --epoch 3 --features feat4 feat5 '
        '--dataset-config benchmarks/extract_info/voc07.py --force --solver sklearn --only'
    )
    assert (check, judge) == (f'{words} check', f'{words} svm')
    assert '--nproc_per_node=2' in extract and extract.endswith(f'{words} features --launcher pytorch')
    (tmp_path / 'commands').unlink()
    done = bash(
        tmp_path,
        'benchmarks/dist_test_svm_epoch.sh',
        *arguments,
        PYTHON=python,
        NNODES='2',
        NODE_RANK='1',
        MASTER_ADDR='a',
    )
    assert done.returncode == 0 and 'svm' not in (tmp_path / 'commands').read_text().split()[-1], 'one machine judges'


@pytest.mark.parametrize('features', ['', ' '])
def test_an_empty_list_of_layers_is_feat5(tmp_path, monkeypatch, features):
    """As in the original scripts."""
    asked = []
    monkeypatch.setattr(svm_scores, 'run', lambda options: asked.append(options) or base.Outcome())
    monkeypatch.setattr(extraction, 'run', lambda options: base.Outcome(['features']))
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'configs' / 'c.py').write_text(CONFIG)
    voc07_svm.run(parse(voc07_svm.Options, '', ['configs/c.py', 'random', '--features', features]))
    assert [(options.low_shot, options.check) for options in asked] == [
        (False, True),
        (True, True),
        (False, False),
        (True, False),
    ]
    assert all((str(options.work_dir), options.features) == ('work_dirs/c/random', ['feat5']) for options in asked)


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
            'extract',
            tmp_path / 'c.py',
            '--pretrained',
            'random',
            '--dataset-config',
            tmp_path / 'images.py',
            '--work_dir',
            tmp_path / 'work',
        )
    assert not (tmp_path / 'work').exists()
