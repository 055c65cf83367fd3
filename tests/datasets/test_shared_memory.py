"""How much shared memory loader workers need, what is said where it is not there, and what a dead worker says."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch
from torch.utils.data import get_worker_info

from selfsup import cli
from selfsup.datasets.loaders import build_loader, shared_memory
from selfsup.datasets.loaders.shared_memory import check_room, free_bytes, tensor_bytes
from selfsup.errors import DataError, explain_worker

CPU = torch.device('cpu')


class Views(torch.utils.data.Dataset):
    """Two float views of 4 x 4 pixels and a number: 2 * 3 * 16 * 4 + 8 = 392 bytes."""

    prefetch = False

    def __len__(self):
        return 40

    def __getitem__(self, index):
        return {'img': torch.rand(2, 3, 4, 4), 'idx': torch.tensor(index)}


class Full(Views):
    """What torch raises in a worker when /dev/shm is full."""

    text = 'unable to allocate shared memory(shm) for file </torch_17_3_0>: No space left on device (28)'

    def __getitem__(self, index):
        if get_worker_info() is not None:
            raise RuntimeError(self.text)
        return super().__getitem__(index)


class Descriptors(Full):
    text = 'received 0 items of ancdata'


class Faulty(Full):
    text = 'a fault of the data set, in /opt/torch_env/shared memory.py'


def loader_of(dataset, workers=1, batch=8, **cfg):
    return build_loader(dict(batch_size=batch, num_workers=workers, dataset=dataset, **cfg), seed=0, device=CPU)


def test_bytes_of_nested_tensors():
    nested = {
        'a': [torch.zeros(3), torch.zeros(2, 2, dtype=torch.uint8)],
        'b': (torch.zeros(1, dtype=torch.int64), 5, 'text'),
    }
    assert tensor_bytes(nested) == 12 + 4 + 8


@pytest.mark.parametrize(
    ('workers', 'batch', 'ahead', 'batches', 'images'),
    [
        (2, 8, 2, 5, 8),  # four read ahead and one in use
        (1, 8, 3, 4, 8),
        (2, 8, 9, 5, 8),  # an epoch has no more than five
        (1, 64, 2, 1, 40),  # one batch of all images
    ],
)
def test_need_is_what_the_workers_read_ahead(workers, batch, ahead, batches, images):
    loader = loader_of(Views(), workers, batch, prefetch_factor=ahead)
    assert loader.shared_memory_needed() == 392 * images * batches


def test_without_workers_nothing_is_shared():
    assert loader_of(Views(), workers=0).shared_memory_needed() == 0


def test_too_little_is_one_line_with_the_size(monkeypatch):
    loader = loader_of(Views(), workers=2)
    needed = loader.shared_memory_needed()
    check_room(needed, loader, free=needed)
    with pytest.raises(
        DataError,
        match=r'^/dev/shm has 0\.0 MB free, but the loader workers need up to 0\.0 MB: 2 workers '
        r'\(workers_per_gpu\) with 2 batches each \(prefetch_factor\), batches of 8 \(imgs_per_gpu\).*'
        r'in 4 processes\. Give more shared memory \(docker run --shm-size=8g[^\n]*$',
    ):
        check_room(needed, loader, processes=4, free=needed - 1)
    monkeypatch.setattr(shared_memory, 'free_bytes', lambda: 10)
    with pytest.raises(DataError, match=r'^/dev/shm has 0\.0 MB free'):
        next(iter(loader))  # before a worker starts
    monkeypatch.setattr(shared_memory, 'free_bytes', lambda: None)  # a system without /dev/shm
    assert next(iter(loader))['img'].shape == (8, 2, 3, 4, 4)
    loader.close()


def test_dockers_64_mb_are_too_little_for_256_images_of_two_views():
    loader = loader_of(Views(), workers=4, batch=256)
    loader._sample_bytes = 2 * 3 * 224 * 224 * 4
    loader.sampler.total = 10_000
    needed = loader.shared_memory_needed()
    assert needed == 9 * 256 * 1_204_224
    with pytest.raises(
        DataError, match=r'has 64\.0 MB free, but the loader workers need up to 2,646 MB: .* 1\.1 MB per image'
    ):
        check_room(needed, loader, free=64 * 2**20)


def test_free_bytes_are_those_of_the_system():
    found = os.statvfs('/dev/shm')
    assert free_bytes() == pytest.approx(found.f_bavail * found.f_frsize, rel=0.2)


@pytest.mark.parametrize(
    ('kind', 'message'),
    [
        (Full, r'^The loader workers ran out of shared memory, /dev/shm \(.*torch_17_3_0[^\n]*$'),
        (Descriptors, r'^The loader workers hold too many open files .*ulimit -n[^\n]*$'),
    ],
)
def test_what_a_worker_runs_out_of_is_one_line(kind, message):
    loader = loader_of(kind())
    with pytest.raises(DataError, match=message):
        list(loader)
    loader.close()


def test_no_room_for_the_queues_to_the_workers():
    class NoRoom:
        def __iter__(self):
            raise OSError(28, 'No space left on device')

    loader = loader_of(Views())
    loader._started, loader._loader = True, NoRoom()
    with pytest.raises(
        DataError,
        match=r'^The loader workers ran out of shared memory, /dev/shm \(no queue [^\n]*No space left on device',
    ):
        next(iter(loader))


def test_a_fault_of_the_data_set_keeps_its_traceback():
    loader = loader_of(Faulty())
    with pytest.raises(RuntimeError, match='a fault of the data set'):
        list(loader)
    loader.close()


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        (
            'DataLoader worker (pid 12) is killed by signal: Killed. ',
            'A loader worker died (DataLoader worker (pid 12) is killed by signal: ',
        ),
        (
            'DataLoader worker (pid(s) 1, 2) exited unexpectedly',
            'A loader worker died (DataLoader worker (pid(s) 1, 2) exited',
        ),
        (
            "DataLoader worker (pid 12) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared memory. "
            'Please try to raise your shared memory limit.',
            'The loader workers ran out of shared memory, /dev/shm (DataLoader worker (pid 12)',
        ),
        ('[Errno 24] Too many open files', 'The loader workers hold too many open files ([Errno 24]'),
    ],
)
def test_messages_of_torch_in_one_line(text, expected):
    found = str(explain_worker(text))
    assert found.startswith(expected) and '\n' not in found


@pytest.mark.parametrize(
    'text', ['', 'size mismatch', '\n', 'Caught ValueError in DataLoader worker process 0.\nTraceback\nValueError: x']
)
def test_other_messages_are_left_alone(text):
    assert explain_worker(text) is None


def test_a_worker_killed_while_a_tool_does_something_else(capsys):
    """torch's signal handler raises wherever the process is, so not in the loader alone."""

    def main():
        raise RuntimeError('DataLoader worker (pid 12) is killed by signal: Killed. ')

    with pytest.raises(SystemExit) as ended:
        cli.run(main)
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith('error: A loader worker died (DataLoader worker (pid 12)')


