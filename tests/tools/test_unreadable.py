"""Tools on images of which some cannot be read: one number for any number of processes, and how many were left out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from selfsup.config import compile_config, load
from selfsup.errors import DataError
from selfsup.evaluation.results.record import read_result
from selfsup.weights.load import build_with_weights
from selfsup.weights.write import write_checkpoint_atomic
from tests.evaluation.linear_runs import write_config, write_digits

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def broken(tmp_path):
    """A config over 240 training and 220 test images of which one and two cannot be read, and a checkpoint for it."""
    config = write_config(tmp_path)
    for split, places in (('train', (150,)), ('test', (11, 170))):
        write_digits(tmp_path / split, 300 if split == 'train' else 500, 160)
        files = sorted((tmp_path / split).rglob('*.png'))
        for place in places:
            files[place].write_bytes(files[place].read_bytes()[:60])
    model = build_with_weights(compile_config(load(str(config)))['model'], 'random', seed=3)
    return config, write_checkpoint_atomic({'state_dict': model.state_dict()}, tmp_path / 'epoch_1.pth')


@pytest.mark.dist
def test_accuracy_of_one_and_of_two_processes(broken, call, tmp_path):
    config, checkpoint = broken
    alone = call('test', config, checkpoint, '--work_dir', tmp_path / 'one')
    files = len(list((tmp_path / 'test').rglob('*.png')))
    assert f'on {files - 2} images; left out, as they cannot be read: 2' in alone
    command = [
        'bash',
        str(ROOT / 'tools' / 'dist_test.sh'),
        str(config),
        '2',
        str(checkpoint),
        '--work_dir',
        str(tmp_path / 'two'),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1'},
    )
    assert done.returncode == 0, done.stderr
    numbers = re.findall(r'head0_top\d: [\d.]+', alone)
    assert len(numbers) == 2 and re.findall(r'head0_top\d: [\d.]+', done.stdout) == numbers
    assert f'on {files - 2} images; left out' in done.stdout
    assert done.stderr.count('skipped unreadable') == 2  # each once, whichever process met it


def test_knn_says_how_many_it_left_out(broken, call, tmp_path):
    config, checkpoint = broken
    call('knn', config, '--checkpoint', checkpoint, '--k', '1,5', '--work_dir', tmp_path / 'knn')
    settings = read_result(tmp_path / 'knn' / 'knn.json')['settings']
    assert settings['left_out'] == {'train': 1, 'test': 2}
    assert settings['test_images'] == len(list((tmp_path / 'test').rglob('*.png'))) - 2


def test_extraction_names_the_file_in_a_joined_set_too(broken, call, tmp_path):
    """A row of features cannot be left out: it is matched with a label by its number."""
    config, checkpoint = broken
    part = f"dict(type='ExtractDataset', data_source=dict(type='ImageFolder', root={str(tmp_path / 'test')!r}), pipeline=pipeline)"
    (tmp_path / 'data.py').write_text(
        f"pipeline = [dict(type='ToTensor')]\ndata = dict(imgs_per_gpu=32, workers_per_gpu=0, extract=dict(type='ConcatDataset', "
        f'datasets=[{part}, {part}]))\n'
    )
    with pytest.raises(DataError, match=r'\.png cannot be read, and its row cannot hold the features of another image'):
        call(
            'extract',
            config,
            '--checkpoint',
            checkpoint,
            '--dataset-config',
            tmp_path / 'data.py',
            '--layer-ind',
            '4',
            '--work_dir',
            tmp_path / 'features',
        )
