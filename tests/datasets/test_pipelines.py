"""Pipeline steps: reference numbers, torchvision's names, errors."""

import inspect
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.transforms as first_transforms
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from selfsup.datasets.pipelines import (
    Compose,
    GaussianBlur,
    Lighting,
    Solarization,
    build_pipeline,
    build_view_pipeline,
)
from selfsup.errors import ConfigError, DataError, UnknownNameError
from selfsup.registry import PIPELINES

GOLDEN = torch.load(Path(__file__).parents[1] / 'golden' / 'augment.pt', weights_only=True)
IMAGE = Image.fromarray(GOLDEN['image_hwc'].numpy())


def step(kind, **arguments):
    return PIPELINES.build(dict(type=kind, **arguments))


@pytest.mark.parametrize('sigma', list(GOLDEN['blur']))
def test_blur_matches_the_reference(sigma):
    blurred = GaussianBlur(float(sigma), float(sigma))(IMAGE)
    assert np.array_equal(np.asarray(blurred), GOLDEN['blur'][sigma].numpy())


@pytest.mark.parametrize('threshold', list(GOLDEN['solarize']))
def test_solarization_matches_the_reference(threshold):
    assert np.array_equal(np.asarray(Solarization(int(threshold))(IMAGE)), GOLDEN['solarize'][threshold].numpy())


def test_solarization_of_grey_images():
    grey = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    values = np.asarray(Solarization()(grey)).ravel()
    assert values[127] == 127 and values[128] == 127 and values[255] == 0


def test_lighting_matches_the_reference():
    golden, lighting = GOLDEN['lighting'], Lighting()
    torch.testing.assert_close(golden['image'] + lighting.shift(golden['alpha']), golden['out'], rtol=0, atol=1e-6)
    torch.testing.assert_close(lighting.shift(golden['alpha']).flatten(), golden['delta'], rtol=0, atol=1e-7)
    torch.manual_seed(3)
    alpha = torch.randn(3) * golden['alphastd']
    torch.manual_seed(3)
    torch.testing.assert_close(lighting(golden['image']), golden['image'] + lighting.shift(alpha))


def test_blur_draws_its_radius_uniformly():
    np.random.seed(0)
    expected = np.random.uniform(0.1, 2.0)
    np.random.seed(0)
    assert np.array_equal(
        np.asarray(GaussianBlur(0.1, 2.0)(IMAGE)), np.asarray(GaussianBlur(expected, expected)(IMAGE))
    )


def test_random_applied_throws_one_coin():
    applied = step(
        'RandomAppliedTrans',
        transforms=[dict(type='Solarization'), dict(type='GaussianBlur', sigma_min=1, sigma_max=1)],
        p=0.3,
    )
    both = np.asarray(GaussianBlur(1, 1)(Solarization()(IMAGE)))
    torch.manual_seed(0)
    outcomes = [np.asarray(applied(IMAGE)) for _ in range(400)]
    kinds = [0 if np.array_equal(o, np.asarray(IMAGE)) else 1 if np.array_equal(o, both) else 2 for o in outcomes]
    assert 2 not in kinds and 80 < sum(kinds) < 160
    assert step('RandomAppliedTrans', transforms=[dict(type='Solarization')], p=0)(IMAGE) is IMAGE


def test_to_tensor_and_normalize_give_torchvisions_numbers():
    mine = build_pipeline([dict(type='ToTensor'), dict(type='Normalize', mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.4])])
    reference = first_transforms.Compose(
        [first_transforms.ToTensor(), first_transforms.Normalize([0.4, 0.5, 0.6], [0.2, 0.3, 0.4])]
    )
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        result = mine(IMAGE)
    assert result.is_contiguous() and torch.equal(result, reference(IMAGE))
    grey = IMAGE.convert('L')
    assert torch.equal(step('ToTensor')(grey), first_transforms.ToTensor()(grey))


@pytest.mark.parametrize(
    ('kind', 'arguments'),
    [
        ('RandomResizedCrop', dict(size=12, scale=(0.2, 1.0))),
        ('Resize', dict(size=(11, 13))),
        ('CenterCrop', dict(size=10)),
        ('RandomCrop', dict(size=16, padding=4)),
        ('RandomHorizontalFlip', {}),
        ('ColorJitter', dict(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)),
        ('RandomGrayscale', dict(p=0.5)),
        ('RandomRotation', dict(degrees=10)),
        ('RandomAffine', dict(degrees=10, translate=(0.1, 0.1))),
    ],
)
def test_pil_steps_equal_torchvisions_first_transforms(kind, arguments):
    mine, reference = step(kind, **arguments), getattr(first_transforms, kind)(**arguments)
    for seed in range(3):
        torch.manual_seed(seed)
        random.seed(seed)
        result = mine(IMAGE)
        torch.manual_seed(seed)
        random.seed(seed)
        assert isinstance(result, Image.Image) and np.array_equal(np.asarray(result), np.asarray(reference(IMAGE)))


