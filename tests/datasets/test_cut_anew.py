"""Epochs that go on in other batches or on other ranks: every sample once, by the bookkeeping of the loop and of checkpoints.

Nothing is trained: the loops of all ranks of a start run one after the other, and record what their batches hold. What they must hold is
said by a plain list, the order of one process with batches of one.
"""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from selfsup.datasets.loaders import DeviceLoader
from selfsup.datasets.loaders.samplers import EpochSampler, GivenIterationSampler, RepeatAugSampler, UniformSampler
from selfsup.datasets.loaders.seeded import SeededDataset, collate
from selfsup.datasets.loaders.window import WindowSampler
from selfsup.engine.loop import TrainLoop
from selfsup.engine.resume.elastic import position_of
from selfsup.errors import CheckpointError, DataError

SEED, EPOCHS = 5, 2


class Numbers:
    """`size` samples in four classes, stored in blocks; a sample is its number, and as 'img' that of the draw."""

    def __init__(self, size):
        self.size, self.labels = size, np.arange(size) * 7 % 4
        self.blocks = np.unique(np.arange(size) * 5 // 17 * 3).clip(max=size - 1)

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return {'img': torch.tensor([index]), 'view': torch.randint(2**40, (1,))}


def uniform_epochs(dataset, **settings):
    """What DeepClusterHook makes of an EpochSampler: every epoch uniform by label."""
    sampler = EpochSampler(dataset, **settings)
    sampler.uniform = True
    return sampler


KINDS = {
    'shuffled': EpochSampler,
    'in order': lambda dataset, **settings: EpochSampler(dataset, shuffle=False, **settings),
    'replaced': lambda dataset, **settings: EpochSampler(dataset, replace=True, **settings),
    'window': lambda dataset, **settings: WindowSampler(dataset, 2, **settings),
    'uniform': UniformSampler,
    'uniform epochs': uniform_epochs,
    'repeated': RepeatAugSampler,
}


def loop_of(kind, dataset, rank, world, batch, interval, drop_last, epochs=EPOCHS):
    """The loop of one rank of a start, over real loaders; it trains nothing."""
    settings = {'rank': rank, 'world_size': world, 'batch_size': batch, 'seed': SEED, 'drop_last': drop_last}
    sampler = kind(dataset, **settings)
    loader = DeviceLoader(
        DataLoader(SeededDataset(dataset, SEED), batch_size=batch, sampler=sampler, collate_fn=collate),
        torch.device('cpu'),
    )
    loop = TrainLoop.__new__(TrainLoop)
    loop.__dict__.update(_iter=0, _epoch=0, stop_training=False, iters_per_epoch=len(loader), window_closed=True)
    loop.__dict__.update(closed_by=[], _must_close=False)
    loop.__dict__.update(_max_iters=epochs * len(loader), _max_epochs=epochs)
    loop._dataloader = loop.dataloader = loader

    def call_hook(name):
        if name == 'before_train_epoch' and getattr(sampler, 'uniform', False):
            sampler.set_uniform_indices(dataset.labels, 4)

    loop._runner = SimpleNamespace(
        call_hook=call_hook,
        hooks=[],
        safe_point=lambda: None,
        checkpoints=SimpleNamespace(wait=lambda: None),
        model=SimpleNamespace(train=lambda: None),
        optim_wrapper=SimpleNamespace(update_interval=interval),
    )
    return loop


def start(kind, dataset, meta, steps, world, batch, interval=1, drop_last=False, epochs=EPOCHS):
    """One start of a run: on from `meta`, for `steps` optimizer steps.

    Returns:
        `meta` of the checkpoint at its end, and the batches: (epoch, [samples of rank 0, of rank 1, ...]).
    """
    ranks = []
    for rank in range(world):
        loop = loop_of(kind, dataset, rank, world, batch, interval, drop_last, epochs)
        if meta is not None:
            position = position_of(meta, loop, 'old.pth')
            loop.start_at(position.epoch, position.iteration, samples=position.samples)
        found, left, opened = [], [steps], [0]

        def run_iter(index, batch, loop=loop, found=found, left=left, opened=opened):
            found.append(
                (loop._epoch, list(zip(*(batch[key].flatten().tolist() for key in ('img', 'view')), strict=True)))
            )
            assert index == loop._iter - loop._epoch * loop.iters_per_epoch < loop.iters_per_epoch
            length, closes = loop._window(index)
            opened[0] += 1
            if closes:  # a window that began where the run goes on is whole
                assert opened == [length]
                opened[0], left[0] = 0, left[0] - 1
            loop._iter += 1
            loop.stop_training = left[0] == 0 and closes

        loop._run_iter = run_iter
        loop.run()
        ranks.append(found)
    epoch = loop._epoch - (loop.stop_training and loop._iter % loop.iters_per_epoch > 0)
    fingerprint = {
        'world_size': world,
        'batch_size': batch,
        'update_interval': interval,
        'iters_per_epoch': loop.iters_per_epoch,
    }
    meta = {
        'epoch': epoch,
        'iter': loop._iter,
        'samples': loop.samples_at(epoch, loop._iter),
        'fingerprint': fingerprint,
    }
    batches = [(parts[0][0], [part[1] for part in parts]) for parts in zip(*ranks, strict=True)]
    return meta, batches


def reference(kind, dataset, epoch):
    """Samples of an epoch in their one order, with their views."""
    loop = loop_of(kind, dataset, 0, 1, 1, 1, False, epoch + 1)
    loop._epoch, loop._iter = epoch, epoch * loop.iters_per_epoch
    found = []
    loop._run_iter = lambda index, batch: found.append((batch['img'].item(), batch['view'].item()))
    loop._run_epoch()
    return found


def check(order, batches, world_of_the_last, drop_last):
    """Global batches of one epoch hold its order, piece by piece."""
    place = 0
    for parts in batches:
        assert len({len(part) for part in parts}) == 1  # ranks get equally many
        batch = [sample for part in parts for sample in part]
        due = order[place : place + len(batch)]
        padding = len(batch) - len(due)
        assert padding < max(len(parts), 1) and (not padding or (parts is batches[-1] and not drop_last))
        assert set(due) <= set(batch) and len(set(batch)) == len(batch) == len(due) + padding
        place += len(due)
    if drop_last:
        assert len(order) - place < world_of_the_last
    else:
        assert place == len(order)


@pytest.mark.parametrize('kind', KINDS)
def test_every_sample_once(kind):
    """Seeded scenarios: sizes, ranks 1 to 5, batches, accumulation, and chains of three starts that stop anywhere."""
    draw, passed = random.Random(f'{kind} 3'), 0
    while passed < 25:
        dataset, drop_last = Numbers(draw.randint(9, 40)), draw.random() < 0.4
        shapes = [(draw.randint(1, 5), draw.randint(1, 4), draw.choice((1, 1, 2, 3))) for _ in range(3)]
        if drop_last and any(world * batch > len(dataset) for world, batch, _ in shapes):
            continue
        meta, batches = None, []
        for number, (world, batch, interval) in enumerate(shapes):
            steps = draw.randint(1, 9) if number < 2 else 1000
            if meta and 'samples' in meta and number == 1 and draw.random() < 0.3:
                del meta['samples']  # an earlier version wrote it
            meta, more = start(KINDS[kind], dataset, meta, steps, world, batch, interval, drop_last)
            batches += more
        assert (meta['epoch'], meta['samples'], meta['iter']) == (
            EPOCHS,
            0,
            EPOCHS * meta['fingerprint']['iters_per_epoch'],
        )
        for epoch in range(EPOCHS):
            of_epoch = [parts for number, parts in batches if number == epoch]
            check(reference(KINDS[kind], dataset, epoch), of_epoch, max(w * b for w, b, _ in shapes), drop_last)
        passed += 1


@pytest.mark.parametrize('kind', KINDS)
def test_a_second_stop_in_such_an_epoch_resumes_exactly(kind):
    """As does every stop without any change: the ranks hold the same samples in the same order as without it."""
    dataset = Numbers(37)
    for before, now in (((2, 3), (3, 2)), ((2, 3), (1, 5)), ((4, 2), (4, 2)), ((1, 4), (2, 4))):
        first, _ = start(KINDS[kind], dataset, None, 3, *before)
        _, straight = start(KINDS[kind], dataset, first, 1000, *now)
        second, part = start(KINDS[kind], dataset, first, 2, *now)
        third, more = start(KINDS[kind], dataset, second, 1, *now)
        _, rest = start(KINDS[kind], dataset, third, 1000, *now)
        assert part + more + rest == straight and len(part) == 2 and len(more) == 1


def test_same_batch_on_other_ranks_gives_the_same_batches():
    """4 x 3, 2 x 6, 3 x 4: iterations and what they hold are those of a run that was not stopped, but for who gets what."""
    dataset = Numbers(100)
    for kind in KINDS.values():
        _, straight = start(kind, dataset, None, 1000, 4, 3, drop_last=True)
        meta, batches = None, []
        for world, batch, steps in ((4, 3, 3), (2, 6, 4), (3, 4, 1000)):
            meta, more = start(kind, dataset, meta, steps, world, batch, drop_last=True)
            batches += more

        def joined(found):
            return [(epoch, sorted(sample for part in parts for sample in part)) for epoch, parts in found]

        assert joined(batches) == joined(straight) and meta['iter'] == 16


def test_a_given_number_of_iterations():
    """Its order follows from the batch of all ranks, and so goes on with the same one alone."""

    def kind(dataset, **settings):
        return GivenIterationSampler(dataset, 60 // settings['world_size'] // settings['batch_size'], **settings)

    dataset = Numbers(13)
    meta, batches = start(kind, dataset, None, 2, 4, 3)
    meta, more = start(kind, dataset, meta, 2, 2, 6)
    _, rest = start(kind, dataset, meta, 1000, 3, 4)
    for epoch in range(EPOCHS):
        of_epoch = [parts for number, parts in batches + more + rest if number == epoch]
        order = reference(lambda dataset, **settings: GivenIterationSampler(dataset, 60, **settings), dataset, epoch)
        check(order, of_epoch, 12, True)
    assert not GivenIterationSampler.recuts and EpochSampler.recuts


def test_positions_that_cannot_be():
    sampler = EpochSampler(10, batch_size=3, seed=1)
    with pytest.raises(DataError, match='An epoch has 10 samples, so it cannot go on after 11'):
        sampler.set_position(0, 0, 11)
    with pytest.raises(DataError, match='An epoch has 2 batches, so it cannot start at batch 3'):
        sampler.set_position(0, 3, 4)
    dataset = Numbers(12)
    loader = loop_of(EpochSampler, dataset, 0, 2, 2, 1, False).dataloader
    loader.set_position(1, 1, 4)
    assert [len(list(loader)) for _ in range(2)] == [1, 3]  # it holds for one pass
    meta, _ = start(EpochSampler, dataset, None, 2, 2, 2)
    loop = loop_of(EpochSampler, dataset, 0, 2, 2, 1, False)
    with pytest.raises(CheckpointError, match='13 samples of its epoch are done, and an epoch has 12'):
        position_of({**meta, 'samples': 13}, loop, 'edited.pth')
    with pytest.raises(
        CheckpointError, match='with 4 samples of epoch 1 done, its iteration would be 1, and it says 2'
    ):
        position_of({**meta, 'samples': 4}, loop, 'edited.pth')
