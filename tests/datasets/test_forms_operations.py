"""Each fast form against its step: the same draws, and pixels as alike as the operation allows."""

import logging
import pickle
import sys
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from PIL import Image

from selfsup.datasets.pipelines import build_pipeline
from selfsup.datasets.pipelines.forms import FastPipeline, has_form, opencv
from selfsup.datasets.pipelines.forms.draws import Numbers, numpy_between
from selfsup.datasets.pipelines.forms.warps import affine, rotate
from selfsup.errors import DataError
from selfsup.registry import PIPELINES

from .form_checks import both, crops, decibels, noise, photos, seed_all

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
NORMALIZED = [dict(type='ToTensor'), dict(type='Normalize', mean=MEAN, std=STD)]
# Name -> steps, and the mean and smallest PSNR in decibels; what is equal in nearly all pixels counts for 60.
ALIKE = {
    'crop bilinear': ([dict(type='RandomResizedCrop', size=224)], 58, 48),
    'crop bicubic': ([dict(type='RandomResizedCrop', size=(96, 64), scale=(0.2, 1.0), interpolation=3)], 58, 48),
    'resize': ([dict(type='Resize', size=256)], 58, 50),
    'warp': ([dict(type='Resize', size=(50, 70), interpolation=3)], 58, 48),
    'resize to the longer side': ([dict(type='Resize', size=200, max_size=250)], 58, 50),
    'brightness': ([dict(type='ColorJitter', brightness=0.8)], 58, 50),
    'contrast': ([dict(type='ColorJitter', contrast=0.8)], 58, 50),
    'saturation': ([dict(type='ColorJitter', saturation=1.0)], 54, 50),
    'hue': ([dict(type='ColorJitter', hue=0.5)], 50, 44),
    'jitter': ([dict(type='ColorJitter', brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2)], 48, 40),
    'grayscale': ([dict(type='RandomGrayscale', p=0.7)], 58, 55),
    'blur': ([dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0)], 50, 46),
    'wide blur': ([dict(type='GaussianBlur', sigma_min=3.0, sigma_max=6.0)], 50, 46),
    'sharpness': ([dict(type='RandomAdjustSharpness', sharpness_factor=1.7)], 58, 55),
    'TrivialAugmentWide': ([dict(type='TrivialAugmentWide', interpolation=3)], 55, 40),
    'torchvision RandAugment': ([dict(type='RandAugment', interpolation='bilinear', fill=[1, 2, 3])], 50, 35),
    'coin': ([dict(type='RandomApply', transforms=[dict(type='ColorJitter', hue=0.1)], p=0.5)], 50, 44),
}
# Steps with thresholds or nearest neighbours, and those that only move pixels: equal on equal input.
EXACT = {
    'centre crop': [dict(type='CenterCrop', size=100)],
    'centre crop, larger': [dict(type='CenterCrop', size=(251, 460))],
    'random crop': [dict(type='RandomCrop', size=90)],
    'random crop, padded': [dict(type='RandomCrop', size=230, padding=[4, 7])],
    'random crop, padded if needed': [dict(type='RandomCrop', size=(500, 300), pad_if_needed=True)],
    'random crop, mirrored': [dict(type='RandomCrop', size=230, padding=4, padding_mode='reflect')],
    'horizontal flip': [dict(type='RandomHorizontalFlip')],
    'vertical flip': [dict(type='RandomVerticalFlip', p=0.7)],
    'nearest crop': [dict(type='RandomResizedCrop', size=60, interpolation=0)],
    'solarization': [dict(type='Solarization', threshold=100)],
    'solarize': [dict(type='RandomSolarize', threshold=128)],
    'posterize': [dict(type='RandomPosterize', bits=3)],
    'jitter beyond all photos': [dict(type='ColorJitter', brightness=(1e9, 1e9))],
    'equalize': [dict(type='RandomEqualize')],
    'autocontrast': [dict(type='RandomAutocontrast')],
    'invert': [dict(type='RandomInvert')],
    'rotation': [dict(type='RandomRotation', degrees=20)],
    'rotation, expanded': [dict(type='RandomRotation', degrees=20, expand=True), dict(type='RandomVerticalFlip')],
    'affine': [dict(type='RandomAffine', degrees=10, translate=(0.1, 0.2), shear=3)],
    'ToTensor': [dict(type='ToTensor')],
    'ToTensor and Normalize': NORMALIZED,
    'after the tensor': [*NORMALIZED, dict(type='RandomErasing', p=0.5, value='random')],
    'lighting': [NORMALIZED[0], dict(type='Lighting'), NORMALIZED[1]],
    'step of the user': [dict(type='RandomHorizontalFlip'), lambda image: image.rotate(90), *NORMALIZED],
}
TIMM = ('AutoContrast', 'Equalize', 'Invert', 'Posterize', 'PosterizeOriginal', 'PosterizeIncreasing', 'Solarize',
        'SolarizeAdd', 'SolarizeIncreasing')  # fmt: skip