def test_interpolation_by_number_and_name():
    for number, name in ((0, 'nearest'), (2, 'bilinear'), (3, 'bicubic'), (1, 'lanczos')):
        for value in (number, name, InterpolationMode(name)):
            crop = step('RandomResizedCrop', size=12, interpolation=value)
            assert crop.interpolation == InterpolationMode(name)
    wanted = IMAGE.resize((9, 9), Image.Resampling.BICUBIC)
    assert np.array_equal(np.asarray(step('Resize', size=(9, 9), interpolation=3)(IMAGE)), np.asarray(wanted))
    with pytest.raises(ConfigError, match=r'interpolation=9 is no interpolation. Known: 0 nearest'):
        step('Resize', size=3, interpolation=9)


TORCHVISION = {
    n: c for n, c in vars(v2).items() if inspect.isclass(c) and issubclass(c, v2.Transform) and c is not v2.Transform
}


@pytest.mark.parametrize('kind', sorted(TORCHVISION))
def test_every_torchvision_name_is_known_and_builds_without_arguments_where_it_can(kind):
    assert kind in PIPELINES
    if kind in ('ToTensor', 'GaussianBlur'):
        assert PIPELINES.get(kind).__module__ == 'selfsup.datasets.pipelines.transforms'
        return
    signature = inspect.signature(PIPELINES.get(kind))
    assert signature == inspect.signature(TORCHVISION[kind])
    if all(
        p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in signature.parameters.values()
    ):
        assert isinstance(step(kind), TORCHVISION[kind])


def test_literals_become_what_torchvision_wants():
    assert step('ToDtype', dtype='float32', scale=True).dtype is torch.float32
    assert step('AutoAugment', policy='cifar10').policy.value == 'cifar10'
    nested = step('RandomApply', transforms=[dict(type='Solarization')], p=1.0)
    assert np.array_equal(np.asarray(nested(IMAGE)), np.asarray(Solarization()(IMAGE)))
    for kind, wrong in (('ToDtype', dict(dtype='float33')), ('AutoAugment', dict(policy='mnist'))):
        with pytest.raises(ConfigError):
            step(kind, **wrong)


def test_errors_name_what_to_do():
    with pytest.raises(UnknownNameError, match="Did you mean 'RandomResizedCrop'"):
        build_pipeline([dict(type='RandomResizeCrop', size=3)])
    with pytest.raises(ConfigError, match="Did you mean 'threshold'"):
        build_pipeline([dict(type='Solarization', treshold=100)])
    with pytest.raises(ConfigError, match=r'steps={.*}: must be a list of'):
        build_pipeline(dict(type='ToTensor'))
    for kind, wrong in (
        ('GaussianBlur', dict(sigma_min=2, sigma_max=1)),
        ('Solarization', dict(threshold=300)),
        ('RandomAppliedTrans', dict(transforms=[], p=2)),
    ):
        with pytest.raises(ConfigError):
            step(kind, **wrong)
    with pytest.raises(DataError, match=r'pipeline step RandomCrop failed on a 32x24 image: Required crop size'):
        build_pipeline([dict(type='RandomCrop', size=64)])(IMAGE)
    with pytest.raises(
        DataError,
        match=r'pipeline step ToTensor failed on a .* tensor: expected uint8, or floats in \[0, 1\]; got torch.int16',
    ):
        build_pipeline([dict(type='ToTensor')])(torch.zeros(3, 4, 4, dtype=torch.int16))


def test_pipelines_must_end_where_the_dataset_needs_it():
    crop, to_tensor, normalize = (
        dict(type='CenterCrop', size=8),
        dict(type='ToTensor'),
        dict(type='Normalize', mean=[0.5], std=[0.5]),
    )
    assert isinstance(build_view_pipeline([crop, to_tensor, normalize], 'pipeline', prefetch=False), Compose)
    with pytest.raises(ConfigError, match=r'pipeline1 makes no tensor: it holds CenterCrop. End it with'):
        build_view_pipeline([crop], 'pipeline1', prefetch=False)
    divided = build_view_pipeline([crop, to_tensor, normalize], 'pipeline2', prefetch=True)
    assert repr(divided) == 'Compose(CenterCrop)' and [type(step).__name__ for step in divided.to_floats] == [
        'ToTensor',
        'Normalize',
    ]
    with pytest.raises(ConfigError, match=r'pipeline2 holds ToTensor, Normalize, but with prefetch images leave'):
        build_view_pipeline([to_tensor, normalize, crop], 'pipeline2', prefetch=True)
    with pytest.raises(ConfigError, match='holds ToTensor'):  # inside another step
        build_view_pipeline([dict(type='RandomAppliedTrans', transforms=[to_tensor])], 'pipeline', prefetch=True)
    build_view_pipeline([crop, lambda image: image], 'pipeline', prefetch=False)  # the user's code may do anything
    build_view_pipeline([], 'pipeline', prefetch=True)
