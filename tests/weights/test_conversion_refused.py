"""Nothing is written where two libraries would not compute the same, and what the tool says."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

from selfsup.errors import CheckpointError, ConfigError
from selfsup.models.backbones import SLaK
from selfsup.weights.convert import compare, convert, load_network
from selfsup.weights.to import TARGETS

from .networks import converted, save

ROOT = Path(__file__).parents[2]


def test_the_check_sees_a_changed_number(resnet18, tmp_path):
    network = load_network(resnet18)
    target = TARGETS['torchvision'](network, 32, False)
    target.write(tmp_path / 'out.pth')
    assert max(d.relative for d in compare(network, target, tmp_path / 'out.pth', 32)) < 1e-5
    weights = torch.load(tmp_path / 'out.pth', weights_only=True)
    weights['layer3.1.bn1.bias'] += 0.5  # of all channels: a single one may be off behind its ReLU
    torch.save(weights, tmp_path / 'out.pth')
    assert max(d.relative for d in compare(network, target, tmp_path / 'out.pth', 32)) > 1e-4


def test_a_failing_check_leaves_what_was_there(resnet18, tmp_path):
    target = tmp_path / 'out.pth'
    target.write_text('before')
    with pytest.raises(
        CheckpointError, match=r'out.pth was not written: .* Largest differences: features: .*tolerance -1'
    ):
        convert(resnet18, target, 'timm', check=True, size=32, tolerance=-1, force=True)
    assert target.read_text() == 'before' and list(tmp_path.iterdir()) == [target]


def test_weights_that_are_not_finite(resnet18, tmp_path):
    weights = torch.load(resnet18, weights_only=True)
    weights['bn1.weight'][0] = float('nan')
    with pytest.raises(CheckpointError, match=r'NaN or infinite: bn1\.weight'):
        converted(save(weights, tmp_path / 'in.pth'), tmp_path, 'timm')


@pytest.mark.parametrize(
    ('change', 'options', 'message'),
    [
        (
            lambda w: w.pop('layer3.0.bn2.running_var'),
            {},
            r'not a complete ResNet\(depth=18\): missing in the file: layer3.0.bn2.running_var',
        ),
        (
            lambda w: w.update({'layer1.0.se.weight': torch.ones(2)}),
            {},
            'only in the file: layer1.0.se.weight. Nothing was written',
        ),
        (lambda w: w.update({'bn1.bias': torch.ones(3)}), {}, r'another shape: bn1.bias \(3,\) in the file, \(64,\)'),
        (
            lambda w: None,
            {'config': {'type': 'ResNet', 'depth': 50}},
            r'a complete ResNet\(depth=50\): missing in the file: layer1.0.conv3',
        ),
        (lambda w: None, {'merge': True}, '--merge is for SLaK'),
        (lambda w: None, {'maps': True}, '--maps is for --to onnx'),
        (lambda w: None, {'size': 0}, '--size 0: give'),
        (lambda w: None, {'to': 'torchvison'}, "no --to torchvison. Did you mean 'torchvision'"),
        (lambda w: None, {'average': True}, 'holds no moving average'),
        (lambda w: None, {'to': 'onnx'}, r'what is written for onnx must end in \.onnx'),
    ],
)
def test_refused(change, options, message, resnet18, tmp_path):
    weights = torch.load(resnet18, weights_only=True)
    change(weights)
    source = save(weights, tmp_path / 'in.pth')
    with pytest.raises((CheckpointError, ConfigError), match=message):
        convert(source, tmp_path / 'out.pth', options.pop('to', 'timm'), **options)
    assert list(tmp_path.iterdir()) == [source]


def test_slak_goes_to_no_library_that_lacks_it(tmp_path):
    source = save(SLaK(arch='tiny', width_factor=0.05).state_dict(), tmp_path / 'in.pth')
    for to in ('timm', 'torchvision', 'detectron2'):
        with pytest.raises(ConfigError, match=r'no SLaK.*onnx'):
            converted(source, tmp_path, to)


# ---- the tool ----


@pytest.fixture
def call(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, 'argv', ['convert.py', *map(str, words)])
        runpy.run_path(str(ROOT / 'tools' / 'convert.py'))['main']()
        return capsys.readouterr().out

    return run


def test_the_tool(call, resnet18, tmp_path):
    out = call(resnet18, tmp_path / 'out.pth', '--to', 'timm', '--check', '--size', 32)
    for line in (
        'bare ResNet, names of torchvision and timm',
        'with     its classifier of 1000 classes',
        'ResNet(depth=18), told from its weights',
        '122 tensors for timm',
        'check    passed: 2 images of 32 x 32, tolerance 1e-04',
        "    model = timm.create_model('resnet18', num_classes=1000)",
    ):
        assert line in out, line
    out = call(resnet18, tmp_path / 'features.pth', '--to', 'timm', '--no-classifier')
    assert 'left out 2 tensors (the classifier): fc.bias, fc.weight' in out and 'num_classes=0' in out
    with pytest.raises(CheckpointError, match='exists; give --force'):
        call(resnet18, tmp_path / 'out.pth', '--to', 'timm')
    with pytest.raises(CheckpointError, match='is a folder'):
        call(resnet18, tmp_path, '--to', 'timm', '--force')
    with pytest.raises(CheckpointError, match='does not exist'):
        call(tmp_path / 'no.pth', tmp_path / 'new.pth', '--to', 'timm')
    (tmp_path / 'cut.pth').write_bytes(resnet18.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match='cut off'):
        call(tmp_path / 'cut.pth', tmp_path / 'new.pth', '--to', 'timm')


def test_the_tool_with_a_config(call, tmp_path):
    config = ROOT / 'configs' / 'quickstart' / 'moco_digits.py'
    from selfsup import config as configs
    from selfsup.registry import MODELS

    model = MODELS.build(configs.compile_config(configs.load(config))['model'])
    source = save({'state_dict': model.state_dict(), 'meta': {'epoch': 1}}, tmp_path / 'epoch_1.pth')
    out = call(source, tmp_path / 'out.safetensors', '--to', 'safetensors', '--config', config, '--check', '--size', 32)
    assert f'given by {config}' in out and 'a slowly moving copy of the network' in out
