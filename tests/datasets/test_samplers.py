"""Samplers beside the plain order of `EpochSampler`: uniform by class, repeated augmentation, a given number of iterations."""

import numpy as np
import pytest
import torch
from timm.data.distributed_sampler import RepeatAugSampler as TimmSampler

from selfsup.datasets import ClassificationDataset, ConcatDataset, ContrastiveDataset
from selfsup.datasets.loaders import build_loader
from selfsup.datasets.loaders.samplers import (
    EpochSampler,
    GivenIterationSampler,
    RepeatAugSampler,
    UniformSampler,
)
from selfsup.datasets.loaders.uniform import uniform_order
from selfsup.errors import ConfigError, DataError
from selfsup.registry import SAMPLERS

from .conftest import TENSOR

LABELS = np.array([0] * 70 + [1] * 20 + [2] * 10)


def indices(sampler):
    return [draw.index for draw in sampler]


def test_every_class_gets_its_share():
    order = uniform_order(LABELS, 3, np.random.default_rng(0))
    counts = np.bincount(LABELS[order])
    assert len(order) == 100 and set(counts) <= {32, 33, 34}  # 34 of each, cut from 102 to 100
    large = order[LABELS[order] == 0]
    assert len(set(large.tolist())) == len(large)  # 34 of 70: without replacement
    assert len(set(order[LABELS[order] == 2].tolist())) <= 10


def test_classes_without_samples():
    order = uniform_order(LABELS, 6, np.random.default_rng(0))  # three of six classes: 3 * 17 samples
    assert np.bincount(LABELS[order]).tolist() == [17, 17, 17]
    sampler = EpochSampler(100, seed=1)
    sampler.set_uniform_indices(LABELS, 6)
    assert len(indices(sampler)) == 100 and indices(sampler)[51:] == indices(sampler)[:49]


def test_uniform_indices_hold_for_exactly_the_next_epoch():
    plain, sampler = EpochSampler(100, seed=4), EpochSampler(100, seed=4)
    epochs = {}
    for epoch in range(4):
        if epoch == 1:  # as a hook does between the epochs
            sampler.set_uniform_indices(torch.from_numpy(LABELS), 3)
        sampler.set_position(epoch)
        plain.set_position(epoch)
        epochs[epoch] = indices(sampler)
        assert (epochs[epoch] == indices(plain)) == (epoch != 1)
    assert np.bincount(LABELS[epochs[1]]).min() >= 32
    again = EpochSampler(100, seed=4)  # a resumed run, in the middle of that epoch
    again.set_uniform_indices(LABELS, 3)
    again.set_position(1, 30)
    assert indices(again) == epochs[1][30:]


def test_uniform_indices_set_after_the_position():
    sampler, plain = EpochSampler(100, seed=4), EpochSampler(100, seed=4)
    for epoch in range(3):
        sampler.set_position(epoch)
        plain.set_position(epoch)
        if epoch == 1:  # as a hook does when an epoch begins
            sampler.set_uniform_indices(LABELS, 3)
        assert (indices(sampler) == indices(plain)) == (epoch != 1)


def test_uniform_ranks_share_one_order():
    samplers = [EpochSampler(100, seed=4, rank=r, world_size=2, batch_size=5) for r in range(2)]
    single = EpochSampler(100, seed=4, batch_size=10)
    for sampler in (*samplers, single):
        sampler.set_uniform_indices(LABELS, 3)
    joined = [i for start in range(0, 50, 5) for s in samplers for i in indices(s)[start : start + 5]]
    assert joined == indices(single)
    draws = list(single)
    assert len(set(draws)) == len(draws) and max(d.repeat for d in draws) > 0  # drawn again, seen anew


def test_uniform_errors():
    sampler = EpochSampler(100)
    with pytest.raises(DataError, match=r'one label for each of the 100 samples; got \(99,\)'):
        sampler.set_uniform_indices(LABELS[1:], 3)
    with pytest.raises(DataError, match='num_classes=2: the labels go from 0 to 2'):
        sampler.set_uniform_indices(LABELS, 2)
    with pytest.raises(DataError, match='the labels go from -1'):
        sampler.set_uniform_indices(LABELS - 1, 3)


class Skewed:
    """100 tiny images, most of class 0."""

    labels = LABELS

    def __len__(self):
        return 100

    def get_sample(self, index):
        from PIL import Image

        return Image.new('RGB', (4, 4)), int(LABELS[index])


