"""Classifiers with a backbone that the user registered: converted, or one line that says why not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from selfsup.errors import CheckpointError, ConfigError
from selfsup.registry import BACKBONES, MODELS
from selfsup.weights.convert import convert
from selfsup.weights.write import write_checkpoint_atomic


class OwnNet(nn.Module):
    """Reads numbers of a tensor while it is built, and does not tell its out_channels."""

    def __init__(self, channels: int = 3, single: bool = False) -> None:
        super().__init__()
        self.rate, self.single = torch.linspace(0, 0.5, 3)[1].item(), single
        self.conv, self.bn = nn.Conv2d(channels, 8, 3, 2, 1), nn.BatchNorm2d(8)

    def forward(self, x):
        x = self.bn(self.conv(x)).relu() * (1 - self.rate)
        return x if self.single else (x,)


@pytest.fixture(autouse=True)
def registered():
    BACKBONES.register_module(module=OwnNet, force=True)
    yield
    BACKBONES.module_dict.pop('OwnNet', None)


def checkpoint(folder, **settings):
    config = {'type': 'OwnNet', **settings}
    head = {'type': 'ClsHead', 'with_avg_pool': True, 'in_channels': 8, 'num_classes': 3}
    model = MODELS.build({'type': 'Classification', 'backbone': config, 'head': head})
    content = {'state_dict': model.state_dict(), 'meta': {'algorithm': 'Classification'}}
    return write_checkpoint_atomic(content, folder / 'c.pth'), config


def test_a_network_of_ones_own_with_its_classifier(tmp_path):
    pytest.importorskip('safetensors')
    source, config = checkpoint(tmp_path)
    done = convert(source, tmp_path / 'o.safetensors', 'safetensors', config=config, check=True, size=32)
    assert {d.output: d.absolute for d in done.differences} == {'features': 0, 'last map': 0, 'logits': 0}
    for form in ('timm', 'torchvision', 'detectron2'):
        with pytest.raises(ConfigError, match=rf'{form} has no OwnNet\(\)\. Use --to onnx or safetensors'):
            convert(source, tmp_path / ('o.pkl' if form == 'detectron2' else 'o.pth'), form, config=config, size=32)
    with pytest.raises(CheckpointError, match='For another one give --config'):
        convert(source, tmp_path / 'p.safetensors', 'safetensors', size=32)


@pytest.mark.parametrize(
    'settings, message',
    [
        ({'single': True}, r'gives a tensor \(1, 8, 16, 16\), not a tuple of maps'),
        ({'channels': 1}, 'cannot be run on images'),
    ],
)
def test_a_network_that_is_no_backbone_of_ours(tmp_path, settings, message):
    source, config = checkpoint(tmp_path, **settings)
    with pytest.raises(ConfigError, match=message) as error:
        convert(source, tmp_path / 'o.onnx', 'onnx', config=config, size=32)
    assert '\n' not in str(error.value) and not (tmp_path / 'o.onnx').exists()
