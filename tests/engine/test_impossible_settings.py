"""Numbers that no method allows are refused where they are given, with the key to change."""

import math
import warnings

import pytest
import torch
from torch import nn

from selfsup.engine.schedulers import PolicyLR, check_optimizer
from selfsup.errors import ConfigError, SelfSupWarning
from selfsup.evaluation.knn import knn_predict
from selfsup.registry import HOOKS, PIPELINES
from tests.models.tiny_models import TINY_RESNET, tiny_model
from tests.resume.runs import train, write_config


def sgd(*rates):
    return torch.optim.SGD([{'params': [nn.Parameter(torch.ones(1))], 'lr': rate} for rate in rates], lr=max(rates))


@pytest.mark.parametrize(
    ('method', 'key', 'value'),
    [
        ('MOCO', 'momentum', 1.5),
        ('MOCO', 'momentum', -0.1),
        ('MOCO', 'momentum', 'high'),
        ('MOCO', 'momentum', math.nan),
        ('BYOL', 'base_momentum', 1.5),
        ('BYOL', 'base_momentum', -1),
        ('BYOL', 'end_momentum', 2),
    ],
)
def test_momentum_of_a_copy_outside_0_and_1(method, key, value):
    with pytest.raises(ConfigError, match=rf'{method} {key}={value!r}: must be a number in \[0, 1\]'):
        tiny_model(method, TINY_RESNET, 64, **{key: value})
    for fine in (0, 0.5, 1):
        tiny_model(method, TINY_RESNET, 64, **{key: fine})


@pytest.mark.parametrize('value', [7, -0.5, 1, 1.0001, math.nan])
def test_momentum_of_an_optimizer(value):
    with pytest.raises(ConfigError, match=rf'optimizer\.momentum={value}: must be a number in \[0, 1\)'):
        check_optimizer({'type': 'SGD', 'lr': 0.1, 'momentum': value})
    check_optimizer({'type': 'SGD', 'lr': 0.1, 'momentum': 0})
    check_optimizer({'type': 'AdamW', 'lr': 0.1})


@pytest.mark.parametrize(
    'options',
    [
        ("optimizer={'type': 'SGD', 'lr': 0.01, 'momentum': 7}",),
        ("optimizer={'type': 'LARS', 'lr': 0.01, 'momentum': -0.5}",),
    ],
)
def test_training_refuses_it(tmp_path, options):
    with pytest.raises(ConfigError, match=r'optimizer\.momentum='):
        train(write_config(tmp_path), tmp_path / 'work', *options, curves=False)


@pytest.mark.parametrize(
    'policy',
    [
        {'policy': 'CosineAnnealing', 'min_lr': 0.2},
        {'policy': 'poly', 'min_lr': 0.2},
        {'policy': 'WarmupCosine', 'min_lr': 0.2},
        {'policy': 'step', 'step': [1], 'min_lr': 0.2},
    ],
)
def test_a_smallest_rate_above_the_rate(policy):
    with pytest.raises(ConfigError, match=r'^lr_config\.min_lr=0\.2 is above the learning rate, 0\.1 \(optimizer\.lr'):
        PolicyLR(sgd(0.1), 5, 10, **policy)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        PolicyLR(sgd(0.2), 5, 10, **policy)  # equal: a constant rate


@pytest.mark.parametrize('policy', ['CosineAnnealing', 'WarmupCosine'])
def test_a_smallest_share_above_1(policy):
    with pytest.raises(ConfigError, match=r'lr_config\.min_lr_ratio=1\.5 is above 1'):
        PolicyLR(sgd(0.1), 5, 10, policy=policy, min_lr_ratio=1.5)


def test_groups_below_the_smallest_rate_are_said():
    with pytest.warns(
        SelfSupWarning, match=r'min_lr=0\.05 is above the learning rate of 2 of 3 parameter groups \(0 for the lowest\)'
    ):
        PolicyLR(sgd(0.1, 0.01, 0.0), 5, 10, policy='CosineAnnealing', min_lr=0.05)


def test_steps_that_climb_are_said():
    with pytest.warns(SelfSupWarning, match=r'lr_config\.gamma=10: the learning rate climbs'):
        PolicyLR(sgd(0.1), 5, 10, policy='step', step=[1], gamma=10)


def test_schedules_of_mmengine_too(tmp_path):
    cosine = "param_scheduler=[{'type': 'CosineAnnealingLR', 'T_max': 9, 'by_epoch': False, 'eta_min': 0.5}]"
    with pytest.raises(
        ConfigError, match=r'param_scheduler CosineAnnealingLR: eta_min=0\.5 is above the learning rate, 0\.01'
    ):
        train(write_config(tmp_path), tmp_path / 'work', 'lr_config=None', cosine, curves=False)


@pytest.mark.parametrize('temperature', [0, -0.07, math.nan, math.inf, '0.07', True])
def test_temperature_of_knn(temperature):
    features, labels = torch.eye(3), torch.arange(3)
    with pytest.raises(ConfigError, match=r'^knn_predict temperature=.* must be a number > 0'):
        knn_predict(features, labels, features, k=(1,), temperature=temperature)
    with pytest.raises(ConfigError, match=r'^KNNHook temperature=.* must be a number > 0'):
        HOOKS.build({'type': 'KNNHook', 'train': {}, 'test': {}, 'temperature': temperature})


@pytest.mark.parametrize('step', ['RandomResizedCrop', 'RandomErasing'])
@pytest.mark.parametrize(
    'scale', [(0, 0), (1.5, 2.0), (-0.1, 0.5), (0.8, 0.2), (0.5, 1.1), 0.5, ('a', 'b'), (0.1, 0.2, 0.3)]
)
def test_areas_that_no_image_has(step, scale):
    size = {'size': 8} if step == 'RandomResizedCrop' else {}
    with pytest.raises(ConfigError, match=rf'{step} scale=.*share of the area of the image'):
        PIPELINES.build({'type': step, 'scale': scale, **size})
    for fine in ((0.2, 1.0), [0.08, 1], (1, 1), (0.0, 0.3)):
        PIPELINES.build({'type': step, 'scale': fine, **size})
