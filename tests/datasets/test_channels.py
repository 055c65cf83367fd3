"""Images of other channels than RGB: which steps work on them, what they compute, and what is refused when the dataset is built."""

import math
import random

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_images
from torchvision.transforms import v2

from selfsup.datasets import (
    BYOLDataset,
    ConcatDataset,
    ContrastiveDataset,
    ExtractDataset,
    RelativeLocDataset,
    RepeatDataset,
    RotationPredDataset,
)
from selfsup.datasets.data_sources import ImageFolder
from selfsup.datasets.loaders import build_loader
from selfsup.datasets.pipelines import GaussianBlur, Solarization, ToTensor, build_pipeline
from selfsup.datasets.wrappers import view_channels
from selfsup.errors import ConfigError, DataError
from selfsup.registry import PIPELINES

CROP = dict(type='RandomResizedCrop', size=16)
FLIP, TENSOR = dict(type='RandomHorizontalFlip'), dict(type='ToTensor')
BLUR = dict(type='RandomAppliedTrans', transforms=[dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0)], p=0.5)
LIGHT = dict(type='ColorJitter', brightness=0.4, contrast=0.4)
SOLAR = dict(type='RandomAppliedTrans', transforms=[dict(type='Solarization')], p=0.2)
ANY = [CROP, FLIP, LIGHT, BLUR, SOLAR, dict(type='RandomRotation', degrees=20)]


def statistics(channels):
    return dict(mean=[0.4 + 0.01 * i for i in range(channels)], std=[0.2 + 0.01 * i for i in range(channels)])


def finish(channels):
    return [TENSOR, dict(type='Normalize', **statistics(channels)), dict(type='RandomErasing', p=0.5)]


class Bands:
    """Twelve random images (channels, 24, 20), uint8 or float32 in [0, 1], that say how many channels they have."""

    def __init__(self, channels, kind='uint8', say=True):
        self.number, self.kind = channels, kind
        if say:
            self.channels = channels

    def __len__(self):
        return 12

    def get_sample(self, index):
        values = np.random.RandomState(index).randint(0, 256, (self.number, 24, 20), dtype=np.uint8)
        return torch.from_numpy(values if self.kind == 'uint8' else values.astype(np.float32) / 255)


@pytest.mark.parametrize('kind', ['uint8', 'float32'])
@pytest.mark.parametrize('channels', [1, 4, 13])
def test_the_usual_steps_make_views_of_any_channels(channels, kind):
    dataset = ContrastiveDataset(Bands(channels, kind), [*ANY, *finish(channels)])
    views = torch.cat([dataset[i]['img'] for i in range(12)])
    assert views.shape == (24, channels, 16, 16) and views.dtype == torch.float32 and dataset.channels == channels
    assert len({view.numpy().tobytes() for view in views}) == 24


@pytest.mark.parametrize('channels', [1, 4, 13])
@pytest.mark.parametrize('kind', ['uint8', 'float32'])
def test_the_device_normalises_what_the_pipeline_would(channels, kind):
    """uint8 stays uint8 until then; floats are not divided once more. Floats of the same values give the same views up to rounding."""
    batches = []
    for prefetch in (True, False):
        steps = [CROP, FLIP] if prefetch else [CROP, FLIP, TENSOR, dict(type='Normalize', **statistics(channels))]
        dataset = ContrastiveDataset(Bands(channels, kind), steps, prefetch=prefetch)
        assert dataset[0]['img'].dtype == (torch.uint8 if prefetch and kind == 'uint8' else torch.float32)
        loading = dict(dataset=dataset, batch_size=4, prefetch=prefetch, img_norm_cfg=statistics(channels))
        loader = build_loader(loading, seed=0, device=torch.device('cpu'))
        batches.append(loader.peek()['img'])
        loader.close()
    assert torch.equal(*batches) and batches[0].std() > 0.5


