"""Which samples an epoch holds, in which order, on which rank."""

import numpy as np
import pytest

from selfsup.datasets.loaders.samplers import EpochSampler, count_repeats
from selfsup.errors import ConfigError, DataError

from .loader_runs import make


def test_an_epoch_covers_everything_once():
    sampler = EpochSampler(10, seed=3)
    first = list(sampler)
    assert sorted(d.index for d in first) == list(range(10)) and {(d.epoch, d.repeat) for d in first} == {(0, 0)}
    assert list(sampler) == first
    sampler.set_position(1)
    assert [d.index for d in sampler] != [d.index for d in first]
    assert [d.index for d in EpochSampler(10, seed=4)] != [d.index for d in first]
    assert [d.index for d in EpochSampler(range(4), shuffle=False)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ('size', 'world', 'batch', 'drop_last', 'per_rank', 'batches'),
    [
        (10, 2, 2, False, 5, 3),
        (10, 2, 2, True, 4, 2),
        (11, 2, 3, False, 6, 2),
        (3, 4, 2, False, 1, 1),
        (1, 8, 4, False, 1, 1),
        (12, 3, 4, True, 4, 1),
        (100, 1, 7, False, 100, 15),
    ],
)
def test_ranks_get_equally_many_padded_from_the_front(size, world, batch, drop_last, per_rank, batches):
    samplers = [
        EpochSampler(size, rank=r, world_size=world, batch_size=batch, drop_last=drop_last, seed=5)
        for r in range(world)
    ]
    draws = [list(s) for s in samplers]
    assert {len(d) for d in draws} == {per_rank} == {len(s) for s in samplers} and {
        s.num_batches for s in samplers
    } == {batches}
    everything = [d for ranks in draws for d in ranks]
    assert len(set(everything)) == len(everything)  # a sample used twice has another repeat, so another view
    if not drop_last:
        assert {d.index for d in everything} == set(range(size))
        order = samplers[0].order(0)[0]
        assert (order[size:] == np.resize(order[:size], len(order))[size:]).all()


def test_global_batches_do_not_depend_on_the_number_of_ranks():
    def batches(world):
        samplers = [EpochSampler(50, rank=r, world_size=world, batch_size=12 // world, seed=7) for r in range(world)]
        draws = [list(s) for s in samplers]
        step = 12 // world
        return [{d for rank in draws for d in rank[i * step : (i + 1) * step]} for i in range(samplers[0].num_batches)]

    one = batches(1)
    assert len(one) == 5 and batches(2) == one
    # The last batch is padded: 50 is no multiple of 3 or 4.
    assert batches(3)[:4] == one[:4] and batches(4)[:4] == one[:4]


def test_unshuffled_ranks_can_be_put_in_order():
    samplers = [EpochSampler(11, shuffle=False, rank=r, world_size=3, batch_size=2) for r in range(3)]
    restored = np.full(12, -1)
    for sampler in samplers:
        restored[sampler.positions()] = [d.index for d in sampler]
    assert restored[:11].tolist() == list(range(11))


def test_replacement_draws_repeats_with_numbers():
    sampler = EpochSampler(1000, replace=True, seed=2)
    draws = list(sampler)
    assert len(draws) == 1000 == len(set(draws))
    distinct = len({d.index for d in draws})
    assert 590 < distinct < 675  # 1000 (1 - 1/e) = 632
    seen = {}
    for draw in draws:
        assert draw.repeat == seen.get(draw.index, 0)
        seen[draw.index] = draw.repeat + 1
    with pytest.raises(ConfigError, match='needs shuffle=True'):
        EpochSampler(10, shuffle=False, replace=True)


def test_count_repeats():
    assert count_repeats(np.array([7, 3, 7, 7, 3, 0])).tolist() == [0, 0, 1, 2, 1, 0]
    assert count_repeats(np.array([5])).tolist() == [0]


def test_positions_within_the_epoch():
    sampler = EpochSampler(10, batch_size=3, seed=1)
    whole = list(sampler)
    sampler.set_position(0, 2)
    assert list(sampler) == whole[6:] and len(sampler) == 10 and sampler.num_batches == 4
    sampler.set_position(0, 4)
    assert list(sampler) == []
    with pytest.raises(DataError, match='An epoch has 4 batches, so it cannot start at batch 5'):
        sampler.set_position(0, 5)


def test_no_batch_is_an_error_with_both_numbers():
    with pytest.raises(
        DataError, match=r'^7 samples give no batch of 8 \(4 on each of 2 processes\), and drop_last=True'
    ):
        EpochSampler(7, batch_size=4, world_size=2, drop_last=True)
    with pytest.raises(DataError, match='100 samples give no batch of 128'):
        make(batch_size=128, drop_last=True)
    assert len(make(batch_size=128)) == 1
