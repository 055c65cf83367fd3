"""Call a tool in this process, as its command line would."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from selfsup.weights.write import write_checkpoint_atomic

from . import voc_miniature

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def call(monkeypatch, capsys):
    """call('count_parameters', args...) -> what tools/count_parameters.py printed; other folders by path: 'benchmarks/x'."""

    def run(name: str, *args: object) -> str:
        path = ROOT / f'{name}.py' if name.startswith('benchmarks/') else ROOT / 'tools' / f'{name}.py'
        monkeypatch.setattr(sys, 'argv', [name, *map(str, args)])
        runpy.run_path(str(path))['main']()
        return capsys.readouterr().out

    return run


BACKBONE = "dict(type='ResNet', depth=18, stage_blocks=(1, 1, 1, 1), base_channels=8, stem='cifar', out_indices=(4,))"
DATA = "data_source=dict(type='Digits', split='{split}', size=16), pipeline=[dict(type='ToTensor')]"
CONFIG = f"""
model = dict(type='Classification', backbone={BACKBONE},
             head=dict(type='ClsHead', with_avg_pool=True, in_channels=64, num_classes=10))
data = dict(imgs_per_gpu=64, workers_per_gpu=0, train=dict(type='ClassificationDataset', {DATA.format(split='train')}),
            val=dict(type='ClassificationDataset', {DATA.format(split='test')}))
optimizer = dict(type='SGD', lr=0.1)
lr_config = dict(policy='fixed')
total_epochs = 1
"""


@pytest.fixture
def config_file(tmp_path) -> Path:
    path = tmp_path / 'tiny.py'
    path.write_text(CONFIG)
    return path


@pytest.fixture
def trained(tmp_path) -> Path:
    """A checkpoint as a run with CONFIG writes it."""
    from selfsup.registry import MODELS

    namespace: dict = {}
    exec(CONFIG, namespace)
    torch.manual_seed(7)
    model = MODELS.build(namespace['model'])
    return write_checkpoint_atomic(
        {
            'state_dict': model.state_dict(),
            'optimizer': {'state': {}},
            'param_schedulers': [],
            'meta': {'epoch': 3, 'config': 'model = 1'},
        },
        tmp_path / 'run' / 'epoch_3.pth',
    )


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
