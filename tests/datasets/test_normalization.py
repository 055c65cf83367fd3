"""Mean and std that belong to images of another range, and steps that need another kind of image."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from selfsup.datasets import ClassificationDataset
from selfsup.datasets.data_sources import Digits
from selfsup.datasets.loaders import build_loader
from selfsup.datasets.pipelines import build_pipeline, build_view_pipeline
from selfsup.errors import ConfigError, DataError

BYTES = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
UNIT = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
RIGHT = r'Use mean=\[0\.485, 0\.456, 0\.406\], std=\[0\.229, 0\.224, 0\.225\]'


@pytest.mark.parametrize(
    'before',
    [
        [dict(type='ToTensor')],
        [dict(type='ToTensor'), dict(type='Lighting'), dict(type='RandomErasing')],
        [dict(type='ToImage'), dict(type='ToDtype', dtype='float32', scale=True)],
        [dict(type='PILToTensor'), dict(type='ConvertImageDtype', dtype='float32')],
        [dict(type='RandomApply', transforms=[dict(type='ToTensor')], p=1.0)],
        [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)],
    ],
    ids=['ToTensor', 'steps between', 'ToDtype', 'ConvertImageDtype', 'nested', 'objects'],
)
def test_statistics_of_bytes_after_a_division(before):
    with pytest.raises(
        ConfigError, match=rf'pipeline: Normalize: mean=\[123\.7, .* belong to images in \[0, 255\].* {RIGHT}'
    ):
        build_view_pipeline([*before, dict(type='Normalize', **BYTES)], 'pipeline', prefetch=False)
    build_view_pipeline([*before, dict(type='Normalize', **UNIT)], 'pipeline', prefetch=False)


def test_the_values_to_use_give_what_was_meant():
    """(x - m) / s of bytes is (x / 255 - m / 255) / (s / 255)."""
    image = Digits('train', size=8).get_sample(0)[0]
    mean, std = (torch.tensor(BYTES[key])[:, None, None] for key in ('mean', 'std'))
    meant = (v2.functional.pil_to_tensor(image).float() - mean) / std
    scaled = {key: [value / 255 for value in values] for key, values in BYTES.items()}
    got = build_view_pipeline([dict(type='ToTensor'), dict(type='Normalize', **scaled)], 'pipeline', prefetch=False)(
        image
    )
    torch.testing.assert_close(got, meant, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ('statistics', 'right'),
    [
        (dict(mean=[0.0] * 3, std=[255.0] * 3), r'mean=\[0, 0, 0\], std=\[1, 1, 1\]'),  # a second division
        (
            dict(mean=[0.485, 0.456, 0.406], std=[58.395, 57.12, 57.375]),
            r'mean=\[0\.485, .*std=\[0\.229, 0\.224, 0\.225\]',
        ),  # mixed up
        # Caffe's
        (dict(mean=[103.53, 116.28, 123.675], std=[1.0] * 3), r'mean=\[0\.406, 0\.456, 0\.485\], std=\[0\.003922, '),
        (dict(mean=[127.5], std=[127.5]), r'mean=\[0\.5\], std=\[0\.5\]'),
    ],
)
def test_other_statistics_of_bytes(statistics, right):
    with pytest.raises(ConfigError, match=f'Use {right}'):
        build_view_pipeline([dict(type='ToTensor'), dict(type='Normalize', **statistics)], 'pipeline', prefetch=False)


def test_statistics_of_divided_images_without_a_division():
    steps = [dict(type='ToImage'), dict(type='ToDtype', dtype='float32')]
    with pytest.raises(
        ConfigError, match=r'belong to images in \[0, 1\], but nothing has divided these.* or mean=\[123\.7, 116\.3, '
    ):
        build_view_pipeline([*steps, dict(type='Normalize', **UNIT)], 'pipeline', prefetch=False)
    build_view_pipeline([*steps, dict(type='Normalize', **BYTES)], 'pipeline', prefetch=False)


@pytest.mark.parametrize(
    'steps',
    [
        [dict(type='ToTensor'), dict(type='Normalize', mean=[0.0] * 3, std=[1.0] * 3)],
        [dict(type='ToTensor'), dict(type='Normalize', mean=[0.5], std=[0.5])],
        # Code of the user's.
        [dict(type='ToTensor'), v2.Lambda(lambda image: 255 * image), dict(type='Normalize', **BYTES)],
        [dict(type='ToTensor'), dict(type='Normalize', **UNIT), dict(type='Normalize', mean=[2.0] * 3, std=[2.0] * 3)],
        [dict(type='ToTensor'), lambda image: 255 * image, dict(type='Normalize', **BYTES)],
    ],
)
def test_what_may_be_meant_passes(steps):
    build_view_pipeline(steps, 'pipeline', prefetch=False)


def test_the_loader_that_normalises_on_the_device():
    data = ClassificationDataset(dict(type='Digits', size=8), [dict(type='RandomHorizontalFlip')], prefetch=True)
    section = dict(batch_size=8, dataset=data, prefetch=True)
    with pytest.raises(ConfigError, match=rf'img_norm_cfg: mean=.*{RIGHT}'):
        build_loader({**section, 'img_norm_cfg': BYTES}, seed=0, device=torch.device('cpu'))
    build_loader({**section, 'img_norm_cfg': UNIT}, seed=0, device=torch.device('cpu')).close()


BLUR = dict(type='GaussianBlur', sigma_min=0.1, sigma_max=1.0)


@pytest.mark.parametrize('nested', [False, True])
@pytest.mark.parametrize('channels', [1, 3, 13])
def test_a_step_for_pil_images_names_itself_when_it_meets_a_tensor(channels, nested):
    step = dict(type='TIMMAutoAugment', policy='rand-m9')
    step = dict(type='RandomAppliedTrans', transforms=[BLUR, step], p=1.0) if nested else step
    reason = r'TIMMAutoAugment needs RGB images \(3 channels\); these have'
    if channels == 3:
        reason = r'.* failed on a \(3, 9, 9\) tensor: expected a PIL image, got Tensor: place the step before ToTensor'
    with pytest.raises(DataError, match=f'pipeline step {reason}'):
        build_pipeline([step])(torch.rand(channels, 9, 9))


@pytest.mark.parametrize(
    'code',
    [lambda image: image.no_such_attribute, lambda image: {}['key'], lambda image: image.size[7], lambda image: 1 // 0],
)
def test_a_step_of_the_users_that_fails_is_one_line(code):
    with pytest.raises(DataError, match='pipeline step function failed on a 5x4 image: '):
        build_pipeline([code])(Image.new('RGB', (5, 4)))
