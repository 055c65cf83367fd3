"""timm's augmentation policies and random erasing as pipeline steps."""

from __future__ import annotations

import random

import numpy as np
import pytest
import timm.data
import torch
from PIL import Image
from timm.data.random_erasing import RandomErasing as TimmErasing

from selfsup.datasets.loaders import SeededDataset
from selfsup.datasets.pipelines import build_pipeline, build_view_pipeline
from selfsup.errors import ConfigError, DataError
from selfsup.registry import PIPELINES

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8))
RECIPE = 'rand-m9-mstd0.5-inc1'
ERASING = {'type': 'RandomErasing', 'scale': (0.02, 1 / 3), 'ratio': (0.3, 1 / 0.3), 'value': 'random'}


def step(**arguments):
    return PIPELINES.build({'type': 'TIMMAutoAugment', **arguments})


def seeded(function, seed):
    random.seed(seed)
    np.random.seed(seed)
    return np.asarray(function(IMAGE))


@pytest.mark.parametrize(
    'policy', [RECIPE, 'rand-m7-n3-p1-mmax12-t3a', 'original', 'v0r-mstd0.5', '3a', 'augmix-m5-w2-d2-b1']
)
@pytest.mark.parametrize(('interpolation', 'name'), [(3, 'bicubic'), ('random', 'random')])
def test_policies_are_those_of_timms_create_transform(policy, interpolation, name):
    recipe = timm.data.create_transform(32, is_training=True, auto_augment=policy, interpolation=name, separate=True)
    reference = recipe[1].transforms[0]  # '3a' is followed by colour jitter there
    mine = step(policy=policy, size=(32, 40), interpolation=interpolation)
    results = [seeded(mine, seed) for seed in range(12)]
    assert all(np.array_equal(result, seeded(reference, seed)) for seed, result in enumerate(results))
    assert sum(not np.array_equal(result, IMAGE) for result in results) >= 6


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'policy': 'rnd-m9'}, "policy='rnd-m9' is unknown. Did you mean 'rand'"),
        ({'policy': 'rand-m9-mstd'}, "'mstd' is no section of 'rand'. Known: m, n, p, mstd, mmax, inc, t"),
        ({'policy': 'rand-p1.5'}, "'p1.5' is no section"),
        ({'policy': 'rand-tall'}, "'tall' is no section"),
        ({'policy': 'v0-m9'}, "'m9' is no section of 'v0'"),
        ({'policy': 9}, 'policy=9: must be a string'),
        ({'policy': RECIPE, 'size': 0}, 'size=0'),
        ({'policy': RECIPE, 'mean': [124, 116, 104]}, 'mean.0=124: must be a number in [0, 1]'),
        ({'policy': RECIPE, 'interpolation': 'cubic'}, 'is no interpolation'),
    ],
)
def test_what_timm_would_pass_over_or_stop_at(arguments, message):
    with pytest.raises(ConfigError) as error:
        step(**arguments)
    assert message.replace('\\', '') in str(error.value)


def test_the_strongest_posterizing_makes_black():
    """timm asks for 0 bits at level 10, which a noisy 9 often reaches; Pillow 13 refuses them."""
    augment = step(policy='rand-m10-n1-p1-inc1', size=40)
    results = [seeded(augment, seed) for seed in range(60)]
    assert 1 <= sum(not result.any() for result in results) <= 12  # one of 15 operations
    weak = step(policy='rand-m5-n1-p1-inc1', size=40)
    assert all(seeded(weak, seed).any() for seed in range(60))


def test_a_tensor_is_refused():
    with pytest.raises(DataError, match='place the step before ToTensor'):
        build_pipeline([dict(type='ToTensor'), dict(type='TIMMAutoAugment', policy=RECIPE)])(IMAGE)


def test_random_erasing_of_torchvision_draws_as_timms():
    """The same distribution of areas and sides, standard normal pixels; the recipes are timm's."""
    torch.manual_seed(0)
    random.seed(0)
    image = torch.full((3, 32, 32), 9.0)
    mine = PIPELINES.build({**ERASING, 'p': 0.25})
    reference = TimmErasing(0.25, mode='pixel', device='cpu')
    counts = []
    for erase in (mine, lambda x: reference(x.clone())):
        erased = torch.stack([(erase(image) != image)[0] for _ in range(1500)])
        hit = erased.flatten(1).any(1)
        area = erased[hit].float().mean((1, 2))
        height = erased[hit].any(2).float().mean(1)
        counts.append((hit.float().mean(), area.mean(), area.std(), height.mean(), height.std()))
    for own, other in zip(*counts, strict=True):
        assert abs(own - other) < 0.05 * (0.5 + other)
    pixels = torch.cat([x[x != 9.0] for x in (PIPELINES.build({**ERASING, 'p': 1.0})(image) for _ in range(200))])
    assert abs(pixels.mean()) < 0.02 and abs(pixels.std() - 1) < 0.02
    assert torch.equal(image, torch.full((3, 32, 32), 9.0))


class Views(torch.utils.data.Dataset):
    """The training pipeline of the ConvNeXt recipes, on one image."""

    def __init__(self):
        self.pipeline = build_view_pipeline(
            [
                dict(type='RandomResizedCrop', size=32, interpolation=3),
                dict(type='RandomHorizontalFlip'),
                dict(type='TIMMAutoAugment', policy=RECIPE, size=32),
                dict(type='ColorJitter', brightness=0.4),
                dict(type='ToTensor'),
                dict(type='Normalize', mean=[0.5] * 3, std=[0.3] * 3),
                {**ERASING, 'p': 0.5},
            ],
            'pipeline',
            prefetch=False,
        )

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return self.pipeline(IMAGE)


def test_views_follow_from_the_seed_alone():
    dataset = SeededDataset(Views(), seed=5)
    draws = [(0, 3, 0), (0, 4, 0), (1, 3, 0)]
    first = [dataset[draw] for draw in draws]
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    assert all(torch.equal(a, dataset[draw]) for a, draw in zip(reversed(first), reversed(draws), strict=True))
    assert not torch.equal(first[0], first[1]) and not torch.equal(first[0], first[2])
    loader = torch.utils.data.DataLoader(dataset, sampler=draws, batch_size=2, num_workers=1)
    assert torch.equal(torch.cat(list(loader)), torch.stack(first))


def test_erasing_does_not_go_with_prefetch():
    with pytest.raises(ConfigError, match='holds RandomErasing, but with prefetch images'):
        build_view_pipeline([dict(type='TIMMAutoAugment', policy=RECIPE), ERASING], 'pipeline', prefetch=True)
    assert (
        build_view_pipeline([dict(type='TIMMAutoAugment', policy=RECIPE)], 'pipeline', prefetch=True)(IMAGE).size
        == IMAGE.size
    )
