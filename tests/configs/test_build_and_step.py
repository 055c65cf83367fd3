"""Every shipped training config builds and takes a step on a tiny image folder, on one CPU process and on two."""

import math
from pathlib import Path

import pytest
import torch

from selfsup import config as configs
from tests.distributed.helpers import run_ranks
from tests.resume.runs import train, write_images

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(p for folder in ('selfsup', 'classification', 'quickstart') for p in (ROOT / 'configs' / folder).rglob('*.py'))


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp('images')
    for name in ('a', 'b'):
        write_images(folder / name, 8, size=40)
        (folder / name / 'list.txt').unlink()
    return folder


def options(path: Path, images: Path) -> list[str]:
    """Small overrides: two images of 64 pixels per step, a short queue, no evaluation data."""
    cfg = configs.load(str(path)).cfg
    source = {'type': 'ImageFolder', 'root': str(images)}
    found = [f'data.train.data_source={source}', 'data.imgs_per_gpu=2', 'data.workers_per_gpu=0', 'total_epochs=None', 'total_iters=1',
             'log_config.interval=1']
    if 'optimizer_config' in cfg:
        found.append('optimizer_config.update_interval=1')
    if 'queue_len' in cfg['model']:
        found.append('model.queue_len=6')
    for name in ('pipeline', 'pipeline1', 'pipeline2'):
        for i, step in enumerate(cfg['data']['train'].get(name, [])):
            if step['type'] == 'RandomResizedCrop':
                found.append(f'data.train.{name}.{i}.size=64')
    hooks = [h for h in cfg.get('custom_hooks', []) if h['type'] not in ('KNNHook', 'ValidateHook')]
    return [*found, f'custom_hooks={hooks}']


def check(path: Path, images: Path, work_dir: Path, launcher: str = 'none') -> None:
    train(path, work_dir, *options(path, images), launcher=launcher)
    saved = torch.load(work_dir / 'iter_1.pth', weights_only=True)
    assert saved['meta']['iter'] == 1
    assert all(torch.isfinite(v).all() for v in saved['state_dict'].values() if v.is_floating_point())
    # SGD keeps its momentum per parameter: a step was taken for every trainable one
    assert len(saved['optimizer']['state']) == sum(len(g['params']) for g in saved['optimizer']['param_groups'])
    assert all(math.isfinite(g['lr']) and g['initial_lr'] > 0 for g in saved['optimizer']['param_groups'])


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(ROOT / 'configs')))
def test_one_process(path, images, tmp_path):
    check(path, images, tmp_path)


def _all_in_one_group(files, images, folder):
    for i, path in enumerate(files):
        check(path, images, folder / str(i), launcher='pytorch')


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes(images, tmp_path):
    files = [p for p in FILES if 'bs512' not in p.name and 'bs2048' not in p.name]  # the same code with another batch size
    for start in range(0, len(files), 6):
        run_ranks(_all_in_one_group, 2, files[start:start + 6], images, tmp_path / str(start), timeout=400)