def test_uniform_sampler_from_a_config():
    source, cpu = Skewed(), torch.device('cpu')
    for dataset in (ClassificationDataset(source, TENSOR), ConcatDataset([ClassificationDataset(source, TENSOR)])):
        loader = build_loader(
            dict(batch_size=10, dataset=dataset, sampler=dict(type='UniformSampler')), seed=0, device=cpu
        )
        orders = []
        for epoch in range(2):
            loader.set_position(epoch)
            labels = torch.cat([batch['gt_label'] for batch in loader])
            assert torch.bincount(labels).min() >= 32
            orders.append(indices(loader.sampler))
        assert orders[0] != orders[1]
    unlabelled = ContrastiveDataset(source, TENSOR)
    unlabelled.data_source = type('Unlabelled', (), {'__len__': lambda self: 100})()
    with pytest.raises(
        ConfigError, match='UniformSampler needs the classes of the samples, but ContrastiveDataset has none'
    ):
        UniformSampler(unlabelled)
    with pytest.raises(ConfigError, match="unexpected keyword argument 'shuffle'"):
        SAMPLERS.build(dict(type='UniformSampler', shuffle=False), ClassificationDataset(source, TENSOR))


@pytest.mark.parametrize('name', ['GivenIterationSampler', 'DistributedGivenIterationSampler'])
def test_a_given_number_of_iterations(name):
    samplers = [
        SAMPLERS.build(dict(type=name, total_iter=7), 10, seed=2, rank=r, world_size=2, batch_size=3) for r in range(2)
    ]
    assert [s.num_batches for s in samplers] == [7, 7] and [len(s) for s in samplers] == [21, 21]
    everything = [d for s in samplers for d in s]
    counts = np.bincount([d.index for d in everything])
    assert len(everything) == 42 == len(set(everything)) and sorted(counts) == [4] * 8 + [5] * 2
    assert indices(samplers[0])[:10] != list(range(10))
    whole = list(samplers[0])
    samplers[0].set_position(0, 4)
    assert list(samplers[0]) == whole[12:]
    single = GivenIterationSampler(10, 7, seed=2, batch_size=6)
    assert {d for s in samplers for d in list(s)[-3:]} == set(list(single)[-6:])


def test_given_iterations_larger_than_the_set_and_errors():
    found = [indices(GivenIterationSampler(50, 2, batch_size=10, seed=seed)) for seed in range(2)]
    assert all(len(set(part)) == 20 and max(part) > 20 for part in found) and set(found[0]) != set(found[1])
    with pytest.raises(ConfigError, match='total_iter=0: must be a whole number >= 1'):
        GivenIterationSampler(5, 0)


@pytest.mark.parametrize(('size', 'world_size', 'num_repeats'), [(600, 1, 3), (600, 4, 3), (1000, 8, 2), (512, 3, 5)])
def test_repeated_augmentation_is_timms(size, world_size, num_repeats):
    """Sample by sample, on every rank; timm takes a multiple of 256 images, as `drop_last` with 256 images per iteration does here."""
    for rank in range(world_size):
        timms = TimmSampler(range(size), world_size, rank, shuffle=False, num_repeats=num_repeats)
        ours = RepeatAugSampler(size, num_repeats, shuffle=False, rank=rank, world_size=world_size, batch_size=4)
        expected = list(timms)
        assert len(expected) == size // 256 * 256 // world_size and indices(ours)[: len(expected)] == expected


def test_repeated_augmentation_by_rank_and_epoch():
    """Iterations hold the same views of the same images for any number of ranks; an epoch holds a third of the images."""

    def iterations(world_size, batch_size, epoch=2, skip=0):
        found = []
        for rank in range(world_size):
            sampler = RepeatAugSampler(
                100, 3, seed=4, rank=rank, world_size=world_size, batch_size=batch_size, drop_last=True
            )
            sampler.set_position(epoch, skip)
            draws = list(sampler)
            found.append([draws[i : i + batch_size] for i in range(0, len(draws), batch_size)])
        return [sorted(draw for rank in batch for draw in rank) for batch in zip(*found, strict=True)]

    one = iterations(1, 12)
    assert one == iterations(2, 6) == iterations(4, 3) == iterations(12, 1)
    assert len(one) == 8 and iterations(2, 6, skip=5) == one[5:] and iterations(1, 12, epoch=3) != one
    views = [draw for batch in one for draw in batch]
    assert len(set(views)) == len(views) == 96 and len({draw.index for draw in views}) == 32
    # All views of an image in one iteration.
    assert all(sorted(d.repeat for d in batch) == sorted([0, 1, 2] * 4) for batch in one)


def test_views_of_repeated_augmentation_differ(folder):
    steps = [dict(type='RandomResizedCrop', size=8, scale=(0.1, 1.0)), *TENSOR]
    dataset = dict(type='ClassificationDataset', data_source=dict(type='ImageFolder', root=str(folder)), pipeline=steps)
    loader = build_loader(
        dict(batch_size=6, dataset=dataset, sampler=dict(type='RepeatAugSampler')), seed=0, device=torch.device('cpu')
    )
    batch = next(iter(loader))
    assert len(set(indices(loader.sampler)[:6])) == 2 and len({view.numpy().tobytes() for view in batch['img']}) == 6


@pytest.mark.parametrize('num_repeats', [0, 1.5, True, '3'])
def test_repeated_augmentation_of_no_whole_number(num_repeats):
    with pytest.raises(ConfigError, match=r'num_repeats=.* must be a whole number >= 1'):
        RepeatAugSampler(10, num_repeats)
