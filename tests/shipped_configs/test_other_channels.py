"""One small shipped config of every method takes two steps on images of 1, 4 or 13 channels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from selfsup import config as configs
from selfsup import engine
from selfsup.datasets.pipelines.channels import NEEDS

from .small import IMAGES, STEPS, image_folder, options
from .test_build_and_step import ROOT

CHANNELS = {  # file -> channels of its images, whether they have 16 bits
    'selfsup/moco/r18_cifar10_small.py': (13, True),
    'selfsup/simclr/r18_cifar10_small.py': (4, False),
    'selfsup/byol/r18_cifar10_small.py': (1, True),
    'selfsup/npid/r18_cifar10_small.py': (13, False),
    'selfsup/odc/r18_cifar10_small.py': (4, True),
    'selfsup/deepcluster/r18_cifar10_small.py': (13, True),
    'selfsup/relative_loc/r18_cifar10_small.py': (4, False),
    'selfsup/rotation_pred/r18_cifar10_small.py': (13, False),
    'selfsup/spark/r18_cifar10_small.py': (1, False),
    'selfsup/fcmae/convnextv2_cifar10_small.py': (13, True),
    'benchmarks/linear_classification/cifar10/r18_small.py': (4, True),
    'benchmarks/semi_classification/cifar10/r18_small_10percent.py': (13, False),
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The folder of RGB images that `small.options` asks for, and beside it those of other channels in two classes."""
    folder = tmp_path_factory.mktemp('images')
    image_folder(folder / 'rgb')
    for channels, deep in set(CHANNELS.values()):
        for number in range(IMAGES):
            values = np.random.RandomState(number).randint(0, 256, (channels, 40, 36))
            path = folder / f'{channels}_{deep}' / 'ab'[number % 2] / f'{number}.npy'
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, (values * 200).astype(np.uint16) if deep else values.astype(np.uint8))
    return folder


def for_channels(value: Any, source: dict) -> Any:
    """A part of a compiled config with other images: their source, steps that work on them, statistics of their channels."""
    if isinstance(value, (list, tuple)):
        kept = [part for part in value if not (isinstance(part, dict) and part.get('type') in NEEDS)]
        return type(value)(for_channels(part, source) for part in kept)
    if not isinstance(value, dict):
        return value
    made = {key: source if key == 'data_source' else for_channels(part, source) for key, part in value.items()}
    if made.get('type') == 'ColorJitter':
        return {**made, 'saturation': 0, 'hue': 0}
    if {'mean', 'std'} <= set(made):
        made.update(mean=[0.5] * source['channels'], std=[0.3] * source['channels'])
    return made


@pytest.mark.parametrize('name', CHANNELS)
def test_two_steps(name, folder, tmp_path):
    channels, deep = CHANNELS[name]
    torch.set_num_threads(1)
    path = ROOT / 'configs' / name
    loaded = configs.load(str(path), options(path, folder / 'rgb'))
    source = {'type': 'ImageFolder', 'root': str(folder / f'{channels}_{deep}'), 'channels': channels}
    compiled = for_channels(configs.compile_config(loaded), source)
    compiled['work_dir'] = str(tmp_path)
    if not compiled['model'].get('with_sobel'):
        compiled['model']['backbone']['in_channels'] = channels
    runner = engine.train(compiled, loaded)
    assert runner.iter == STEPS * runner.optim_wrapper.update_interval
    weights = torch.load(tmp_path / 'latest.pth', weights_only=True)['state_dict']
    stem = next(value for name, value in weights.items() if name.startswith('backbone.') and value.dim() == 4)
    assert stem.shape[1] == (2 if compiled['model'].get('with_sobel') else channels) and bool(stem.isfinite().all())
    assert all(math.isfinite(float(p.detach().sum())) for p in runner.model.parameters())
