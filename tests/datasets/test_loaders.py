"""Order, seeds and transfer of samples: nothing but (seed, epoch, sample) may change what is seen."""

import os
import pickle
import random
import signal

import numpy as np
import pytest
import torch
from torch.utils.data import get_worker_info

from selfsup.datasets.loaders import DeviceLoader, SeededDataset, build_loader
from selfsup.datasets.loaders.samplers import EpochSampler, count_repeats
from selfsup.errors import ConfigError, DataError, ShapeError

from .conftest import TENSOR, save_image

CPU = torch.device('cpu')
NORM = dict(mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.4])
# torch's, numpy's and python's generators all take part
VIEWS = [
    dict(type='RandomResizedCrop', size=10),
    dict(
        type='RandomAppliedTrans',
        p=0.5,
        transforms=[
            dict(type='ColorJitter', brightness=0.4, hue=0.1),
            dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0),
        ],
    ),
]


def shift(image):
    return image.point(lambda value: (value + random.randrange(2)) % 256)


def make(batch_size=16, workers=0, seed=1, rank=0, world_size=1, steps=VIEWS, size=100, **cfg):
    dataset = dict(
        type='ContrastiveDataset',
        data_source=FirstDigits(size),
        pipeline=[*steps, *([] if cfg.get('prefetch') else TENSOR)],
    )
    return build_loader(
        dict(batch_size=batch_size, num_workers=workers, dataset=dataset, **cfg),
        seed=seed,
        device=CPU,
        rank=rank,
        world_size=world_size,
    )


class FirstDigits:
    """The first images of the digits."""

    labels = None

    def __init__(self, size):
        from selfsup.datasets.data_sources import Digits

        self.digits, self.size = Digits(size=12, return_label=False), size

    def __len__(self):
        return self.size

    def get_sample(self, index):
        return self.digits.get_sample(index)


def images(loader, *epochs):
    found = []
    for epoch in epochs or (0,):
        loader.set_position(epoch)
        found += [batch['img'] for batch in loader]
    return found


# ---- sampler ----


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
    assert (
        batches(3)[:4] == one[:4] and batches(4)[:4] == one[:4]
    )  # the last batch is padded: 50 is no multiple of 3 or 4


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


# ---- seeds ----


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


class Counting(torch.utils.data.Dataset):
    prefetch = False

    def __init__(self):
        self.read = []

    def __len__(self):
        return 40

    def __getitem__(self, index):
        self.read.append(index)
        return {'img': torch.rand(1, 2, 2), 'numbers': torch.tensor([np.random.rand(), random.random()])}


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


# ---- device loader ----


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


class Dying(Counting):
    def __getitem__(self, index):
        if get_worker_info() is not None:  # one sample is measured in this process first
            os.kill(os.getpid(), signal.SIGKILL)
        return {'img': torch.zeros(3, 2, 2)}


def test_a_dead_worker_is_one_clear_error():
    loader = build_loader(dict(batch_size=4, num_workers=1, dataset=Dying()), seed=0, device=CPU)
    with pytest.raises(DataError, match=r'A loader worker died \(DataLoader worker \(pid.*lower workers_per_gpu'):
        list(loader)


@pytest.mark.parametrize('workers', [0, 1])
def test_user_errors_arrive_as_one_line(workers):
    loader = make(workers=workers, steps=[dict(type='RandomCrop', size=99)])
    with pytest.raises(DataError, match=r'^sample \d+: pipeline step RandomCrop failed on a 12x12 image: [^\n]*$'):
        list(loader)
    loader.close()


@pytest.mark.parametrize('workers', [0, 1])
def test_images_of_different_sizes(tmp_path, workers):
    save_image(tmp_path / 'a.png', size=(9, 9))
    save_image(tmp_path / 'b.png', size=(8, 8))
    dataset = dict(type='ExtractDataset', data_source=dict(type='ImageFolder', root=str(tmp_path)), pipeline=TENSOR)
    loader = build_loader(dict(batch_size=2, num_workers=workers, dataset=dataset), seed=0, device=CPU)
    with pytest.raises(DataError, match=r'The images of a batch differ in size: \(3, 8, 8\), \(3, 9, 9\)'):
        list(loader)
    loader.close()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(num_worker=2), "'num_worker' is not a setting of a loader. Did you mean 'num_workers'"),
        (dict(batch_size=0), 'batch_size=0: must be a whole number >= 1'),
        (dict(num_workers=-1), 'num_workers=-1: must be'),
        (dict(prefetch=True), r'prefetch=True needs img_norm_cfg=dict\(mean=\[...\], std=\[...\]\); got None'),
        (dict(sampler=dict(type='EpochSample')), "Did you mean 'EpochSampler'"),
        (dict(sampler=dict(shufle=True)), "Did you mean 'shuffle'"),
        (
            dict(dataset=dict(type='ExtractDataset', data_source=dict(type='Digits'), pipeline=[], prefetch=True)),
            'contradict each other',
        ),
    ],
)
def test_settings_that_cannot_be(change, message):
    cfg = dict(batch_size=4, dataset=dict(type='ExtractDataset', data_source=dict(type='Digits'), pipeline=TENSOR))
    with pytest.raises(ConfigError, match=message):
        build_loader({**cfg, **change}, seed=0, device=CPU)


def test_samplers_that_cannot_resume_are_refused():
    import mmengine.dataset  # noqa: F401 - registers its samplers

    cfg = dict(batch_size=4, dataset=Counting(), sampler=dict(type='DefaultSampler', shuffle=True))
    with pytest.raises(
        ConfigError, match=r"type='DefaultSampler' cannot continue in the middle of an epoch. Use type='EpochSampler'"
    ):
        build_loader(cfg, seed=0, device=CPU)


def test_settings_of_prefetch():
    with pytest.raises(ConfigError, match=r'Normalize std.0=0.0: must be a number > 0'):
        make(prefetch=True, img_norm_cfg=dict(mean=[0.5], std=[0.0]))
    with pytest.raises(ShapeError, match='img_norm_cfg is for 2 channels; the images have 3'):
        next(iter(make(prefetch=True, img_norm_cfg=dict(mean=[0.5, 0.5], std=[0.5, 0.5]))))
    with pytest.raises(ConfigError, match="A loader needs 'batch_size'; got dataset"):
        build_loader(dict(dataset=Counting()), seed=0, device=CPU)