MATRICES = [
    (1, 0.3, 0, 0, 1, 0),
    (1, 0, 0, -0.9, 1, 0),
    (1, 0, 20.4, 0, 1, 0),
    (1, 0, 0, 0, 1, -31),
    (1, 0, 400, 0, 1, 0),
]
REFUSED = [
    [dict(type='RandomCrop', size=300)],
    [NORMALIZED[0], dict(type='Normalize', mean=[0.5] * 2, std=[1.0] * 2)],
    *([dict(type='RandomPosterize', bits=bits, p=1.0)] for bits in (0, 9, 2.5)),
    [dict(type='CenterCrop', size=[-1, 4])],
]


@pytest.mark.parametrize('name', ALIKE)
def test_operation_looks_the_same(name):
    steps, mean, smallest = ALIKE[name]
    reference = build_pipeline(steps)
    assert has_form(reference.steps[0]) is not None
    images = [*photos(), *crops()] if 'crop' in name or 'resize' in name or name == 'warp' else crops()
    psnr = [decibels(*both(reference, image, seed)) for seed in range(3) for image in images]
    assert np.mean(psnr) >= mean and min(psnr) >= smallest


@pytest.mark.parametrize('name', EXACT)
def test_operation_is_equal(name):
    reference = build_pipeline(EXACT[name])
    for seed in range(6):
        expected, got = both(reference, crops()[seed], seed)
        if isinstance(expected, torch.Tensor):
            assert torch.equal(expected, got)
        else:
            assert np.array_equal(np.asarray(expected), np.asarray(got))


@pytest.mark.parametrize(
    'policy', ['rand-m9-mstd0.5-inc1', 'rand-m7-n3-p0.8', 'rand-m9-tweights', 'original-mstd0.5', 'v0r', '3a']
)
def test_policies_of_timm_draw_and_look_the_same(policy):
    reference = build_pipeline([dict(type='TIMMAutoAugment', policy=policy, interpolation='random')])
    assert has_form(reference.steps[0]) is not None
    psnr = [decibels(*both(reference, crops()[seed % 8], seed)) for seed in range(24)]
    assert np.mean(psnr) >= 46


@pytest.mark.parametrize('name', TIMM)
def test_operations_with_thresholds_are_equal(name):
    from timm.data.auto_augment import AugmentOp

    from selfsup.datasets.pipelines.forms.policies import POINTWISE

    step = PIPELINES.build(dict(type='TIMMAutoAugment', policy='rand-m9'))
    for seed, image in enumerate(
        [*crops(), noise(1, 1), noise(1, 7), noise(3, 40), Image.new('RGB', (9, 5), (7, 7, 200))]
    ):
        operation = AugmentOp(name, prob=1.0, magnitude=seed % 11)
        level = () if operation.level_fn is None else operation.level_fn(operation.magnitude, operation.hparams)
        posterize = next(op.aug_fn for op in step.augment.ops if op.name == 'Posterize')
        apply = posterize if name.startswith('Posterize') else operation.aug_fn
        assert np.array_equal(np.asarray(apply(image, *level)), POINTWISE[name](np.asarray(image), *level))


@pytest.mark.parametrize('matrix', MATRICES)
def test_shears_and_shifts_are_pils(matrix):
    for image in (*crops()[:3], noise(1, 1), noise(2, 30), noise(30, 2)):
        bicubic, fill = Image.Resampling.BICUBIC, (1, 2, 3)
        expected = image.transform(image.size, Image.Transform.AFFINE, matrix, bicubic, fillcolor=fill)
        difference = np.asarray(expected).astype(int) - affine(np.asarray(image), matrix, bicubic, fill)
        assert np.abs(difference).max() <= 1


@pytest.mark.parametrize('degrees', [-30, 1.3, 100, 180])
def test_rotations_look_like_pils(degrees):
    bicubic, fill = Image.Resampling.BICUBIC, (255, 0, 254)
    for image in (*crops()[:4], noise(1, 1), noise(2, 30)):
        expected, got = (
            np.asarray(image.rotate(degrees, bicubic, fillcolor=fill)),
            rotate(np.asarray(image), degrees, bicubic, fill),
        )
        assert np.array_equal((expected == fill).all(-1), (got == fill).all(-1))  # the same pixels come from outside
        assert min(image.size) < 200 or decibels(image.rotate(degrees, bicubic, fillcolor=fill), got) >= 44


