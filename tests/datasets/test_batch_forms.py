"""Steps on a batch on the device: the same draws as the reference, and the same bytes up to rounding."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from selfsup.datasets.base import as_uint8
from selfsup.datasets.pipelines import build_pipeline, build_steps, to_uint8
from selfsup.datasets.pipelines.forms.base import kind_of
from selfsup.datasets.pipelines.forms.batch import BATCH_FORMS, DeviceShare, HostShare, divide, has_batch_form

JITTER = dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
STRONG = dict(type='ColorJitter', brightness=0.8, contrast=0.8, saturation=0.8, hue=0.5)
CROP = dict(type='RandomResizedCrop', size=96, scale=(0.1, 1.0))
# exact: integer arithmetic, or no arithmetic
EXACT = {
    'flip': dict(type='RandomHorizontalFlip', p=0.5),
    'vertical flip': dict(type='RandomVerticalFlip', p=0.5),
    'brightness': dict(type='ColorJitter', brightness=0.8),
    'contrast': dict(type='ColorJitter', contrast=0.8),
    'saturation': dict(type='ColorJitter', saturation=0.8),
    'greyscale': dict(type='RandomGrayscale', p=0.5),
    'blur': dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0),
    'solarization': dict(type='Solarization', threshold=100),
    'solarize': dict(type='RandomSolarize', threshold=128, p=0.5),
    'invert': dict(type='RandomInvert', p=0.5),
    'posterize': dict(type='RandomPosterize', bits=3, p=0.5),
    'crop': dict(type='RandomCrop', size=[80, 100]),
    'padded crop': dict(type='RandomCrop', size=96, padding=[4, 8]),
    'larger crop': dict(type='RandomCrop', size=[140, 60], pad_if_needed=True),
    'centre': dict(type='CenterCrop', size=[70, 150]),
}
NEAR = {
    'jitter': JITTER,
    'strong jitter': STRONG,
    'hue': dict(type='ColorJitter', hue=0.5),
    'coin': dict(type='RandomApply', transforms=[JITTER], p=0.5),
    'nested': dict(
        type='RandomAppliedTrans',
        transforms=[dict(type='RandomApply', transforms=[JITTER], p=0.5), dict(type='RandomGrayscale', p=0.5)],
        p=0.5,
    ),
    'wide blur': dict(type='GaussianBlur', sigma_min=3.0, sigma_max=9.0),
    'resized crop': CROP,
    'bicubic crop': dict(type='RandomResizedCrop', size=[64, 160], interpolation='bicubic'),
    'smaller': dict(type='Resize', size=50),
    'larger': dict(type='Resize', size=[170, 150], interpolation=3),
}
BLUR = dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0)
RECIPES = {
    'moco': [
        dict(type='RandomAppliedTrans', transforms=[JITTER], p=0.8),
        dict(type='RandomGrayscale', p=0.2),
        dict(type='RandomAppliedTrans', transforms=[BLUR], p=0.5),
        dict(type='RandomHorizontalFlip'),
    ],
    'simclr': [
        dict(type='RandomHorizontalFlip'),
        dict(type='RandomAppliedTrans', transforms=[{**STRONG, 'hue': 0.2}], p=0.8),
        dict(type='RandomGrayscale', p=0.2),
        dict(type='RandomAppliedTrans', transforms=[BLUR], p=0.5),
    ],
    'byol': [
        dict(type='RandomHorizontalFlip'),
        dict(type='RandomAppliedTrans', transforms=[{**JITTER, 'saturation': 0.2}], p=0.8),
        dict(type='RandomGrayscale', p=0.2),
        dict(type='RandomAppliedTrans', transforms=[BLUR], p=1.0),
    ],
}


def photos(size: int = 128, number: int = 24) -> list[Image.Image]:
    """Pieces of two photos, square, as bright and sharp as they come."""
    rng = np.random.default_rng(0)
    pieces = []
    for i in range(number):
        photo = Image.fromarray(load_sample_images().images[i % 2])
        side = int(rng.integers(size, 400))
        left, top = (int(rng.integers(0, room - side)) for room in photo.size)
        pieces.append(photo.crop((left, top, left + side, top + side)).resize((size, size)))
    return pieces


def seed(number: int) -> None:
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def state() -> tuple:
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


def both(steps: list, images: list[Image.Image], resizing: bool) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The views of the reference, and those of the device; each image is drawn with the numbers of its place."""
    pipeline, device = build_pipeline(steps), DeviceShare()
    host = HostShare(pipeline, device, 'reference', 'pipeline', resizing)
    reference, views, rows = [], [], []
    for number, image in enumerate(images):
        seed(number)
        reference.append(to_uint8(pipeline(image)))
        after = state()
        seed(number)
        view, row = host.view(image, as_uint8)
        assert state() == after  # the very draws, no more and no less
        views.append(view)
        rows.append(row)
    return reference, device(torch.stack(views), torch.stack(rows))


