"""Shuffling blocks, and images within a window of blocks: every image once, few blocks at a time, one order for all ranks."""

import numpy as np
import pytest
import torch

from selfsup.datasets import ConcatDataset, ContrastiveDataset, RepeatDataset
from selfsup.datasets.loaders import build_loader
from selfsup.datasets.loaders.samplers import EpochSampler
from selfsup.datasets.loaders.window import WindowSampler, blocks_of, locality_of, sampler_for
from selfsup.errors import ConfigError

from .conftest import TENSOR
from .loader_runs import FirstDigits

STARTS = np.array([0, 7, 20, 20, 31, 40, 52, 60, 75, 88])  # of 100 images; one block is empty


class InBlocks(FirstDigits):
    """Digits that are stored in blocks."""

    def __init__(self, size=100, starts=STARTS, slow=True):
        super().__init__(size)
        self.blocks = starts
        self.locality = starts if slow else None

    def __getitem__(self, index):
        raise AssertionError('a sampler reads no image')


def sampler(window=3, **settings):
    return WindowSampler(InBlocks(), window, **{'seed': 5, 'batch_size': 4, **settings})


def blocks_of_draws(draws):
    return np.searchsorted(STARTS, [draw.index for draw in draws], side='right') - 1


def test_an_epoch_holds_every_image_once_in_an_order_of_its_own():
    orders = []
    for epoch, seed in ((0, 5), (1, 5), (0, 6)):
        one = sampler(seed=seed)
        one.set_position(epoch)
        draws = list(one)
        assert sorted(d.index for d in draws) == list(range(100)) and {(d.epoch, d.repeat) for d in draws} == {
            (epoch, 0)
        }
        again = sampler(seed=seed)
        again.set_position(epoch)
        assert list(again) == draws
        orders.append([d.index for d in draws])
    assert len({tuple(order) for order in orders}) == 3


def test_few_blocks_are_open_at_a_time():
    """Any stretch of an epoch as long as the smallest window lies in at most two windows; and windows are really mixed."""
    for window in (1, 2, 4):
        blocks = blocks_of_draws(sampler(window, batch_size=1))
        last = {block: len(blocks) - 1 - np.argmax(blocks[::-1] == block) for block in np.unique(blocks)}
        first = {block: np.argmax(blocks == block) for block in np.unique(blocks)}
        open_blocks = [sum(first[b] <= i <= last[b] for b in first) for i in range(len(blocks))]
        assert max(open_blocks) <= window
    assert max(open_blocks) > 2  # with a window of 4 several are open
    full = [d.index for d in sampler(window=100, batch_size=1)]
    assert np.mean(np.abs(np.diff(blocks_of_draws(sampler(100, batch_size=1)))) > 0) > 0.7 and full != sorted(full)


@pytest.mark.parametrize('drop_last', [False, True])
def test_batches_hold_the_same_images_for_any_number_of_ranks(drop_last):
    def batches(world, skip=0):
        ranks = []
        for rank in range(world):
            one = sampler(rank=rank, world_size=world, batch_size=12 // world, drop_last=drop_last)
            one.set_position(2, skip)
            draws = list(one)
            ranks.append([draws[i : i + 12 // world] for i in range(0, len(draws), 12 // world)])
        return [sorted(d for part in batch for d in part) for batch in zip(*ranks, strict=True)]

    one = batches(1)
    assert len(one) == (8 if drop_last else 9) and {len(batch) for batch in one[:8]} == {12}
    for world in (2, 3, 4):
        assert batches(world)[:8] == one[:8]
        # the last batch is padded from the front
        assert drop_last or {d.index for d in batches(world)[8]} >= {d.index for d in one[8]}
        assert batches(world, skip=5) == batches(world)[5:]


def test_a_rank_reads_its_share_of_the_blocks():
    """64 equal blocks, window 16, 4 ranks, 8 batches to a window: each rank finds its images in a few blocks of each window."""
    source = InBlocks(8192, np.arange(0, 8192, 128))
    seen, fetched = [], []
    for rank in range(4):
        one = WindowSampler(source, 16, seed=1, rank=rank, world_size=4, batch_size=64)
        blocks = np.array([d.index for d in one]) // 128
        seen.append([len(np.unique(blocks[first : first + 512])) for first in range(0, 2048, 512)])
        fetched.append(len(np.unique(blocks)))
    assert np.max(seen) <= 8 and np.mean(seen) <= 6.5  # 4 are the least, 16 what a full shuffle would need
    assert np.max(fetched) < 32  # of 64 in an epoch


def test_how_far_images_move():
    """The place of an image in an epoch is spread over the whole of it, whatever its number: blocks are shuffled every time."""
    source = InBlocks(640, np.arange(0, 640, 10))
    places = []
    for epoch in range(40):
        one = WindowSampler(source, 4, seed=1)
        one.set_position(epoch)
        places.append(np.argsort([d.index for d in one]))
    means = np.mean(places, axis=0)
    assert abs(means.mean() - 319.5) < 1e-6 and means.std() < 2 * 185 / np.sqrt(40)


def test_data_sets_made_of_others():
    slow, plain = (ContrastiveDataset(source, TENSOR) for source in (InBlocks(), FirstDigits(30)))
    assert blocks_of(plain) is None and locality_of(plain) is None
    both = ConcatDataset([plain, slow])
    assert locality_of(both).tolist() == [0, *(STARTS + 30)]
    assert locality_of(RepeatDataset(slow, 2)).tolist() == [*STARTS, *(STARTS + 100)]
    draws = list(WindowSampler(RepeatDataset(slow, 2), 2))
    assert sorted(d.index for d in draws) == list(range(200))


def test_who_chooses_it(caplog):
    slow, quick = (ContrastiveDataset(InBlocks(slow=slow), TENSOR) for slow in (True, False))
    shuffled, window = {'type': 'EpochSampler'}, {'type': 'WindowSampler', 'window': 16}
    assert sampler_for(shuffled, slow) == window and sampler_for(shuffled, quick) == shuffled
    for cfg in ({**shuffled, 'shuffle': False}, {**shuffled, 'replace': True}, {'type': 'UniformSampler'}):
        assert sampler_for(cfg, slow) == cfg
    assert sampler_for({'type': 'WindowSampler'}, quick) == window
    with caplog.at_level('INFO', 'selfsup'):
        loader = build_loader(dict(batch_size=10, dataset=slow), seed=0, device=torch.device('cpu'))
        asked = build_loader(
            dict(batch_size=10, dataset=quick, sampler=dict(type='WindowSampler', window=2)),
            seed=0,
            device=torch.device('cpu'),
        )
    assert isinstance(loader.sampler, WindowSampler) and asked.sampler.window == 2
    said = [r.getMessage() for r in caplog.records if 'block by block' in r.getMessage()]
    assert len(said) == 2 and "data.sampler=dict(type='WindowSampler', window=16)" in said[0]


def test_what_has_no_blocks_is_refused():
    with pytest.raises(ConfigError, match='WindowSampler reads blocks of images, but ContrastiveDataset has none'):
        WindowSampler(ContrastiveDataset(FirstDigits(30), TENSOR))
    with pytest.raises(ConfigError, match='window=0: must be a whole number >= 1'):
        sampler(window=0)


def test_clusters_come_before_blocks():
    """A hook that asks for an epoch uniform by class gets it."""
    labels = np.arange(100) % 4
    one, plain = sampler(batch_size=1), EpochSampler(100, seed=5)
    for each in (one, plain):
        each.set_uniform_indices(labels, 4)
        each.set_position(0)
    assert sorted(d.index for d in one) == sorted(d.index for d in plain)