def test_blur_of_tensors_is_a_gaussian():
    image = load_sample_images().images[0][100:228, 200:328]
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)
    for sigma in (0.1, 0.7, 2.0):
        blur = GaussianBlur(sigma, sigma)
        blurred, floats = blur(pixels), blur(pixels / 255)
        assert blurred.dtype == torch.uint8 and (blurred.float() - 255 * floats).abs().max() <= 0.5 + 1e-3
        reach = math.ceil(4 * sigma)
        exact = [gaussian_filter(plane.double().numpy(), sigma, mode='nearest', radius=reach) for plane in pixels]
        assert np.abs(255 * floats.numpy() - np.stack(exact)).max() < 1e-3
        by_pil = v2.functional.pil_to_tensor(blur(v2.functional.to_pil_image(pixels)))
        error = (by_pil.double() - blurred.double()).square().mean()
        assert 10 * torch.log10(255**2 / error) > 40  # PIL takes box filters for the Gaussian
    assert torch.equal(GaussianBlur(0, 0)(pixels), pixels)
    flat = torch.full((13, 5, 4), 0.3)
    # Wider than the image, and nothing comes in from outside.
    torch.testing.assert_close(GaussianBlur(3, 3)(flat), flat)


def test_solarization_of_tensors_is_that_of_images():
    grey = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    for threshold in (0, 1, 100, 128, 255, 256):
        step = Solarization(threshold)
        expected = v2.functional.pil_to_tensor(step(v2.functional.to_pil_image(grey)))
        assert torch.equal(step(grey), expected)
        assert torch.equal((255 * step(ToTensor()(grey))).round().to(torch.uint8), expected)
    with pytest.raises(ConfigError, match='place it before Normalize'):
        ContrastiveDataset(Bands(4), [CROP, *finish(4), dict(type='Solarization')])


def test_jitter_treats_every_channel_as_a_grey_image():
    """Its draws do not depend on the number of channels, nor on the kind of image."""
    image = Bands(13).get_sample(0)
    step = PIPELINES.build(LIGHT)
    outcomes = []
    for picture in (image, *(image[c : c + 1] for c in range(13))):
        torch.manual_seed(5)
        outcomes.append(step(picture))
    assert torch.equal(outcomes[0], torch.cat(outcomes[1:])) and not torch.equal(outcomes[0], image)
    rgb = v2.functional.to_pil_image(image[:3])
    torch.manual_seed(5)
    ours = np.asarray(step(rgb))
    torch.manual_seed(5)
    assert np.array_equal(ours, np.asarray(v2.ColorJitter(brightness=0.4, contrast=0.4)(rgb)))


REFUSED = {
    'RandomGrayscale': {},
    'Grayscale': {},
    'Lighting': {},
    'TIMMAutoAugment': dict(policy='rand-m9'),
    'AutoAugment': {},
    'RandAugment': {},
    'TrivialAugmentWide': {},
    'AugMix': {},
    'RandomPhotometricDistort': {},
    'RandomAdjustSharpness': dict(sharpness_factor=2),
    'RandomAutocontrast': {},
    'ColorJitter': dict(saturation=0.4),
}


@pytest.mark.parametrize('nested', [False, True])
@pytest.mark.parametrize('name', REFUSED)
def test_colours_need_rgb(name, nested):
    """Known when the dataset is built where the source says its channels, else when the first image comes."""
    step = dict(type=name, **REFUSED[name])
    step = dict(type='RandomApply', transforms=[step], p=1.0) if nested else step
    steps = [CROP, TENSOR, step] if name == 'Lighting' else [CROP, step, TENSOR]
    with pytest.raises(
        ConfigError, match=f'pipeline: {name} needs RGB .*; these have 4: (remove it|leave out its)'
    ) as told:
        ContrastiveDataset(Bands(4), steps)
    assert '\n' not in str(told.value) and 'GaussianBlur' in str(told.value)
    dataset = ContrastiveDataset(Bands(4, say=False), steps)
    dataset.use_backend('fast')
    assert dataset.channels is None
    with pytest.raises(DataError, match=f'pipeline step {name} needs RGB .*; these have 4: '):
        for i in range(100):
            random.seed(i)
            torch.manual_seed(i)
            dataset[0]
    ContrastiveDataset(Bands(3), steps)


def test_statistics_for_another_number_of_channels_are_refused():
    line = 'mean has 3 numbers and std 3, but the images have 13 channels: give one number for each .*doctor.py CONFIG --stats'
    with pytest.raises(ConfigError, match=f'pipeline2: Normalize: {line}'):
        BYOLDataset(Bands(13), [CROP, *finish(13)], [CROP, *finish(3)])
    with pytest.raises(ConfigError, match=f'img_norm_cfg: {line}'):
        loading = dict(dataset=ContrastiveDataset(Bands(13), [CROP], prefetch=True), batch_size=2, prefetch=True)
        build_loader({**loading, 'img_norm_cfg': statistics(3)}, seed=0, device=torch.device('cpu'))
    with pytest.raises(ConfigError, match='mean has 3 numbers and std 3, but the images have 1 channel:'):
        ExtractDataset(Bands(1), [TENSOR, dict(type='Normalize', **statistics(3))])
    one = dict(type='Normalize', mean=[0.5], std=[0.5])
    assert ExtractDataset(Bands(13), [TENSOR, one])[0]['img'].shape[0] == 13