def decibels(reference: list[torch.Tensor], views: torch.Tensor) -> torch.Tensor:
    """PSNR (B,); 100 where nothing differs."""
    error = (torch.stack(reference).double() - views.double()).square().flatten(1).mean(1)
    return torch.where(error == 0, 100.0, 10 * (255**2 / error.clamp(min=1e-9)).log10())


@pytest.mark.parametrize('case', EXACT)
def test_exact(case):
    reference, views = both([EXACT[case]], photos(), resizing=True)
    assert views.dtype == torch.uint8
    assert torch.equal(views, torch.stack(reference))


@pytest.mark.parametrize('case', NEAR)
def test_near(case):
    found = decibels(*both([NEAR[case]], photos(), resizing=True))
    assert found.mean() >= 46 and found.min() >= 35, found


@pytest.mark.parametrize('resizing', [False, True])
@pytest.mark.parametrize('size', [32, 128])
@pytest.mark.parametrize('recipe', RECIPES)
def test_recipes(recipe, size, resizing):
    found = decibels(*both([{**CROP, 'size': size}, *RECIPES[recipe]], photos(), resizing))
    assert found.mean() >= 46 and found.min() >= 35, found


def test_every_form_is_tested():
    steps = [build_steps([step])[0] for step in (*EXACT.values(), *NEAR.values())]
    assert {kind_of(step) for step in steps} == set(BATCH_FORMS)
    assert all(has_batch_form(step) for step in steps)


def test_what_has_no_form():
    steps = [
        dict(type='RandomResizedCrop', size=8, interpolation='nearest'),
        dict(type='RandomCrop', size=8, padding=2, padding_mode='reflect'),
        dict(type='RandomApply', transforms=[dict(type='RandomRotation', degrees=9)]),
        dict(type='RandomApply', transforms=[CROP]),
        lambda image: image,
    ]
    assert [has_batch_form(step) for step in build_steps(steps)] == [None] * len(steps)


def test_a_step_without_a_form_keeps_all_before_it(caplog):
    turn, flip = dict(type='RandomRotation', degrees=9), dict(type='RandomHorizontalFlip')
    steps = [CROP, JITTER, turn, flip, dict(type='RandomGrayscale', p=0.5)]
    mine, theirs = divide(build_pipeline(steps), resizing=True)
    assert [type(step).__name__ for step in mine] == ['RandomResizedCrop', 'ColorJitter', 'RandomRotation']
    assert len(theirs) == 2
    with caplog.at_level('INFO', 'selfsup'):
        reference, views = both(steps, photos(number=4), resizing=False)
    assert torch.equal(views, torch.stack(reference))
    assert caplog.messages == [
        'pipeline: RandomRotation has no form on the device; it and the steps before it run in the loader workers'
    ]


def test_views_of_several_pipelines_keep_their_places():
    device = DeviceShare()
    pipelines = [build_pipeline([dict(type='RandomInvert', p=1.0)]), build_pipeline([]), build_pipeline([JITTER])]
    hosts = [HostShare(pipeline, device, 'reference', 'pipeline') for pipeline in pipelines]
    images, rows = zip(*[host.view(image, as_uint8) for image in photos(16, 4) for host in hosts], strict=True)
    given = torch.stack(images).unflatten(0, (4, 3))
    views = device(given, torch.stack(rows).unflatten(0, (4, 3)))
    assert torch.equal(views[:, 0], 255 - given[:, 0])
    assert torch.equal(views[:, 1], given[:, 1])
    assert not torch.equal(views[:, 2], given[:, 2])
