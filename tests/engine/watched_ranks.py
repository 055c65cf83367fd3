"""Ranks for tests of the watch: forked from one process that has imported everything, so that each starts at once."""

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import torch

from selfsup.cli import run as run_tool
from selfsup.cluster.tree import descendants
from selfsup.datasets.classification import ClassificationDataset
from selfsup.datasets.data_sources.digits import Digits
from selfsup.datasets.loaders import build_loader
from selfsup.distributed import sum as sum_of_ranks
from selfsup.engine.processes.launch import init_distributed, shut_down
from selfsup.heartbeat import beat, working
from tests.distributed.helpers import free_port

TIMEOUT_S = 6.0
FORKS = multiprocessing.get_context('forkserver')
FORKS.set_forkserver_preload([__name__])


class Ranks:
    """`world` processes that each call `act(rank, folder)` within a group; what they print is in `folder/out<rank>`."""

    def __init__(self, folder: Path, act, world=2, timeout_s=TIMEOUT_S):
        self.folder, port = folder, free_port()
        self.processes = [
            FORKS.Process(target=_rank, args=(rank, world, port, folder, act, timeout_s)) for rank in range(world)
        ]
        for process in self.processes:
            process.start()

    def pid(self, rank):
        return self.processes[rank].pid

    def until(self, name, seconds=120.0):
        """Wait until each has made the file `name` followed by its rank."""
        files = [self.folder / f'{name}{rank}' for rank in range(len(self.processes))]
        end = time.monotonic() + seconds
        while not all(file.exists() for file in files):
            assert time.monotonic() < end, self.text()
            time.sleep(0.05)

    def end(self, seconds=120.0):
        """Exit statuses."""
        end = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0.0, end - time.monotonic()))
        return [process.exitcode for process in self.processes]

    def text(self):
        return ''.join(path.read_text() for path in sorted(self.folder.glob('out*')))

    def kill(self):
        for process in self.processes:
            if process.is_alive():
                for pid in [*descendants(process.pid), process.pid]:
                    os.kill(pid, signal.SIGKILL)
                process.join()


def _rank(rank, world, port, folder, act, timeout_s):
    out = os.open(folder / f'out{rank}', os.O_CREAT | os.O_WRONLY)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.stdout, sys.stderr = open(1, 'w', buffering=1, closefd=False), open(2, 'w', buffering=1, closefd=False)
    place = {'RANK': rank, 'LOCAL_RANK': rank, 'WORLD_SIZE': world, 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': port}
    os.environ.update({name: str(value) for name, value in place.items()})
    torch.set_num_threads(1)

    def main():
        init_distributed('pytorch', timeout_s=timeout_s)
        try:
            act(rank, folder)
        finally:
            shut_down()

    run_tool(main)


# ---- what ranks do ----


def step(rank, folder):
    """Steps without an end, in which the ranks wait for each other."""
    for number in range(10**6):
        beat(f'iteration {number + 1}', waiting=True)
        sum_of_ranks(torch.ones(1))
        (folder / f'ready{rank}').touch()
        time.sleep(0.02)


class DeadMount(Digits):
    """Digits on a mount that dies after some images: a pipe that nobody writes into."""

    def __init__(self, pipe):
        super().__init__()
        self.pipe, self.reads = pipe, 0

    def get_sample(self, index):
        self.reads += 1
        if self.reads > 40:
            self.pipe.read_bytes()
        return super().get_sample(index)


def train_on_dead_mount(rank, folder, workers):
    """Steps over batches; the mount of rank 1 dies."""
    pipe = folder / f'pipe{rank}'
    os.mkfifo(pipe)
    source = DeadMount(pipe) if rank else Digits()
    dataset = ClassificationDataset(source, pipeline=[{'type': 'ToTensor'}])
    section = {'batch_size': 4, 'dataset': dataset, 'num_workers': workers}
    loader = build_loader(section, seed=0, device=torch.device('cpu'), rank=rank, world_size=2)
    for number, _ in enumerate(loader):
        beat(f'iteration {number + 1}', waiting=True)
        sum_of_ranks(torch.ones(1))
        (folder / f'below{rank}').write_text(' '.join(map(str, descendants(os.getpid()))))


def work_for_long(rank, folder):
    """Rank 0 computes for more than twice `TIMEOUT_S`, in one call; the other waits for it in a step."""
    beat('iteration 1', waiting=True)
    if rank == 0:
        with working('clustering'):
            end = time.monotonic() + 2.5 * TIMEOUT_S
            while time.monotonic() < end:
                torch.randn(200, 200) @ torch.randn(200, 200)
    sum_of_ranks(torch.ones(1))
    beat('done')
    (folder / f'ready{rank}').touch()
