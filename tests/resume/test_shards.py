"""A run on tar shards that is stopped in the middle of a shard goes on to equal bytes, for any number of workers and with two processes."""

import warnings

import pytest

from selfsup.errors import CheckpointError, DataError
from tests.datasets.tar_shards import cut, samples, write_shards, write_tar
from tests.distributed.helpers import run_ranks

from .runs import differences, train, write_config

BY_ITERATION = ('checkpoint_config.by_epoch=False', 'total_epochs=2', 'checkpoint_config.max_keep_ckpts=3')
STOP, LAST = 8, 'iter_12.pth'  # six iterations of 4 images in each epoch; blocks of 5, 5, 5, 5 and 4


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def options(folder, *more, window=2):
    return (
        *BY_ITERATION,
        f'data.train.data_source=wds:{folder}?cache_bytes=40kB',  # too little for all: shards are fetched again
        f"data.sampler=dict(type='WindowSampler', window={window})",
        *more,
    )


def shards(tmp_path):
    write_shards(tmp_path / 'shards', 4, 5, '.tar.gz')
    write_tar(tmp_path / 'shards/train-004.tar.gz', samples(20, 4), 'w:gz')
    return tmp_path / 'shards'


def test_stopped_in_the_middle_of_a_shard(tmp_path):
    config, folder = write_config(tmp_path / 'config'), shards(tmp_path)
    straight = train(config, tmp_path / 'straight', *options(folder), curves=False) / LAST
    for workers in (0, 1, 3):
        more = f'data.workers_per_gpu={workers}'
        part = train(config, tmp_path / f'{workers}', *options(folder, more), stop_after=STOP, curves=False)
        assert not (part / LAST).exists()
        on = train(config, part, *options(folder, more), auto_resume=True, curves=False) / LAST
        assert differences(straight, on) == []


def _train(config, work_dir, given, stop_after=None, auto_resume=False):
    train(config, work_dir, *given, stop_after=stop_after, launcher='pytorch', auto_resume=auto_resume)


@pytest.mark.dist
@pytest.mark.slow
def test_two_processes(tmp_path):
    config, folder = write_config(tmp_path / 'config'), shards(tmp_path)
    given = options(folder, 'data.imgs_per_gpu=2', 'data.workers_per_gpu=1')
    run_ranks(_train, 2, config, tmp_path / 'straight', given, init_group=False, timeout=400)
    run_ranks(_train, 2, config, tmp_path / 'part', given, STOP, init_group=False, timeout=400)
    assert not (tmp_path / 'part' / LAST).exists()
    run_ranks(_train, 2, config, tmp_path / 'part', given, None, True, init_group=False, timeout=400)
    assert differences(tmp_path / 'straight' / LAST, tmp_path / 'part' / LAST) == []


def test_another_order_is_refused(tmp_path):
    """Packed shards are shuffled in windows; the same images from plain ones would come in another order."""
    config, folder = write_config(tmp_path / 'config'), shards(tmp_path)
    given = [*BY_ITERATION, f'data.train.data_source=wds:{folder}']
    first = train(config, tmp_path / 'first', *given, stop_after=STOP, curves=False)
    with pytest.raises(
        CheckpointError, match=r'sampler was .*WindowSampler.* and is .*EpochSampler.*set data.sampler='
    ):
        train(
            config, tmp_path / 'on', *BY_ITERATION, f'data.train.data_source=wds:{folder}?sequential=no',
            resume_from=str(first / f'iter_{STOP}.pth'), curves=False,
        )  # fmt: skip
    straight = train(config, tmp_path / 'straight', *given, curves=False)
    # the name of the sampler that was chosen is what the refusal says, and with it the run goes on as it would have
    again = train(
        config, tmp_path / 'again', *BY_ITERATION, f'data.train.data_source=wds:{folder}?sequential=no',
        "data.sampler=dict(type='WindowSampler', window=16)", resume_from=str(first / f'iter_{STOP}.pth'), curves=False,
    )  # fmt: skip
    assert differences(straight / LAST, again / LAST) == []


def test_shards_that_moved_and_shards_that_changed(tmp_path):
    config, folder = write_config(tmp_path / 'config'), shards(tmp_path)
    given = options(folder)
    first = train(config, tmp_path / 'first', *given, stop_after=STOP, curves=False) / f'iter_{STOP}.pth'
    straight = train(config, tmp_path / 'straight', *given, curves=False) / LAST
    moved = folder.rename(tmp_path / 'moved')
    on = train(config, tmp_path / 'on', *options(moved), resume_from=str(first), curves=False) / LAST
    assert differences(straight, on) == []
    write_tar(moved / 'train-000.tar.gz', samples(50, 5), 'w:gz')
    with pytest.raises(CheckpointError, match='and is other images'):
        train(config, tmp_path / 'other', *options(moved), resume_from=str(first), curves=False)


def test_broken_members_and_a_shard_that_is_cut_off(tmp_path):
    """1,000 members of which 10 are broken, and a shard of which half is lost: trained on, and all of them named."""
    bad = range(50, 1000, 100)
    members = [
        (name, b'broken' if name.endswith('png') and int(name[:6]) in bad else data) for name, data in samples(0, 1000)
    ]
    write_tar(tmp_path / 'shards/a.tar', members)
    write_tar(tmp_path / 'shards/b.tar', samples(1000, 1000))
    cut(tmp_path / 'shards/b.tar')
    config = write_config(tmp_path / 'config')
    given = ['total_epochs=1', f'data.train.data_source=wds:{tmp_path}/shards', 'data.imgs_per_gpu=20']
    with pytest.raises(
        DataError, match=r'of 2000 images cannot be read, more than 1%. About \d+ of them were in damaged shards'
    ):
        train(config, tmp_path / 'refused', *given, curves=False)
    with warnings.catch_warnings():
        warnings.simplefilter('always')  # as in a process of its own
        train(config, tmp_path / 'run', *given, 'data.max_unreadable=0.3', curves=False)
    (log,) = (tmp_path / 'run').rglob('*.log')
    said = [line for line in log.read_text().splitlines() if 'skipped unreadable image' in line]
    assert sorted(line.split('a.tar: ')[1][:10] for line in said) == [f'{i:06d}.png' for i in bad]
    assert 'b.tar is damaged: ' in log.read_text()
