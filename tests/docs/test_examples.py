"""The examples of new_method.md and new_dataset.md, written to disk and run as a reader would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .pages import ROOT, blocks, commands, files

SHORT = ' --cfg-options total_epochs=None total_iters=2 data.imgs_per_gpu=16 log_config.interval=1'


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder with the repository's tools/ and an empty my_project/."""
    (tmp_path / 'tools').symlink_to(ROOT / 'tools')
    (tmp_path / 'my_project').mkdir()
    return tmp_path


def run_page(name: str, project: Path) -> str:
    """Write the page's files, run its commands in order, training runs cut to two iterations; what they printed."""
    page = ROOT / 'docs' / name
    for file, text in files(page).items():
        (project / 'my_project' / file).write_text(text)
    lines = []
    for command in (c for block in blocks(page, 'bash') for c in commands(block.text)):
        lines.append(command + SHORT if 'tools/train.py' in command else command)
    assert any('tools/train.py' in line for line in lines)
    env = {
        **os.environ,
        'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
        'OMP_NUM_THREADS': '1',
        'PYTHONPATH': '',
        'PYTHONDONTWRITEBYTECODE': '1',
    }
    result = subprocess.run(
        ['bash', '-euxc', '\n'.join(lines)], cwd=project, env=env, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout + result.stderr


@pytest.mark.slow
def test_new_method(project):
    output = run_page('new_method.md', project)
    assert len(re.findall(r'KNNHook after epoch \d+: knn_20', output)) == 4  # two runs, before and after
    assert 'trust' in output and '3 passed' in output
    assert (project / 'work_dirs' / 'soft_nnclr_digits' / 'iter_2.pth').exists()
    assert (project / 'work_dirs' / 'accumulated' / 'iter_2.pth').exists()


def test_new_dataset(project):
    output = run_page('new_dataset.md', project)
    assert 'is the bottleneck' in output and 'all good' in output
    assert (project / 'my_project' / 'views.png').stat().st_size > 10_000
    assert (project / 'work_dirs' / 'frames_simclr' / 'iter_2.pth').exists()


def test_a_misspelt_argument_of_ones_own_class_is_named(project):
    for file, text in files(ROOT / 'docs' / 'new_method.md').items():
        (project / 'my_project' / file).write_text(text.replace('predictor=dict(', 'predicter=dict('))
    command = [sys.executable, 'tools/print_config.py', 'my_project/soft_nnclr_digits.py']
    env = {**os.environ, 'PYTHONPATH': 'my_project', 'PYTHONDONTWRITEBYTECODE': '1'}
    result = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True)
    assert result.returncode == 1 and 'Traceback' not in result.stderr
    assert re.search(
        r"model\.predicter \(my_project/soft_nnclr_digits\.py:\d+\) is not an argument of SoftNNCLR\. Did you mean 'predictor'\?",
        result.stderr,
    )
