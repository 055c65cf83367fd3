"""What saving in the background leaves in forked workers, and how much memory it takes."""

import logging
import os
import time

import pytest
import torch
from torch import nn

from selfsup import distributed
from selfsup.engine.resume.snapshot import Destination, Snapshot
from selfsup.engine.resume.writer import Writer, Written
from selfsup.models.memories.sharded import ShardedRows
from selfsup.weights.write import write_checkpoint_atomic
from tests.distributed.helpers import run_ranks


class _Descriptors(torch.utils.data.Dataset):
    """What a loader worker has open; it logs, as a thread that logs may have held the lock."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        logging.getLogger('selfsup').info('a worker reads %d', index)
        torch.randn(300, 300) @ torch.randn(300, 300)
        paths = []
        for number in os.listdir('/proc/self/fd'):
            try:
                paths.append(os.readlink(f'/proc/self/fd/{number}'))
            except OSError:
                continue
        return '\n'.join(paths)


def test_workers_forked_while_a_file_is_written(tmp_path):
    """Again and again: none of them hangs, or has the file open, whose space would stay taken after it is removed."""
    log, snapshot, content = logging.getLogger('selfsup'), Snapshot(), {'x': torch.randn(1 << 20)}
    writer, end, forks_in_a_write = Writer(log, lambda: None), time.monotonic() + 600, 0
    for number in range(8):
        writer.start(
            f'{number}.pth', snapshot, lambda save, n=number: _write_often(tmp_path / f'{n}.pth', content, save, log)
        )
        time.sleep(0.003 * number)
        for _ in range(2):
            loader = torch.utils.data.DataLoader(_Descriptors(), num_workers=1, timeout=120)
            seen = '\n'.join(text for batch in loader for text in batch)
            assert str(tmp_path) not in seen and '/dev/null' in seen and time.monotonic() < end
        assert writer.finish()
        forks_in_a_write += len(writer.take_written())
    assert forks_in_a_write == 8 and len(list(tmp_path.glob('*.pth'))) == 8 and not list(tmp_path.glob('.*'))
    assert (
        write_checkpoint_atomic(content, tmp_path / 'same.pth').read_bytes()[:4]
        == (tmp_path / '0.pth').read_bytes()[:4]
    )
    writer.close()


def _write_often(path, content, save, log, times=6):
    start = time.monotonic()
    for _ in range(times):
        log.debug('the thread logs')
        write_checkpoint_atomic(content, path, save)
    return Written(path, 0, time.monotonic() - start)


ROWS, DIM = 200_000, 256  # 205 MB


def _peak(folder):
    """By how much the peak of the memory of this process grew with a save of a sharded bank, in bytes."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.bank = ShardedRows(ROWS, DIM)

    model, snapshot, log = Model(), Snapshot(), logging.getLogger('selfsup')
    model.bank.shard.copy_(torch.arange(len(model.bank.shard))[:, None] * 2 + distributed.rank())
    writer = Writer(log, lambda: None)
    distributed.gather_to_main(torch.zeros(1000, 10))  # what the first collective takes is not counted
    before = _high_water()
    for number in (1, 2):  # the second one is begun while the first is written
        snapshot.begin()

        def room(name, shape, dtype):
            table = writer.table(name, shape, dtype)
            snapshot.adopt(table)
            return table

        state = snapshot.copy(dict(model.state_dict(destination=Destination(room))))
        snapshot.finish()
        if distributed.is_main():
            path = folder / f'{number}.pth'
            writer.start(path.name, snapshot, lambda save, p=path, s=state: _write_often(p, s, save, log, times=1))
    writer.finish()
    writer.close()
    grown = _high_water() - before
    if distributed.is_main():
        rows = torch.load(folder / '2.pth', mmap=True)['bank.rows']
        assert torch.equal(rows[:, 3], torch.arange(float(ROWS)))
    return grown


def _high_water():
    with open('/proc/self/status') as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith('VmHWM'))


@pytest.mark.dist
def test_a_sharded_bank_is_never_there_twice(tmp_path):
    table = 4 * ROWS * DIM
    main, other = run_ranks(_peak, 2, tmp_path, timeout=400)
    assert 0.9 * table < main < 1.15 * table
    assert other < 0.1 * table
