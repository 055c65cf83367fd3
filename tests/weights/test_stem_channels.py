"""Backbones for other channels that start from weights for RGB images: the rule, where it holds, and where nothing is changed."""

import pytest
import torch
from timm.models import adapt_input_conv

from selfsup.errors import CheckpointError
from selfsup.registry import MODELS
from selfsup.weights.fit import for_channels
from selfsup.weights.load import load_backbone, load_model
from selfsup.weights.write import write_checkpoint_atomic

SIZES = {'depths': (1, 1, 1, 1), 'dims': (8, 8, 16, 16)}
BACKBONES = {
    'resnet': (64, 'conv1.weight', {'type': 'ResNet', 'depth': 18, 'stage_blocks': (1, 1, 1, 1), 'base_channels': 8}),
    'convnext': (16, 'downsample_layers.0.0.weight', {'type': 'ConvNeXtV2', **SIZES}),
    'timm': (512, 'model.conv1.0.weight', {'type': 'TIMMBackbone', 'model_name': 'resnet10t'}),
}


def classification(kind, channels, **changes):
    torch.manual_seed(channels)
    width, _, backbone = BACKBONES[kind]
    head = {'type': 'ClsHead', 'with_avg_pool': True, 'in_channels': width, 'num_classes': 3}
    model = {'type': 'Classification', 'backbone': {**backbone, 'in_channels': channels}, 'head': head, **changes}
    return MODELS.build(model).eval()


def save(model, path, prefix=''):
    weights = {name: value for name, value in model.state_dict().items() if name.startswith(prefix)}
    return write_checkpoint_atomic({'state_dict': {n.removeprefix(prefix): v for n, v in weights.items()}}, path)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
@pytest.mark.parametrize('channels', [1, 2, 4, 6, 13])
def test_the_rule_is_timms(channels, dtype):
    kernels = torch.randn(5, 3, 7, 7, dtype=dtype)
    made = for_channels(kernels, channels)
    assert made.shape == (5, channels, 7, 7) and torch.equal(made, adapt_input_conv(channels, kernels))


@pytest.mark.parametrize('kind', BACKBONES)
def test_what_shows_the_same_gives_the_same(tmp_path, kind, caplog):
    """Channels that repeat R, G, B are the RGB image; a grey image is R = G = B. A run logs what was done."""
    rgb, images = classification(kind, 3), torch.randn(2, 3, 64, 64)
    path = save(rgb, tmp_path / 'rgb.pth', 'backbone.')
    stem = BACKBONES[kind][1]
    for channels, given, expected in (
        (6, images.repeat(1, 2, 1, 1), images),
        (12, images.repeat(1, 4, 1, 1), images),
        (1, images[:, :1], images[:, :1].expand(-1, 3, -1, -1)),
    ):
        model = classification(kind, channels)
        with caplog.at_level('INFO', 'selfsup'):
            report = load_backbone(model, str(path))
        assert not report.missing and not report.partial and stem in report.loaded
        assert f'{stem} is made for {channels} channels from that for RGB: ' in caplog.text
        for got, wanted in zip(model.extract(given), rgb.extract(expected), strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
        caplog.clear()
    for channels in (2, 4, 13):
        model = classification(kind, channels)
        load_backbone(model, str(path))
        expected = for_channels(rgb.backbone.state_dict()[stem], channels)
        assert torch.equal(model.backbone.state_dict()[stem], expected)


def test_momentum_copies_start_from_the_same_stem(tmp_path):
    path = save(classification('resnet', 3), tmp_path / 'rgb.pth', 'backbone.')
    backbone = {**BACKBONES['resnet'][2], 'in_channels': 4}
    neck = {'type': 'LinearNeck', 'in_channels': 64, 'out_channels': 8}
    head = {'type': 'ContrastiveHead', 'temperature': 0.2}
    model = MODELS.build(
        {'type': 'MOCO', 'backbone': backbone, 'neck': neck, 'head': head, 'feat_dim': 8, 'queue_len': 8}
    )
    load_backbone(model, str(path))
    assert torch.equal(model.key_backbone.conv1.weight, model.backbone.conv1.weight)


def test_where_nothing_is_changed(tmp_path):
    """Weights for other channels than RGB, whole models, and backbones that see edges, whose two channels are no colours."""
    of_rgb = save(classification('resnet', 3), tmp_path / 'rgb.pth')
    of_four = save(classification('resnet', 4), tmp_path / 'four.pth', 'backbone.')
    shapes = r'conv1.weight: \(8, {}, 7, 7\) in the file, \(8, {}, 7, 7\) in the model'
    for load in (load_model, lambda model, path: load_model(model, path, strict=True)):
        with pytest.raises(CheckpointError, match=shapes.format(3, 13)):
            load(classification('resnet', 13), str(of_rgb))
    for channels in (3, 13):
        with pytest.raises(CheckpointError, match=shapes.format(4, channels)):
            load_backbone(classification('resnet', channels), str(of_four))
    with pytest.raises(CheckpointError, match=shapes.format(3, 2)):
        load_backbone(classification('resnet', 2, with_sobel=True), str(of_rgb))
    same = classification('resnet', 3)
    assert not load_backbone(same, str(of_rgb)).note
