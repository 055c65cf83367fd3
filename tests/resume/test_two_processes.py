"""Exact resume with two gloo processes, and what two processes share."""

import pytest
import torch

from selfsup.errors import CheckpointError
from tests.distributed.helpers import run_ranks

from .runs import differences, train, write_config

pytestmark = pytest.mark.dist


def _train(config, work_dir, options, stop_after=None, auto_resume=False):
    train(config, work_dir, *options, stop_after=stop_after, launcher='pytorch', auto_resume=auto_resume)


@pytest.mark.slow
@pytest.mark.parametrize(('workers', 'interval'), [(0, 1), (2, 2)])
def test_stopped_and_resumed_equals_straight(tmp_path, workers, interval):
    config = write_config(tmp_path / 'config')
    options = (
        'checkpoint_config.by_epoch=False',
        f'data.workers_per_gpu={workers}',
        f'optimizer_config.update_interval={interval}',
        'data.imgs_per_gpu=2',
    )
    run_ranks(_train, 2, config, tmp_path / 'straight', options, init_group=False, timeout=400)
    run_ranks(_train, 2, config, tmp_path / 'part', options, 9, init_group=False, timeout=400)
    assert not (tmp_path / 'part' / 'iter_18.pth').exists()
    run_ranks(_train, 2, config, tmp_path / 'part', options, None, True, init_group=False, timeout=400)
    assert differences(tmp_path / 'straight' / 'iter_18.pth', tmp_path / 'part' / 'iter_18.pth') == []


@pytest.mark.slow
def test_two_processes_see_the_data_of_one_and_cannot_resume_it(tmp_path):
    """Same global batch: the queue holds the same number of keys; resuming in another world size is refused on every rank."""
    config = write_config(tmp_path / 'config')
    one = train(config, tmp_path / 'one', 'total_epochs=1')
    run_ranks(
        _train, 2, config, tmp_path / 'two', ('total_epochs=1', 'data.imgs_per_gpu=2'), init_group=False, timeout=400
    )
    a, b = (torch.load(p / 'epoch_1.pth', weights_only=True) for p in (one, tmp_path / 'two'))
    assert a['meta']['iter'] == b['meta']['iter'] == 6
    assert torch.equal(a['state_dict']['queue_ptr'], b['state_dict']['queue_ptr'])
    with pytest.raises(CheckpointError, match=r'number of processes was 2 and is 1 \(start 2 processes\)'):
        train(config, tmp_path / 'other', resume_from=str(tmp_path / 'two' / 'epoch_1.pth'))
