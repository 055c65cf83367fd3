"""How many workers a loader has, and what happens where the machine gives too few open files."""

import os
import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from selfsup import machine
from selfsup.datasets.loaders import build_loader
from selfsup.datasets.loaders.workers import MOST, allow_open_files, number_of_workers
from selfsup.errors import ConfigError

from .loader_runs import FirstDigits


@pytest.fixture
def of_a_machine(tmp_path, monkeypatch):
    """Files of control groups by their path below /sys/fs/cgroup; affinity and place of the process in them."""
    real = Path.read_text

    def set_up(files, lines='0::/a/b\n', affinity=range(8), free='MemAvailable: 1000 kB\n'):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        told = {'/proc/self/cgroup': lines, '/proc/meminfo': free}
        monkeypatch.setattr(machine, 'GROUPS', tmp_path)
        monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(affinity))
        monkeypatch.setattr(Path, 'read_text', lambda self: told.get(str(self)) or real(self))

    return set_up


@pytest.mark.parametrize(
    ('files', 'lines', 'expected'),
    [
        ({}, '', 8),
        ({'a/cpu.max': 'max 100000'}, '0::/a/b\n', 8),
        ({'a/cpu.max': '350000 100000', 'a/b/cpu.max': 'max 100000'}, '0::/a/b\n', 4),
        ({'a/cpu.max': '300000 100000', 'a/b/cpu.max': '150000 100000'}, '0::/a/b\n', 2),
        ({'a/cpu.max': '10000 100000'}, '0::/a/b\n', 1),
        ({'cpu.max': '200000 100000'}, '0::/\n', 2),
        ({'cpu/j/cpu.cfs_quota_us': '300000', 'cpu/j/cpu.cfs_period_us': '100000'}, '4:cpu,cpuacct:/j\n', 3),
        ({'cpu/j/cpu.cfs_quota_us': '-1', 'cpu/j/cpu.cfs_period_us': '100000'}, '4:cpu:/j\n', 8),
        ({'a/cpu.max': 'nonsense'}, '0::/a\n', 8),
    ],
)
def test_cores_are_those_of_the_affinity_and_the_quota(of_a_machine, files, lines, expected):
    of_a_machine(files, lines)
    assert machine.cores() == expected


def test_free_memory_is_that_of_the_tightest_group(of_a_machine):
    of_a_machine(
        {'a/memory.max': '900000', 'a/memory.current': '500000', 'a/memory.stat': 'anon 1\ninactive_file 100\n'}
    )
    assert machine.free_memory() == 400_100
    of_a_machine({'a/memory.max': 'max'})
    assert machine.free_memory() == 1_024_000


def test_the_number_of_workers_follows_from_cores_processes_and_batches(of_a_machine, monkeypatch):
    of_a_machine({}, affinity=range(64))
    assert number_of_workers(3, 100) == 3 and number_of_workers(0, 100) == 0
    assert number_of_workers('auto', 1000) == MOST and number_of_workers('auto', 5) == 5
    monkeypatch.setattr('selfsup.distributed.gather_objects', lambda mine: [mine] * 8)
    assert number_of_workers('auto', 1000, together=True) == 8
    monkeypatch.setattr('selfsup.distributed.gather_objects', lambda mine: [mine, ('elsewhere', mine[1])])
    assert number_of_workers('auto', 1000, together=True) == MOST


def test_auto_is_a_setting_of_loaders():
    def loader_of(workers):
        dataset = dict(type='ExtractDataset', data_source=FirstDigits(30), pipeline=[dict(type='ToTensor')])
        return build_loader(
            dict(batch_size=10, num_workers=workers, dataset=dataset), seed=0, device=torch.device('cpu')
        )

    assert loader_of('auto').num_workers == min(3, machine.cores())
    with pytest.raises(ConfigError, match='num_workers'):
        loader_of('many')


def test_the_soft_limit_of_open_files_is_raised():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        allow_open_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(65536, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


SCRIPT = """
    import os, resource, sys, torch
    from selfsup import cli
    from selfsup.datasets.loaders import build_loader

    class Views(torch.utils.data.Dataset):
        prefetch = False
        def __len__(self):
            return 4000
        def __getitem__(self, index):
            return {'img': torch.zeros(3, 4, 4), 'idx': torch.tensor(index)}

    def main():
        loader = build_loader(
            dict(batch_size=1, num_workers=2, prefetch_factor=2, dataset=Views()), seed=0, device=torch.device('cpu'))
        most = len(os.listdir('/proc/self/fd')) + int(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        kept = [batch for batch in loader]

    cli.run(main)
"""


@pytest.mark.parametrize('more', [5, 60])
def test_too_few_open_files_end_in_one_line(more):
    """5: the queues of the workers cannot be made; 60: their batches, which are kept, cannot be received."""
    done = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(SCRIPT), str(more)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith('error')]
    assert 'too many open files' in line and 'ulimit -n 65536' in line
    assert 'Traceback' not in done.stderr