def test_numbers_are_those_of_torch_and_numpy():
    numbers = Numbers()
    for seed in range(300):
        low, high, end = -0.01 * seed, 0.03 * seed + 1, 7919 * seed % 1000 + 1
        seed_all(seed)
        expected = [
            torch.rand(1).item(),
            torch.empty(1).uniform_(low, high).item(),
            torch.randint(0, end, size=(1,)).item(),
        ]
        expected += [torch.exp(torch.empty(1).uniform_(low, high)).item(), np.random.uniform(low, high)]
        after = torch.get_rng_state()
        seed_all(seed)
        got = [numbers.share(), numbers.between(low, high), numbers.below(end), numbers.exp_between(low, high)]
        assert got == expected[:4]
        assert numpy_between(low, high) == pytest.approx(
            expected[4], rel=1e-15
        )  # a machine may add and multiply in one step
        assert torch.equal(torch.get_rng_state(), after)


def test_processes_that_are_spawned_draw_into_tensors_of_their_own():
    """What torch sends to another process lies in memory that both share: one would read what the other has just drawn."""
    here = Numbers()
    there = pickle.loads(ForkingPickler.dumps(here))
    drawn = here.share(), here.below(1000)
    there.between(2, 3), there.below(1000)
    assert (here._real.item(), here._whole.item()) == drawn


WHOLE = [dict(type='RandomResizedCrop', size=24), dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
         dict(type='GaussianBlur', sigma_min=0.1, sigma_max=2.0), dict(type='TIMMAutoAugment', policy='rand-m9', size=24),
         dict(type='RandomHorizontalFlip'), dict(type='Resize', size=(9, 31)), *NORMALIZED]  # fmt: skip


@pytest.mark.parametrize('size', [(1, 1), (1, 300), (300, 1), (2, 2), (3000, 17)])
def test_any_size_draws_alike_and_gives_tensors(size):
    reference = build_pipeline(WHOLE)
    for seed in range(4):
        expected, got = both(reference, noise(*size), seed)
        assert got.shape == expected.shape == (3, 9, 31) and got.dtype == torch.float32


@pytest.mark.parametrize('view', [lambda a: a[:, ::-1], lambda a: a[::2, 5:], lambda a: a.transpose(1, 0, 2)])
def test_arrays_of_any_layout(view):
    array = view(np.array(crops()[0]))
    colours = [*WHOLE[:3], WHOLE[4], *NORMALIZED]
    for steps in (WHOLE, colours[1:], [dict(type='RandomGrayscale', p=1.0), dict(type='RandomRotation', degrees=9)]):
        pipeline = FastPipeline(build_pipeline(steps))
        outputs = []
        for image in (array, np.ascontiguousarray(array), Image.fromarray(np.ascontiguousarray(array))):
            before = np.array(image)
            seed_all(1)
            outputs.append(np.asarray(pipeline(image)))
            assert np.array_equal(before, np.asarray(image))  # the source's pixels are not changed
        assert np.array_equal(outputs[0], outputs[1]) and np.array_equal(outputs[0], outputs[2])


def test_grey_photos_stay_grey():
    grey = Image.merge('RGB', [crops()[0].convert('L')] * 3)
    _, got = both([dict(type='ColorJitter', saturation=0.5, hue=0.5)], grey, 0)
    assert np.array_equal(got, np.asarray(grey))


@pytest.mark.parametrize('steps', REFUSED)
def test_errors_are_those_of_the_reference(steps):
    reference = build_pipeline(steps)
    messages = []
    for pipeline, image in ((reference, crops()[0]), (FastPipeline(reference), np.asarray(crops()[0]))):
        with pytest.raises(DataError) as caught:
            pipeline(image)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert repr(FastPipeline(reference)) == repr(reference)


def test_without_opencv_the_steps_run_as_they_are(monkeypatch, caplog):
    opencv.has_opencv.cache_clear()
    monkeypatch.setitem(sys.modules, 'cv2', None)
    try:
        with caplog.at_level(logging.WARNING, logger='selfsup'):
            logging.getLogger('selfsup').propagate = True
            expected, got = both(build_pipeline([*WHOLE[1:5], *NORMALIZED]), crops()[0], 0)
        assert torch.equal(expected, got)
        assert sum('OpenCV' in record.getMessage() for record in caplog.records) == 1
    finally:
        opencv.has_opencv.cache_clear()
