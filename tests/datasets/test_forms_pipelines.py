"""Whole pipelines of the shipped configs: draws equal, views alike, every step served."""

from pathlib import Path

import numpy as np
import pytest
import torch

from selfsup.config import load
from selfsup.datasets.data_sources.base import DataSource
from selfsup.datasets.pipelines import build_pipeline
from selfsup.datasets.pipelines.forms import FORMS, FastPipeline, has_form
from selfsup.registry import DATASETS, PIPELINES

from .form_checks import both, decibels, photos, seed_all, states

CONFIGS = Path(__file__).parents[2] / 'configs'
RECIPES = {
    'moco v1': ('selfsup/moco/r50_v1.py', 'pipeline'),
    'moco v2': ('selfsup/moco/r50_v2.py', 'pipeline'),
    'simclr': ('selfsup/simclr/r50_bs256_ep200.py', 'pipeline'),
    'byol, first view': ('selfsup/byol/r50_bs256_ep200.py', 'pipeline1'),
    'byol, second view': ('selfsup/byol/r50_bs256_ep200.py', 'pipeline2'),
    'spark': ('selfsup/spark/r50.py', 'pipeline'),
    'fcmae': ('selfsup/fcmae/tiny.py', 'pipeline'),
    'rotation': ('selfsup/rotation_pred/r50.py', 'pipeline'),
    'deepcluster': ('selfsup/deepcluster/r50.py', 'pipeline'),
    'npid': ('selfsup/npid/r50.py', 'pipeline'),
    'fine-tuning, timm': ('benchmarks/finetuning/imagenet/convnextv2_atto.py', 'pipeline'),
    'fine-tuning, torchvision': ('benchmarks/finetuning/imagenet/spark_r50.py', 'pipeline'),
    'linear': ('benchmarks/linear_classification/imagenet/r50_last.py', 'pipeline'),
    'linear, lighting': ('benchmarks/linear_classification/imagenet/r50_multihead.py', 'pipeline'),
    'digits': ('quickstart/moco_digits.py', 'pipeline'),
    'cifar': ('selfsup/moco/r18_cifar10_small.py', 'pipeline'),
}
# Where a rounding can move a pixel over a threshold, or a histogram by one: tested alone and exactly in test_forms_operations.
THRESHOLDS = ('Equalize', 'AutoContrast', 'Posterize', 'Solarize')
ON_TENSORS = {
    'Normalize',
    'Lighting',
    'RandomErasing',
}  # one is part of ToTensor's form, the others draw noise of their own
WITH_BOXES = {'RandomShortestSize'}  # steps of detection move boxes along and run as they are


def dataset_dict(config):
    return load(str(CONFIGS / config)).cfg['data']['train']


def thresholded(pipeline, image, seed):
    """Whether a policy draws an operation with a threshold."""
    seed_all(seed)
    size = image.size[::-1]
    for step in pipeline.steps:
        form = getattr(step, 'form', None)
        params = None if form is None else form.draw(size)
        if params is None:
            continue
        size = form.size_after(size, params)
        if isinstance(params, list) and any(name.startswith(THRESHOLDS) for name, *_ in params):
            return True
    return False


@pytest.mark.parametrize('recipe', RECIPES)
def test_views_look_the_same(recipe):
    config, key = RECIPES[recipe]
    steps = dataset_dict(config)[key]
    std = next(step['std'] for step in steps if step['type'] == 'Normalize')
    reference = build_pipeline(steps)
    fast, psnr, counted = FastPipeline(reference), [], []
    for seed in range(14):
        for image in photos():
            image = image.resize((28, 28)) if recipe in ('digits', 'cifar') else image
            psnr.append(decibels(*both(reference, image, seed), std))
            if not thresholded(fast, image, seed):
                counted.append(psnr[-1])
    assert np.mean(psnr) >= 46 and min(counted) >= 35 and len(counted) >= 10


def test_every_shipped_step_has_a_form():
    seen = set()

    def walk(value):
        if isinstance(value, dict):
            if value.get('type') in PIPELINES and value['type'] not in ON_TENSORS | WITH_BOXES:
                seen.add(value['type'])
                assert has_form(PIPELINES.build(value)) is not None, value
            for inner in value.values():
                walk(inner)
        elif isinstance(value, (list, tuple)):
            for inner in value:
                walk(inner)

    for path in sorted(CONFIGS.rglob('*.py')):
        if path.parent.name != '_base_' and path.name != 'base.py':
            walk(load(str(path)).cfg)
    assert {'RandomResizedCrop', 'TIMMAutoAugment', 'TrivialAugmentWide', 'RandomRotation', 'RandomAffine'} <= seen
    assert len(FORMS) > 20


class Photos(DataSource):
    """The two photos as arrays or as PIL images."""

    backend = 'reference'

    def __len__(self):
        return len(photos())

    def use_backend(self, backend):
        self.backend = backend

    def read_image(self, index):
        return np.asarray(photos()[index]) if self.backend == 'fast' else photos()[index]

    def describe(self, index):
        return f'photo {index}'


@pytest.mark.parametrize(
    'config', ['selfsup/relative_loc/r50.py', 'selfsup/rotation_pred/r50.py', 'selfsup/moco/r50_v2.py']
)
def test_datasets_draw_and_look_the_same(config):
    dataset, found = DATASETS.build({**dataset_dict(config), 'data_source': Photos()}), {}
    for backend in ('reference', 'fast', 'reference'):
        dataset.use_backend(backend)
        seed_all(5)
        found.setdefault(backend, []).append((dataset[0]['img'], states()))
    (first, after), (again, _) = found['reference']
    assert torch.equal(first, again)
    ((views, fast_after),) = found['fast']
    assert views.shape == first.shape and fast_after == after
    assert views.dtype == torch.float32 and float((views - first).square().mean()) < 1e-3


def test_nested_draws_can_be_made_ahead():
    """What the device does for a batch: draw all parameters, apply later."""
    steps = [dict(type='RandomAppliedTrans', p=0.8, transforms=[
        dict(type='Resize', size=40), dict(type='RandomCrop', size=30), dict(type='ColorJitter', brightness=0.4, hue=0.1)])]  # fmt: skip
    form = has_form(build_pipeline(steps).steps[0])
    image = np.asarray(photos()[0])
    for seed in range(6):
        seed_all(seed)
        expected, after = form(image), states()
        seed_all(seed)
        params = form.draw(image.shape[:2])
        assert states() == after
        got = image if params is None else form.apply(image, params)
        assert np.array_equal(got, expected)
        assert got.shape[:2] == (image.shape[:2] if params is None else form.size_after(image.shape[:2], params))
    user = has_form(PIPELINES.build(dict(type='RandomAppliedTrans', p=0.5, transforms=[lambda image: image])))
    with pytest.raises(TypeError, match='not known ahead'):
        user.draw((9, 9))