def test_the_channels_of_views_are_followed():
    grey = [dict(type='Grayscale'), TENSOR]
    assert ExtractDataset(Bands(3), grey).channels == 1
    assert ExtractDataset(Bands(3), [dict(type='Grayscale', num_output_channels=3), TENSOR]).channels == 3
    spread = ExtractDataset(Bands(3), [*grey, dict(type='Normalize', **statistics(3))])
    assert spread.channels == len(spread[0]['img']) == 3
    for own in (lambda image: image[:2], dict(type='Lambda', lambd=lambda image: image[:2])):
        assert ExtractDataset(Bands(13), [own, dict(type='RandomGrayscale'), TENSOR]).channels is None
    assert BYOLDataset(Bands(3), [TENSOR], grey).channels is None
    four, five = (ExtractDataset(Bands(c), [TENSOR]) for c in (4, 5))
    assert view_channels(RepeatDataset(ConcatDataset([four, four]), 2)) == 4
    assert view_channels(ConcatDataset([four, five])) is None


@pytest.mark.parametrize('kind', ['uint8', 'float32'])
def test_patches_and_rotations_of_tensors(kind):
    source = Bands(4, kind)
    pairs = RelativeLocDataset(source, [dict(type='CenterCrop', size=18)], [TENSOR], patch_jitter=2)
    assert pairs.channels == 4
    torch.manual_seed(0)
    got = pairs[3]['img']
    assert got.shape == (8, 8, 4, 4) and got.dtype == torch.float32
    image = ToTensor()(build_pipeline([dict(type='CenterCrop', size=18)])(source.get_sample(3)))
    places = {image[:, y : y + 4, x : x + 4].numpy().tobytes(): (y // 6, x // 6) for y in range(15) for x in range(15)}
    outer = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2)]
    assert [places[patch[:4].numpy().tobytes()] for patch in got] == outer
    assert {places[patch[4:].numpy().tobytes()] for patch in got} == {(1, 1)}
    turned = RotationPredDataset(source, [dict(type='CenterCrop', size=18), TENSOR])[3]['img']
    assert torch.equal(turned[1], image.rot90(1, (1, 2)))
    prefetched = RelativeLocDataset(source, [dict(type='CenterCrop', size=18)], prefetch=True, patch_jitter=2)
    assert prefetched[3]['img'].dtype == (torch.uint8 if kind == 'uint8' else torch.float32)


@pytest.mark.parametrize('kind', ['uint8', 'float32'])
def test_steps_for_the_device_stay_with_the_workers(kind):
    batches = []
    for prefetch in (True, dict(augment_on_device=True)):
        dataset = ContrastiveDataset(Bands(13, kind), ANY, prefetch=True)
        loading = dict(dataset=dataset, batch_size=4, prefetch=prefetch, img_norm_cfg=statistics(13))
        loader = build_loader(loading, seed=0, device=torch.device('cpu'))
        batches.append(loader.peek()['img'])
        loader.close()
    assert torch.equal(*batches) and batches[0].shape == (4, 2, 13, 16, 16)


@pytest.mark.parametrize('dtype', ['uint8', 'uint16'])
def test_a_cache_keeps_channels_and_bits(tmp_path, dtype):
    for number in range(4):
        values = np.random.RandomState(number).randint(0, np.iinfo(dtype).max, (5, 24, 20)).astype(dtype)
        np.save(tmp_path / f'{number}.npy', values)
    source = ImageFolder(str(tmp_path), channels=5)
    views = []
    for cache in (None, dict(size=64)):
        dataset = ExtractDataset(source, [TENSOR, dict(type='Normalize', **statistics(5))])
        loader = build_loader(dict(dataset=dataset, batch_size=4, cache=cache), seed=0, device=torch.device('cpu'))
        assert dataset.data_source.channels == 5
        views.append(loader.peek()['img'])
        loader.close()
    assert torch.equal(*views)