def test_a_killed_worker_ends_training_with_one_line(tmp_path):
    from tests.resume.runs import write_config

    config = write_config(tmp_path)
    hook = textwrap.dedent("""
        import os, signal, time, torch
        from mmengine.hooks import Hook
        from selfsup.registry import HOOKS

        @HOOKS.register_module()
        class KillAWorker(Hook):
            def before_train_epoch(self, runner):
                self.loader = runner.train_loop.dataloader._loader

            def after_train_iter(self, runner, **kwargs):
                if runner.iter == 1:  # here, in the middle of a step, the signal handler raises
                    os.kill(self.loader._iterator._workers[0].pid, signal.SIGKILL)
                    for _ in range(200):
                        time.sleep(0.05)
    """)
    (tmp_path / 'kill_a_worker.py').write_text(hook)
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    done = subprocess.run(
        [
            sys.executable,
            f'{root}/tools/train.py',
            str(config),
            '--work_dir',
            str(tmp_path / 'work'),
            '--cfg-options',
            "custom_imports.imports=['kill_a_worker']",
            "custom_hooks=[{'type': 'KillAWorker'}]",
            'data.workers_per_gpu=2',
        ],
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, 'PYTHONPATH': f'{root}:{tmp_path}', 'OMP_NUM_THREADS': '1'},
    )
    assert done.returncode == 1 and 'Traceback' not in done.stdout + done.stderr
    last = done.stderr.splitlines()[-1]
    assert (
        last.startswith('error: A loader worker died (DataLoader worker (pid ')
        and 'is killed by signal: Killed' in last
    )
