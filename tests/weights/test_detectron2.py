"""Weights for detectron2: names and count as that library builds them, values unchanged, and no file from a wrong network."""

import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from selfsup.errors import CheckpointError
from selfsup.weights.families.resnet import to_detectron2
from selfsup.weights.to.library import write_detectron2

GOLDEN = Path(__file__).resolve().parents[1] / 'golden' / 'detectron2_r50_bottom_up_keys.txt'


@pytest.fixture(scope='module')
def resnet50():
    torch.manual_seed(0)
    return torchvision.models.resnet50().state_dict()


def test_names_and_shapes_are_those_that_detectron2_builds(resnet50):
    """The list was written by detectron2 0.6, whose frozen norms have no num_batches_tracked."""
    converted = to_detectron2(resnet50)
    assert len(converted) == 318
    counters = {name for name in converted if name.endswith('norm.num_batches_tracked')}
    assert len(counters) == 53
    built = dict(line.split(' ', 1) for line in GOLDEN.read_text().splitlines())
    assert len(built) == 265
    assert {name: str(value.shape) for name, value in converted.items() if name not in counters} == built


def test_values_are_unchanged(resnet50):
    converted = to_detectron2(resnet50)
    places = {
        'conv1.weight': 'stem.conv1.weight',
        'bn1.running_var': 'stem.conv1.norm.running_var',
        'layer1.0.downsample.0.weight': 'res2.0.shortcut.weight',
        'layer4.0.downsample.1.bias': 'res5.0.shortcut.norm.bias',
        'layer3.5.conv2.weight': 'res4.5.conv2.weight',
        'layer2.3.bn3.weight': 'res3.3.conv3.norm.weight',
    }
    for name, target in places.items():
        np.testing.assert_array_equal(converted[target], resnet50[name].numpy())


def test_files_without_counters_and_timm_names_are_taken(resnet50):
    plain = {f'model.{name}': value for name, value in resnet50.items() if not name.endswith('num_batches_tracked')}
    assert len(to_detectron2(plain)) == 265
    assert len(to_detectron2(torchvision.models.resnet18().state_dict())) == 20 * 6


def test_the_file_reads_back_with_any_numpy(tmp_path):
    weights = to_detectron2(torchvision.models.resnet18().state_dict())
    path = write_detectron2(tmp_path / 'r18.pkl', weights)
    content = pickle.loads(path.read_bytes(), encoding='latin1')  # as detectron2 reads it
    assert content['matching_heuristics'] is True and content['__author__'] == 'selfsup'
    assert list(content['model']) == list(weights)
    for name, value in weights.items():
        np.testing.assert_array_equal(content['model'][name], value)
        assert content['model'][name].dtype == value.dtype and content['model'][name].flags.writeable
    words = {argument for _, argument, _ in pickletools.genops(path.read_bytes()) if isinstance(argument, str)}
    assert 'numpy' in words and not any(word.startswith(('numpy.', 'torch')) for word in words)


def test_nothing_is_overwritten(tmp_path):
    path = tmp_path / 'x.pkl'
    path.write_text('mine')
    with pytest.raises(CheckpointError, match='exists'):
        write_detectron2(path, {})
    assert path.read_text() == 'mine'
    with pytest.raises(CheckpointError, match=r'must end in \.pkl'):
        write_detectron2(tmp_path / 'x.pth', {}, force=True)
    write_detectron2(path, {'a': np.zeros(1)}, force=True)
    assert list(pickle.loads(path.read_bytes())['model']) == ['a']
    assert [p.name for p in tmp_path.iterdir()] == ['x.pkl']


def _without(weights, name):
    return {key: value for key, value in weights.items() if key != name}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda w: _without(w, 'layer2.1.bn2.bias'), 'Missing: layer2.1.bn2.bias'),
        (lambda w: _without(w, 'bn1.num_batches_tracked'), 'Missing: bn1.num_batches_tracked'),
        (lambda w: {**w, 'layer1.0.se.fc.weight': w['conv1.weight']}, 'Unknown: layer1.0.se.fc.weight'),
        (
            lambda w: {k: v for k, v in w.items() if not k.startswith('layer4.2.')},
            r'\(3, 4, 6, 2\) residual blocks.*ResNet-50 \(3, 4, 6, 3\)',
        ),
        (
            lambda w: {f'backbone.{k}': v for k, v in w.items()},
            r'\(0, 0, 0, 0\) residual blocks.*first names are: backbone.conv1.weight',
        ),
        (lambda w: {**w, 'conv1.weight': torch.zeros(64, 3, 3, 3)}, '7x7'),
    ],
)
def test_other_networks_are_refused(resnet50, change, message):
    with pytest.raises(CheckpointError, match=message):
        to_detectron2(change(resnet50))


def test_a_convnext_is_refused():
    weights = torchvision.models.convnext_tiny().state_dict()
    with pytest.raises(CheckpointError, match='detectron2 builds ResNet-18'):
        to_detectron2(weights)
