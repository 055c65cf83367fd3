"""A run that stopped and resumed equals one that did not, bit for bit: weights, optimizer, queue, order, views."""

import pytest
import torch

from .runs import METHODS, differences, train, write_config

EVERY = 'checkpoint_config.by_epoch=False'


@pytest.fixture(scope='module')
def configs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('configs')
    return {m: write_config(folder / m, m) for m in METHODS}


def check(config, tmp_path, stop, *options, final='iter_18.pth'):
    straight = train(config, tmp_path / 'straight', *options)
    part = train(config, tmp_path / 'resumed', *options, stop_after=stop)
    found = sorted(p.name for p in part.glob('iter_*.pth'))
    assert found, 'the interrupted run saved nothing'
    assert not (part / final).exists()
    train(config, part, *options, auto_resume=True)
    assert differences(straight / final, part / final) == []


@pytest.mark.parametrize('stop', [1, 4, 6, 11, 17])
def test_any_iteration(configs, tmp_path, stop):
    check(configs['MOCO'], tmp_path, stop, EVERY)


@pytest.mark.parametrize('method', ['SimCLR', 'BYOL', 'DenseCL', 'MoCoV3', 'NNCLR', 'SparK', 'FCMAE'])
def test_every_method(configs, tmp_path, method):
    check(configs[method], tmp_path, 8, EVERY)


@pytest.mark.slow
@pytest.mark.parametrize('stop', [5, 12])
def test_with_workers(configs, tmp_path, stop):
    check(configs['MOCO'], tmp_path, stop, EVERY, 'data.workers_per_gpu=2')


def test_the_number_of_workers_changes_nothing(configs, tmp_path):
    none = train(configs['MOCO'], tmp_path / 'none', EVERY, 'total_epochs=1')
    two = train(configs['MOCO'], tmp_path / 'two', EVERY, 'total_epochs=1', 'data.workers_per_gpu=2')
    assert differences(none / 'iter_6.pth', two / 'iter_6.pth') == []


def test_accumulation_never_leaves_half_a_step_in_a_checkpoint(configs, tmp_path):
    """Windows of 4 in epochs of 6 iterations: steps after 4, 6, 10, 12, 16, 18; nothing is saved in between."""
    options = (EVERY, 'optimizer_config.update_interval=4')
    work_dir = train(configs['MOCO'], tmp_path / 'all', *options)
    assert sorted(int(p.stem.split('_')[1]) for p in work_dir.glob('iter_*.pth')) == [4, 6, 10, 12, 16, 18]
    check(configs['MOCO'], tmp_path, 13, *options)


def test_epoch_checkpoints_and_mixed_precision(configs, tmp_path):
    options = ('use_fp16=True', 'optimizer_config.grad_clip={"max_norm": 1.0}')
    straight = train(configs['MOCO'], tmp_path / 'straight', *options)
    part = train(configs['MOCO'], tmp_path / 'part', *options, stop_after=15)  # in mid-epoch: back to epoch 2
    train(configs['MOCO'], part, *options, resume_from=str(part / 'epoch_2.pth'))
    assert differences(straight / 'epoch_3.pth', part / 'epoch_3.pth') == []


def test_iteration_counted_runs(configs, tmp_path):
    options = (EVERY, 'total_epochs=None', 'total_iters=10', 'checkpoint_config.interval=3')
    check(configs['MOCO'], tmp_path, 8, *options, final='iter_10.pth')


def test_a_longer_run_goes_on_in_the_epoch_in_which_the_first_ended(configs, tmp_path):
    options = ('total_epochs=None', 'lr_config=None', 'checkpoint_config.by_epoch=True')
    straight = train(configs['MOCO'], tmp_path / 'straight', *options, 'total_iters=16')
    part = train(configs['MOCO'], tmp_path / 'part', *options, 'total_iters=8')
    saved = torch.load(part / 'epoch_2.pth', weights_only=True)['meta']
    assert (saved['epoch'], saved['iter']) == (2, 8)  # of 6 iterations each
    train(configs['MOCO'], part, *options, 'total_iters=16', auto_resume=True)
    assert differences(straight / 'epoch_3.pth', part / 'epoch_3.pth') == []


def test_another_seed_gives_another_run(configs, tmp_path):
    """The comparison can fail: a different seed changes weights, optimizer state and queue."""
    one = train(configs['MOCO'], tmp_path / 'one', 'total_epochs=1', seed=0)
    two = train(configs['MOCO'], tmp_path / 'two', 'total_epochs=1', seed=1)
    found = differences(one / 'epoch_1.pth', two / 'epoch_1.pth')
    assert any('queue' in f for f in found)
    assert any('optimizer' in f for f in found)
    saved = torch.load(one / 'epoch_1.pth', weights_only=True)
    assert saved['meta']['fingerprint']['seed'] == 0
