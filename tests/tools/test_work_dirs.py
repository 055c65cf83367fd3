"""`ln -s DISK work_dirs`, as the guide says: what is trained lies on the other disk, and git does not see the link."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from selfsup.config import compile_config, load, work_dir_of
from selfsup.errors import CheckpointError
from tests.resume.runs import train, write_config

ROOT = Path(__file__).resolve().parents[2]


def test_no_folder_is_in_the_way_of_the_link():
    """`ln -s DISK work_dirs` beside a folder of that name makes the link inside of it."""
    tracked = subprocess.run(['git', 'ls-files', 'work_dirs'], cwd=ROOT, capture_output=True, text=True).stdout
    assert tracked == ''


@pytest.mark.parametrize('kind', ['folder', 'link'])
def test_git_ignores_it_as_folder_and_as_link(tmp_path, kind):
    subprocess.run(['git', 'init', '-q', str(tmp_path)], check=True)
    (tmp_path / '.gitignore').write_text((ROOT / '.gitignore').read_text())
    if kind == 'link':
        (tmp_path / 'disk').mkdir()
        (tmp_path / 'work_dirs').symlink_to(tmp_path / 'disk')
    else:
        (tmp_path / 'work_dirs' / 'a').mkdir(parents=True)
        (tmp_path / 'work_dirs' / 'a' / 'log.txt').write_text('')
    status = subprocess.run(
        ['git', 'status', '--porcelain'], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert status == '?? .gitignore\n'


def test_a_run_goes_through_the_link(tmp_path, monkeypatch):
    project, disk = tmp_path / 'project', tmp_path / 'disk'
    disk.mkdir()
    (project / 'configs').mkdir(parents=True)
    config = write_config(project / 'configs', 'SimCLR')
    os.symlink(disk, project / 'work_dirs')
    monkeypatch.chdir(project)
    work_dir = work_dir_of(compile_config(load('configs/simclr.py')), 'configs/simclr.py')
    train(config, work_dir, 'total_epochs=1')
    assert (disk / 'simclr' / 'epoch_1.pth').is_file() and (project / work_dir / 'latest.pth').exists()


def test_a_link_to_nothing_is_one_clear_error(tmp_path, monkeypatch):
    config = write_config(tmp_path, 'SimCLR')
    (tmp_path / 'work_dirs').symlink_to(tmp_path / 'no such disk')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match='work_dirs/simclr cannot be used as work dir'):
        train(config, 'work_dirs/simclr', 'total_epochs=1')
