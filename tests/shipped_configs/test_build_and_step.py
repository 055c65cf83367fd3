"""Every shipped training config builds and takes two optimizer steps on a tiny image folder, on one CPU process and on two."""

from pathlib import Path

import pytest
import torch

from tests.distributed.helpers import run_ranks

from .small import check, image_folder

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(
    p
    for folder in ('selfsup', 'classification', 'quickstart', 'benchmarks')
    for p in (ROOT / 'configs' / folder).rglob('*.py')
)
# the same code as another file, with other numbers
TWINS = (
    'bs512',
    'bs2048',
    'lr0_',
    'places205',
    'withoutsobel',
    'ensure_neg',
    'slak_small',
    'slak_base',
    '_120e',
    'spark_r1',
    'spark_r200',
    'convnextv2_femto',
    'convnextv2_pico',
    'convnextv2_large',
    'convnextv2_huge',
    '_after22k',
    'cifar10_ep200',
    'finetuning/imagenet/spark_convnext_l.py',
    'finetuning/imagenet/spark_convnext_b',
)


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp('images'))


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(ROOT / 'configs')))
def test_one_process(path, images, tmp_path):
    runner = check(path, images, tmp_path)
    saved = torch.load(tmp_path / 'latest.pth', weights_only=True, mmap=True)
    assert saved['meta']['iter'] == runner.iter


def _all_in_one_group(files, images, folder):
    for i, path in enumerate(files):
        check(path, images, folder / str(i), launcher='pytorch')


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes(images, tmp_path):
    files = [p for p in FILES if not any(twin in str(p) for twin in TWINS) or p.stem == 'r50_lr0_01_head1']
    for start in range(0, len(files), 6):
        run_ranks(_all_in_one_group, 2, files[start : start + 6], images, tmp_path / str(start), timeout=400)
