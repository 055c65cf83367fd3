"""Conversions and ONNX graphs of images that are not square."""

import runpy
from argparse import ArgumentTypeError
from pathlib import Path

import pytest
import torch

from selfsup.errors import ConfigError
from selfsup.registry import BACKBONES
from selfsup.weights.convert import convert

TOOL = Path(__file__).parents[2] / 'tools' / 'convert.py'
RESNET = {'type': 'ResNet', 'depth': 18, 'stage_blocks': (1, 1, 1, 1), 'base_channels': 4, 'in_channels': 2}
SLAK = {'type': 'SLaK', 'depths': (1, 1, 1, 1), 'dims': (4, 8, 8, 8), 'kernel_size': (13, 11, 9, 7, 3)}


def file_of(folder, config):
    torch.manual_seed(0)
    torch.save(BACKBONES.build(dict(config)).state_dict(), folder / 'in.pth')
    return folder / 'in.pth'


@pytest.mark.parametrize(('config', 'size'), [(RESNET, (32, 64)), (SLAK, (64, 32)), (RESNET, (50, 33))])
def test_an_onnx_graph_of_images_that_are_not_square(tmp_path, config, size):
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    done = convert(
        file_of(tmp_path, config), tmp_path / 'out.onnx', 'onnx', config=config, check=True, size=size, maps=True
    )
    assert done.size == size and all(d.relative < 1e-4 for d in done.differences)
    shape = onnx.load(done.path).graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_value for d in shape][1:] == [config.get('in_channels', 3), *size]
    assert any(f'{size[0]}, {size[1]})' in line for line in done.usage)
    images = torch.randn(3, config.get('in_channels', 3), *size)
    given, expected = done.target.run(done.path, images), done.network.run(images)
    for name in ('features', 'map1', 'map4'):
        torch.testing.assert_close(given[name], expected[name], rtol=1e-4, atol=1e-4)


def test_checks_run_on_images_that_are_not_square(tmp_path):
    done = convert(
        file_of(tmp_path, RESNET), tmp_path / 'out.safetensors', 'safetensors', config=RESNET, check=True, size=(32, 96)
    )
    assert done.size == (32, 96) and done.differences
    for size in ((0, 32), (32, -1), 0):
        with pytest.raises(ConfigError, match='give the side of the images in pixels, or height x width'):
            convert(tmp_path / 'in.pth', tmp_path / 'other.safetensors', 'safetensors', config=RESNET, size=size)


def test_sizes_on_the_command_line():
    image_size = runpy.run_path(str(TOOL))['image_size']
    assert image_size('224') == 224 and image_size('224x160') == (224, 160) and image_size('96X32') == (96, 32)
    for text in ('0', '-3', 'x', '1x2x3', 'big', '32x', '3.5'):
        with pytest.raises(ArgumentTypeError, match='height x width'):
            image_size(text)
