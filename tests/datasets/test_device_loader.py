"""Loaders whose device runs the steps of the pipelines: the same views as the others, whoever reads and wherever a run goes on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from selfsup.datasets import ContrastiveDataset, ImageDataset
from selfsup.datasets.loaders import build_loader, sharing
from selfsup.datasets.pipelines.forms.batch import shares
from selfsup.errors import ConfigError, DataError

CPU = torch.device('cpu')
NORM = dict(mean=[0.5, 0.4, 0.3], std=[0.25, 0.2, 0.25])
FLOATS = [dict(type='ToTensor'), dict(type='Normalize', **NORM)]
JITTER = dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
STEPS = [
    dict(type='RandomResizedCrop', size=24, scale=(0.3, 1.0)),
    dict(type='RandomAppliedTrans', transforms=[JITTER], p=0.8),
    dict(type='RandomGrayscale', p=0.2),
    dict(type='RandomAppliedTrans', transforms=[dict(type='GaussianBlur', sigma_min=0.1, sigma_max=1.0)], p=0.5),
    dict(type='RandomHorizontalFlip'),
]
SMALL = [dict(type='RandomResizedCrop', size=16), dict(type='RandomVerticalFlip'), *FLOATS]
MODES = {
    'augment': dict(augment_on_device=True),
    'images': dict(augment_on_device=True, images_on_device=True),
}


class Pictures:
    """32 smooth colour pictures of 32 pixels, with labels; some cannot be read."""

    def __init__(self, broken: tuple[int, ...] = (), odd: int = -1) -> None:
        self.broken, self.odd, self.labels = broken, odd, np.arange(32) % 4

    def __len__(self) -> int:
        return 32

    def get_sample(self, index: int) -> tuple[Image.Image, int]:
        if index in self.broken:
            raise OSError('broken')
        size = 30 if index == self.odd else 32
        rough = np.random.default_rng(index).integers(0, 256, (4, 4, 3)).astype(np.uint8)
        return Image.fromarray(rough).resize((size, 32), Image.Resampling.BICUBIC), int(self.labels[index])


def make(
    kind='ContrastiveDataset',
    prefetch=False,
    workers=0,
    source=None,
    backend='reference',
    img_norm_cfg=None,
    **settings,
):
    settings = settings or {'pipeline': [*STEPS, *FLOATS]}
    dataset = dict(type=kind, data_source=source or Pictures(), **settings)
    section = dict(batch_size=8, num_workers=workers, dataset=dataset, prefetch=prefetch, pipeline_backend=backend)
    section['img_norm_cfg'] = img_norm_cfg or None
    return build_loader(section, seed=3, device=CPU)


def batches(loader, epoch=0, skip=0):
    loader.set_position(epoch, skip)
    try:
        return list(loader)
    finally:
        loader.close()


def decibels(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """PSNR of every view, of images that NORM has normalised."""
    error = ((one - other) * torch.tensor(NORM['std']).view(3, 1, 1)).square().flatten(0, -4).flatten(1).mean(1)
    return 10 * (1 / error.clamp(min=1e-10)).log10()


def check_near(one, other):
    assert one.dtype == other.dtype == torch.float32 and one.shape == other.shape
    found = decibels(one, other)
    assert found.mean() >= 46 and found.min() >= 35, found


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize(
    ('kind', 'settings'),
    [
        ('ContrastiveDataset', dict(pipeline=[*STEPS, *FLOATS])),
        ('BYOLDataset', dict(pipeline1=[*STEPS, *FLOATS], pipeline2=[*STEPS[:1], *STEPS[-1:], *FLOATS])),
        ('NPIDDataset', dict(pipeline=[*STEPS, *FLOATS])),
        ('ClassificationDataset', dict(pipeline=[*STEPS[:1], *STEPS[-1:], *FLOATS])),
        ('DeepClusterDataset', dict(pipeline=[*STEPS, *FLOATS])),
        ('ExtractDataset', dict(pipeline=[dict(type='Resize', size=28), dict(type='CenterCrop', size=24), *FLOATS])),
        ('MultiViewDataset', dict(views=[dict(number=2, pipeline=[*STEPS, *FLOATS]), dict(number=3, pipeline=SMALL)])),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_views_are_those_of_the_reference(kind, settings, mode):
    plain = batches(make(kind, **settings))
    mine = batches(make(kind, MODES[mode], **settings))
    for one, other in zip(plain, mine, strict=True):
        assert one.keys() == other.keys()
        for key in one.keys() - {'img'}:
            assert torch.equal(one[key], other[key])
        groups = [one['img'], other['img']] if isinstance(one['img'], list) else [[one['img']], [other['img']]]
        for group, same in zip(*groups, strict=True):
            check_near(group, same)


def test_rotations_are_turned_in_the_workers():
    plain, mine = (batches(make('RotationPredDataset', prefetch)) for prefetch in (False, MODES['augment']))
    assert torch.equal(plain[0]['img'], mine[0]['img'])
    with pytest.raises(ConfigError, match='RotationPredDataset makes more of an image than the device can'):
        batches(make('RotationPredDataset', MODES['images']))


@pytest.mark.parametrize('mode', MODES)
def test_workers_and_resumes_change_nothing(mode):
    whole = batches(make(prefetch=MODES[mode]), epoch=2)
    for workers in (0, 1, 2):
        rest = batches(make(prefetch=MODES[mode], workers=workers), epoch=2, skip=1)
        assert len(rest) == len(whole) - 1
        for one, other in zip(whole[1:], rest, strict=True):
            assert torch.equal(one['img'], other['img'])


@pytest.mark.parametrize('mode', MODES)
def test_ranks_change_nothing(mode, monkeypatch):
    monkeypatch.setattr(shares, 'AT_ONCE', 5)  # nor how many views are worked on at once
    section = dict(
        dataset=dict(type='NPIDDataset', data_source=Pictures(), pipeline=[*STEPS, *FLOATS]), prefetch=MODES[mode]
    )
    one = next(iter(build_loader({**section, 'batch_size': 8}, seed=3, device=CPU)))
    monkeypatch.undo()
    both = [
        next(iter(build_loader({**section, 'batch_size': 4}, seed=3, device=CPU, rank=rank, world_size=2)))
        for rank in (0, 1)
    ]
    assert all(torch.equal(torch.cat([part[key] for part in both]), one[key]) for key in ('idx', 'img'))


def test_backends_draw_the_same():
    one, other = (batches(make(prefetch=MODES['augment'], backend=backend))[0] for backend in ('reference', 'fast'))
    check_near(one['img'], other['img'])


@pytest.mark.parametrize('kind', ['ConcatDataset', 'RepeatDataset'])
@pytest.mark.parametrize('mode', MODES)
def test_datasets_made_of_datasets(kind, mode):
    def of(prefetch):
        parts = [
            dict(type='ClassificationDataset', data_source=Pictures(), pipeline=[*steps, *FLOATS])
            for steps in ([dict(type='CenterCrop', size=20)], [dict(type='RandomCrop', size=20)])
        ]
        dataset = dict(datasets=parts) if kind == 'ConcatDataset' else dict(dataset=parts[1], times=2)
        section = dict(batch_size=16, dataset=dict(type=kind, **dataset), prefetch=prefetch)
        return batches(build_loader(section, seed=1, device=CPU))

    for one, other in zip(of(False), of(MODES[mode]), strict=True):
        assert torch.equal(one['img'], other['img']) and torch.equal(one['gt_label'], other['gt_label'])


def test_to_tensor_and_normalize_move_to_the_loader():
    plain = batches(make())[0]['img']
    for settings in (dict(pipeline=[*STEPS, *FLOATS]), dict(pipeline=STEPS), dict(pipeline=[*STEPS, FLOATS[0]])):
        dataset = ContrastiveDataset(Pictures(), prefetch=True, **settings)
        norm = None if len(settings['pipeline']) == len(STEPS) + 2 else NORM
        loader = build_loader(dict(batch_size=8, dataset=dataset, prefetch=True, img_norm_cfg=norm), seed=3, device=CPU)
        assert torch.equal(next(iter(loader))['img'], plain)
    unit = make(prefetch=True, pipeline=[*STEPS, FLOATS[0]])
    assert torch.equal(next(iter(unit))['img'], batches(make(pipeline=[*STEPS, FLOATS[0]]))[0]['img'])


class Loud(ImageDataset):
    """A dataset of somebody's own, from before the device ran steps."""

    def __init__(self, data_source, pipeline, prefetch=False):
        super().__init__(data_source, prefetch, pipeline=pipeline)

    def __getitem__(self, index):
        image, _, taken = self.read(index)
        return {'img': self.view(image, taken)}


