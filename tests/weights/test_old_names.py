"""Old names of weights become ours; old files load whole, as backbones and flat; the upgrading tool."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from selfsup.errors import CheckpointError
from selfsup.registry import MODELS
from selfsup.weights.layouts.openselfsup import RENAMED, upgrade
from selfsup.weights.load import load_backbone, load_model
from selfsup.weights.upgrade import upgrade_file
from tests.models.tiny_models import TINY_RESNET, tiny_config

ROOT = Path(__file__).resolve().parents[2]


def build(name):
    torch.manual_seed(0)
    return MODELS.build(tiny_config(name, dict(TINY_RESNET), 64))


def old_file(name, path):
    """What OpenSelfSup would have saved of a model: networks in sequences, the backbone once more."""
    model = build(name)
    kinds = {
        'MOCO': ('encoder_q.', 'encoder_k.'),
        'BYOL': ('online_net.', 'target_net.'),
        'DeepCluster': ('head.criterion',),
        'ODC': ('head.criterion',),
    }[name]
    names = {new: old for old, new in RENAMED if old.startswith(kinds)} if kinds else {}
    weights = {}
    for key, value in model.state_dict().items():
        value = value + 1 if value.is_floating_point() else value
        old = next((old + key[len(new) :] for new, old in names.items() if key.startswith(new)), key)
        weights[old] = value
        if key.startswith('backbone.'):
            weights[key] = value
    weights['sobel_layer.0.weight'] = torch.ones(1, 3, 1, 1)
    torch.save(
        {'state_dict': weights, 'meta': {'epoch': 3, 'openselfsup_version': '0.3.0'}, 'optimizer': {'state': {}}}, path
    )
    return weights


@pytest.mark.parametrize('name', ['MOCO', 'BYOL', 'DeepCluster', 'ODC'])
def test_whole_models_load_in_full(name, tmp_path):
    old_file(name, tmp_path / 'old.pth')
    expected, model = build(name).state_dict(), build(name)
    load_model(model, str(tmp_path / 'old.pth'), strict=True)
    for key, value in model.state_dict().items():
        wanted = expected[key] + 1 if value.is_floating_point() else expected[key]
        torch.testing.assert_close(value, wanted, rtol=0, atol=0, msg=key)


@pytest.mark.parametrize('kind', ['whole', 'backbone', 'flat'])
def test_backbones_load_from_every_kind_of_file(kind, tmp_path):
    weights = old_file('MOCO', tmp_path / 'whole.pth')
    bare = {key.removeprefix('encoder_q.0.'): value for key, value in weights.items() if key.startswith('encoder_q.0.')}
    torch.save({'state_dict': bare, 'author': 'OpenSelfSup'}, tmp_path / 'backbone.pth')
    torch.save(bare, tmp_path / 'flat.pth')
    model = build('SimCLR')
    load_backbone(model, str(tmp_path / f'{kind}.pth'))
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, bare[key]), key


def test_names_that_are_ours_stay():
    new = build('MOCO').state_dict()
    assert upgrade(new) == dict(new) and list(upgrade(new)) == list(new)
    assert list(upgrade({'module.encoder_k.1.fc.weight': 1, 'module.queue': 2})) == ['key_neck.fc.weight', 'queue']


def test_a_flat_dict_loses_its_head_and_a_whole_file_keeps_it(tmp_path):
    flat = {'backbone.conv1.weight': torch.ones(2), 'head.fc_cls.bias': torch.ones(3)}
    torch.save(flat, tmp_path / 'flat.pth')
    torch.save({'state_dict': flat}, tmp_path / 'whole.pth')
    for name, left in (('flat', 1), ('whole', 2)):
        path, number = upgrade_file(tmp_path / f'{name}.pth', tmp_path / f'{name}_new.pth')
        assert number == left == len(torch.load(path, weights_only=True)['state_dict'])
    with pytest.raises(CheckpointError, match='exists; give --force'):
        upgrade_file(tmp_path / 'flat.pth', tmp_path / 'flat_new.pth')


def test_the_tool(tmp_path):
    old_file('MOCO', tmp_path / 'old.pth')
    command = [
        sys.executable,
        str(ROOT / 'tools/upgrade_models.py'),
        str(tmp_path / 'old.pth'),
        '--save-path',
        str(tmp_path / 'new.pth'),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={'PYTHONPATH': str(ROOT), 'PATH': '/usr/bin:/bin'}
    )
    assert done.returncode == 0, done.stderr
    load_model(build('MOCO'), str(tmp_path / 'new.pth'), strict=True)
    torch.save({'meta': {}}, tmp_path / 'empty.pth')
    command[2:] = [str(tmp_path / 'empty.pth'), '--save-path', str(tmp_path / 'x.pth')]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={'PYTHONPATH': str(ROOT), 'PATH': '/usr/bin:/bin'}
    )
    assert done.returncode == 1 and done.stderr.endswith('holds no weights; its entries are meta.\n')


@pytest.mark.parametrize('name', ['DeepCluster', 'ODC'])
def test_the_weights_of_clusters_are_where_the_loss_was(name, tmp_path):
    weights = old_file(name, tmp_path / 'old.pth')
    given = torch.arange(len(weights.pop('head.criterion.weight'))) + 1.0
    torch.save({'state_dict': {**weights, 'head.criterion.weight': given}}, tmp_path / 'old.pth')
    model = build(name)
    load_model(model, str(tmp_path / 'old.pth'), strict=True)
    assert torch.equal(model.loss_weight, given)
    torch.save({**weights, 'head.criterion.weight': given}, tmp_path / 'flat.pth')
    kept = torch.load(upgrade_file(tmp_path / 'flat.pth', tmp_path / 'new.pth')[0], weights_only=True)['state_dict']
    assert not [key for key in kept if key.startswith(('head', 'loss_weight'))]
    whole = torch.load(upgrade_file(tmp_path / 'old.pth', tmp_path / 'whole.pth')[0], weights_only=True)['state_dict']
    assert torch.equal(whole['loss_weight'], given) and 'head.criterion.weight' not in whole
