"""Seeds and transfer of samples: nothing but (seed, epoch, sample) may change what is seen."""

import os
import pickle
import random

import numpy as np
import pytest
import torch

from selfsup.datasets.loaders import DeviceLoader, SeededDataset, build_loader
from selfsup.errors import DataError

from .conftest import TENSOR
from .loader_runs import CPU, NORM, VIEWS, Counting, FirstDigits, images, make, shift


def test_views_follow_from_seed_epoch_and_sample_alone():
    reference = images(make(), 0, 1)
    assert len(reference) == 14
    assert not torch.equal(torch.cat(images(make(seed=2))), torch.cat(reference[:7]))
    for workers in (1, 2):
        loader = make(workers=workers)
        found = images(loader, 0, 1)
        loader.close()
        assert all(torch.equal(a, b) for a, b in zip(found, reference, strict=True)), f'{workers} workers'
    # the state of the generators outside does not matter either
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    assert all(torch.equal(a, b) for a, b in zip(images(make(), 0, 1), reference, strict=True))


def test_every_generator_takes_part():
    steps = [shift]
    reference = torch.cat(images(make(steps=steps)))
    loader = make(steps=steps, workers=1)
    assert torch.equal(torch.cat(images(loader)), reference)
    loader.close()
    plain = torch.cat(images(make(steps=[])))
    assert not torch.equal(reference, plain)


@pytest.mark.parametrize('workers', [0, 2])
def test_two_ranks_see_what_one_sees(workers):
    single = images(make(batch_size=20))
    loaders = [make(batch_size=10, workers=workers, rank=r, world_size=2) for r in range(2)]
    joined = [torch.cat(pair) for pair in zip(*(images(loader) for loader in loaders), strict=True)]
    assert len(joined) == len(single) and all(torch.equal(a, b) for a, b in zip(joined, single, strict=True))
    for loader in loaders:
        loader.close()


@pytest.mark.parametrize(('workers', 'persistent'), [(0, False), (2, True), (2, False)])
def test_restart_in_the_middle_of_an_epoch(workers, persistent):
    reference = images(make(), 3)
    loader = make(workers=workers, persistent_workers=persistent)
    images(loader, 0)
    loader.set_position(3, 4)
    rest = [batch['img'] for batch in loader]
    assert len(loader) == 7 and len(rest) == 3
    assert all(torch.equal(a, b) for a, b in zip(rest, reference[4:], strict=True))
    assert len(list(loader)) == 7  # the position holds for one iteration
    loader.close()


def test_an_abandoned_epoch_leaves_nothing_behind():
    reference = images(make(), 1)
    loader = make(workers=2)
    for batch in loader:
        assert batch['img'].shape == (16, 2, 3, 10, 10)
        break
    assert all(torch.equal(a, b) for a, b in zip(images(loader, 1), reference, strict=True))
    loader.close()
    with pytest.raises(DataError, match='closed'):
        next(iter(loader))


def test_skipped_samples_are_not_loaded():
    dataset = Counting()
    loader = build_loader(dict(batch_size=4, dataset=dataset), seed=0, device=CPU)
    loader.set_position(0, 8)
    assert len(list(loader)) == 2 and len(dataset.read) == 8 and loader.dataset is dataset


def test_reading_leaves_the_generators_of_the_process_alone():
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    np.random.normal()  # leaves a cached second value, which counts as state
    expected = random.getstate(), np.random.get_state(), torch.get_rng_state()
    for workers in (0, 1):
        loader = build_loader(dict(batch_size=4, num_workers=workers, dataset=Counting()), seed=0, device=CPU)
        assert len(list(loader)) == 10
        loader.close()
    assert random.getstate() == expected[0] and torch.equal(torch.get_rng_state(), expected[2])
    now = np.random.get_state()
    assert np.array_equal(now[1], expected[1][1]) and now[2:] == expected[1][2:]


def test_repeats_of_a_sample_get_other_numbers():
    seeded = SeededDataset(Counting(), 0)
    draws = [(0, 5, 0), (0, 5, 1), (1, 5, 0), (0, 6, 0)]
    values = [tuple(seeded[d]['numbers'].tolist()) + tuple(seeded[d]['img'].flatten().tolist()) for d in draws]
    assert len(set(values)) == 4
    assert values[0] == tuple(seeded[(0, 5, 0)]['numbers'].tolist()) + tuple(
        seeded[(0, 5, 0)]['img'].flatten().tolist()
    )


def test_datasets_travel_to_workers_that_are_started_afresh():
    seeded = SeededDataset(make().dataset, 0)
    twin = pickle.loads(pickle.dumps(seeded))
    assert torch.equal(seeded[(0, 5, 0)]['img'], twin[(0, 5, 0)]['img'])


@pytest.mark.parametrize('workers', [0, 1])
def test_prefetch_gives_the_same_numbers(workers):
    reference = images(make())
    loader = make(workers=workers, prefetch=True, img_norm_cfg=NORM)
    found = images(loader)
    loader.close()
    assert found[0].dtype == torch.float32 and found[0].shape == (16, 2, 3, 10, 10)
    for a, b in zip(found, reference, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_prefetch_on_its_own_stream_gives_the_same_numbers():
    reference = images(make())
    cfg = dict(
        batch_size=16,
        num_workers=2,
        prefetch=True,
        img_norm_cfg=NORM,
        dataset=dict(type='ContrastiveDataset', data_source=FirstDigits(100), pipeline=VIEWS),
    )
    loader = build_loader(cfg, seed=1, device=torch.device('cuda'))
    assert isinstance(loader, DeviceLoader)
    for a, b in zip(images(loader), reference, strict=True):
        torch.testing.assert_close(a.cpu(), b, rtol=0, atol=1e-6)
    loader.close()


def test_labels_become_a_tensor():
    cfg = dict(
        batch_size=8, dataset=dict(type='ClassificationDataset', data_source=dict(type='Digits'), pipeline=TENSOR)
    )
    loader = build_loader({**cfg, 'sampler': dict(type='EpochSampler', shuffle=False)}, seed=0, device=CPU)
    batch = next(iter(loader))
    assert (
        batch['gt_label'].dtype == torch.int64
        and batch['gt_label'].tolist() == loader.dataset.data_source.labels[:8].tolist()
    )
    assert loader.batch_size == 8 and loader.sampler.shuffle is False


class Threads(Counting):
    def __getitem__(self, index):
        return {'img': torch.tensor([float(torch.get_num_threads()), float(os.getpid())], dtype=torch.float64)}


def test_workers_have_one_thread_and_live_through_epochs():
    loader = build_loader(dict(batch_size=4, num_workers=1, dataset=Threads()), seed=0, device=CPU)
    first, second = images(loader, 0, 1)[0], images(loader, 2)[0]
    loader.close()
    assert first[0, 0] == 1 and first[0, 1] == second[0, 1] != os.getpid()