def test_a_dataset_that_hands_out_no_draws_is_right_too():
    sections = [
        dict(batch_size=8, dataset=Loud(Pictures(), [*STEPS, *FLOATS], bool(prefetch)), prefetch=prefetch)
        for prefetch in (False, MODES['augment'])
    ]
    one, other = (next(iter(build_loader(section, seed=3, device=CPU)))['img'] for section in sections)
    assert torch.equal(one, other)


@pytest.mark.parametrize('workers', [0, 2])
def test_broken_images_on_the_device(workers):
    dataset = dict(type='NPIDDataset', data_source=Pictures(broken=(4, 5)), pipeline=[*STEPS, *FLOATS])
    section = dict(batch_size=8, num_workers=workers, dataset=dataset, prefetch=MODES['images'])
    loader = build_loader({**section, 'max_unreadable': 0.1}, seed=3, device=CPU)
    numbers = torch.cat([batch['idx'] for batch in loader]).tolist()
    loader.close()
    assert numbers.count(6) == 3 and not {4, 5} & set(numbers)
    assert loader.dataset.reader.bad_indices().tolist() == [4, 5]
    with pytest.raises(DataError, match='images cannot be read, more than 1%'):
        build_loader({**section, 'dataset': {**dataset, 'data_source': Pictures(broken=(4, 5))}}, seed=3, device=CPU)


class Deep(Pictures):
    """The same with 13 channels of 8 bits."""

    channels, value_range = 13, None

    def get_sample(self, index):
        image, label = super().get_sample(index)
        return np.tile(np.asarray(image).transpose(2, 0, 1), (5, 1, 1))[:13], label


def test_images_that_are_not_rgb_are_made_by_the_workers():
    steps = [dict(type='RandomResizedCrop', size=24), dict(type='RandomHorizontalFlip')]
    norm = dict(mean=[0.5], std=[0.25])
    plain, mine = (
        batches(make(prefetch=mode, source=Deep(), pipeline=steps, img_norm_cfg=norm))[0]['img']
        for mode in (True, MODES['augment'])
    )
    assert mine.shape == (8, 2, 13, 24, 24) and torch.equal(plain, mine)
    with pytest.raises(DataError, match=r'sample 0 has 13 channels of torch.uint8.*is for 8-bit RGB'):
        make(prefetch=MODES['images'], source=Deep(), pipeline=steps, img_norm_cfg=norm)


def test_what_cannot_wait_on_the_device(monkeypatch):
    with pytest.raises(
        DataError,
        match=r'sample 7 has 3 x 32 x 30 values, the images before have 3 x 32 x 32 values.*needs images of one',
    ):
        make(prefetch=MODES['images'], source=Pictures(odd=7))
    with pytest.raises(
        ConfigError, match=r'pipeline: RandomRotation cannot run on the device in this form.*Leave images_on_device out'
    ):
        make(prefetch=MODES['images'], pipeline=[STEPS[0], dict(type='RandomRotation', degrees=3), *FLOATS])
    monkeypatch.setattr(sharing, '_free_memory', lambda device: 10000)
    with pytest.raises(
        DataError, match=r'All images take 0\.0 GB, and cpu has 0\.0 GB free, of which they may take 80%.*small sets'
    ):
        make(prefetch=MODES['images'])
