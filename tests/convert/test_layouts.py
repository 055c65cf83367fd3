"""Whose layout a file has, where its backbone stands, and which network that is."""

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import nn

from selfsup.convert import convnext
from selfsup.convert.architecture import infer
from selfsup.convert.incoming import OUTSIDE
from selfsup.convert.layouts import COPY, SECOND, find_backbone, in_our_names
from selfsup.errors import CheckpointError
from selfsup.models.backbones import ConvNeXt, SLaK
from selfsup.registry import BACKBONES

GOLDEN = Path(__file__).parents[1] / 'golden'
PLAIN = BACKBONES.build({'type': 'ResNet', 'depth': 18, 'stage_blocks': (1, 1, 1, 1), 'base_channels': 4}).state_dict()
HEAD = {'weight': torch.ones(3, 4), 'bias': torch.ones(3)}


def under(**parts):
    """Weights of `parts` with their names, dots written as two underscores, before them."""
    return {f'{prefix.replace("__", ".")}{name}': value for prefix, weights in parts.items() for name, value in weights.items()}


def as_children(weights):
    """A torchvision ResNet cut into a Sequential without its classifier, as lightly's examples do it."""
    places = {'conv1': '0', 'bn1': '1', 'layer1': '4', 'layer2': '5', 'layer3': '6', 'layer4': '7'}
    return {f'{places[name.split(".")[0]]}.{name.partition(".")[2]}': value for name, value in weights.items()}


FILES = {
    'ours': ({'state_dict': under(backbone__=PLAIN, neck__=HEAD, key_backbone__=PLAIN)}, 'selfsup', {OUTSIDE: 2, COPY: len(PLAIN)}),
    'old MoCo': ({'state_dict': under(encoder_q__0__=PLAIN, encoder_q__1__=HEAD, encoder_k__0__=PLAIN)}, 'OpenSelfSup',
                 {OUTSIDE: 2, COPY: len(PLAIN)}),
    'old BYOL': ({'state_dict': under(backbone__=PLAIN, online_net__0__=PLAIN, target_net__0__=PLAIN)}, 'selfsup',
                 {SECOND: len(PLAIN), COPY: len(PLAIN)}),
    'MoCo': ({'epoch': 200, 'arch': 'resnet50', 'optimizer': {},
              'state_dict': under(module__encoder_q__={**PLAIN, **under(fc__0__=HEAD, fc__2__=HEAD)}, module__encoder_k__=PLAIN,
                                  module__=dict(queue=torch.ones(4, 8), queue_ptr=torch.zeros(1)))}, "MoCo's code",
             {OUTSIDE: 2, COPY: len(PLAIN)}),
    'MoCo v3': ({'state_dict': under(module__base_encoder__=PLAIN, module__momentum_encoder__=PLAIN, module__predictor__=HEAD)},
                "MoCo v3's code", {OUTSIDE: 2, COPY: len(PLAIN)}),
    'SimSiam': ({'state_dict': under(module__encoder__=PLAIN, module__predictor__0__=HEAD)}, 'SimSiam', {OUTSIDE: 2}),
    'DINO': ({'student': {}, 'teacher': under(backbone__=PLAIN, head__mlp__0__=HEAD), 'epoch': 100}, 'DINO', {OUTSIDE: 2}),
    'solo-learn': ({'state_dict': under(backbone__=PLAIN, momentum_backbone__=PLAIN, projector__0__=HEAD, classifier__=HEAD),
                    'pytorch-lightning_version': '2.0'}, 'solo-learn', {OUTSIDE: 4, COPY: len(PLAIN)}),
    'lightly': ({'state_dict': under(backbone__=as_children(PLAIN), backbone_momentum__=as_children(PLAIN),
                                     projection_head__layers__0__=HEAD,
                                     projection_head_momentum__layers__0__=HEAD)}, 'lightly', {OUTSIDE: 2, COPY: len(PLAIN) + 2}),
    'online': ({'state_dict': under(online_backbone__=PLAIN, target_backbone__=PLAIN)}, 'an online network', {COPY: len(PLAIN)}),
    'wrapped': (under(model__=PLAIN), 'timm in a wrapper', {}),
    'bare': ({'model': PLAIN}, 'bare ResNet', {}),
}


@pytest.mark.parametrize('name', FILES)
def test_the_backbone_is_found_and_everything_else_has_a_reason(name):
    checkpoint, layout, reasons = FILES[name]
    found = find_backbone(checkpoint, 'x.pth')
    assert layout in found.layout and 'ResNet' in found.layout
    ours = in_our_names(found.weights)
    assert {key: value.shape for key, value in ours.items() if not key.startswith('fc.')} == {k: v.shape for k, v in PLAIN.items()}
    assert {reason: list(found.unused.values()).count(reason) for reason in found.unused.values()} == reasons


@pytest.mark.parametrize(('file', 'layout'), [
    ('spark_basic_model', 'official SparK'), ('spark_convnext_model', 'official SparK'), ('fcmae_model', 'official FCMAE'),
    ('fcmae_dense', "bare ConvNeXt, authors' names"), ('slak_decom_model', "bare SLaK, authors' names")])
def test_official_files(file, layout):
    assert layout in find_backbone(torch.load(GOLDEN / f'{file}.pt', weights_only=True), file).layout


def shapes(weights):
    return {name: value.shape for name, value in weights.items()}


@pytest.mark.parametrize(('config', 'given'), [
    *(({'type': 'ResNet', 'depth': depth}, {}) for depth in (18, 34, 50, 101, 152)),
    ({'type': 'ResNet', 'depth': 18, 'stem': 'cifar'}, {}), ({'type': 'ResNet', 'depth': 50, 'in_channels': 2, 'base_channels': 16}, {}),
    ({'type': 'ResNet', 'depth': 50, 'width_per_group': 128}, {}),
    ({'type': 'ResNeXt', 'depth': 50, 'groups': 32, 'width_per_group': 4}, {}),
    ({'type': 'ConvNeXt', 'arch': 'tiny'}, {}),
    ({'type': 'ConvNeXt', 'arch': 'atto', 'layer_scale_init_value': None, 'kernel_size': 9}, {}),
    ({'type': 'ConvNeXtV2', 'arch': 'huge', 'in_channels': 1}, {}),
    ({'type': 'ConvNeXtV2', 'depths': (2, 2, 6, 2), 'dims': (8, 16, 32, 64)}, {}),
    ({'type': 'SLaK', 'depths': (3, 3, 27, 3), 'dims': (124, 249, 499, 998), 'kernel_size': (51, 49, 47, 13, 5), 'decom': True},
     {'arch': 'small', 'dims': None, 'depths': None, 'width_factor': 1.3}),
    ({'type': 'SLaK', 'depths': (3, 3, 9, 3), 'dims': (8, 16, 32, 64), 'kernel_size': (31, 29, 27, 13, 5), 'decom': False}, {}),
    ({'type': 'SLaK', 'depths': (3, 3, 9, 3), 'dims': (8, 16, 32, 64), 'kernel_size': (7, 7, 7, 7, 8), 'decom': False,
      'norm_cfg': None}, {}),
    ({'type': 'SLaK', 'depths': (3, 3, 9, 3), 'dims': (8, 16, 32, 64), 'kernel_size': (9, 9, 7, 7, 3), 'decom': True, 'merged': True}, {}),
], ids=str)
def test_the_network_is_told_from_its_weights(config, given):
    with torch.device('meta'):
        weights = BACKBONES.build({**config, **given}).state_dict()
    found = infer(weights, 'x.pth')
    assert found == config
    with torch.device('meta'):
        assert shapes(BACKBONES.build(dict(found)).state_dict()) == shapes(weights)


def test_merged_square_kernels_are_known():
    network = SLaK(depths=(3, 3, 9, 3), dims=(4, 8, 16, 32), kernel_size=(9, 9, 7, 7, 3), decom=False).eval().merge()
    found = infer(network.state_dict(), 'x.pth')
    assert found['merged'] and not found['decom'] and found['kernel_size'][:4] == (9, 9, 7, 7)
    assert shapes(BACKBONES.build(found).state_dict()) == shapes(network.state_dict())


def test_torchvision_convnext_there_and_back():
    block = torchvision.models.convnext.CNBlockConfig
    theirs = torchvision.models.ConvNeXt([block(8, 16, 2), block(16, None, 1)])
    ours = convnext.from_torchvision(theirs.state_dict())
    assert ours['stages.0.1.gamma'].shape == (8,) and ours['downsample_layers.1.1.weight'].shape == (16, 8, 2, 2)
    again = convnext.to_torchvision(ours)
    assert shapes(again) == shapes(theirs.state_dict())
    assert all(torch.equal(again[name], value) for name, value in theirs.state_dict().items())


def without(weights, *beginnings):
    return {name: value for name, value in weights.items() if not name.startswith(beginnings)}


@pytest.mark.parametrize(('weights', 'message'), [
    (lambda: timm.create_model('vit_tiny_patch16_224', depth=1).state_dict(), 'holds a vision transformer without a prefix'),
    (lambda: {'a.weight': torch.ones(1)}, r"its 1 tensors begin with 'a\.'; expected one of backbone\., .* or the bare weights"),
    (lambda: nn.Sequential(nn.Linear(2, 2)).state_dict(), 'has no backbone'),
])
def test_no_backbone(weights, message):
    with pytest.raises(CheckpointError, match=message):
        find_backbone(weights(), 'x.pth')


@pytest.mark.parametrize(('weights', 'message'), [
    (lambda: timm.create_model('vit_tiny_patch16_224', depth=1).state_dict(), 'x.pth holds a vision transformer.*give --config'),
    (lambda: {'a.weight': torch.ones(1)}, 'holds 1 tensors such as a.weight'),
    (lambda: PLAIN, r'a ResNet of basic blocks \(1, 1, 1, 1\); published are 18: \(2, 2, 2, 2\).*not complete'),
    (lambda: without(torchvision.models.resnet18().state_dict(), 'conv1.'), 'lacks conv1.weight, without which its ResNet cannot be told'),
    (lambda: without(torchvision.models.resnet18().state_dict(), 'layer4.1.'), r'blocks \(2, 2, 2, 1\)'),
    (lambda: without(ConvNeXt('atto').state_dict(), 'stages.3.'), r'ConvNeXt of blocks \(2, 2, 6\)'),
    (lambda: without(ConvNeXt('atto').state_dict(), 'downsample_layers.0.0'), 'lacks downsample_layers.0.0.bias'),
    (lambda: without(SLaK(arch='tiny', width_factor=.05).state_dict(), 'stages.1.0.large_kernel.LoRA1'),
     'lacks stages.1.0.large_kernel.LoRA1.conv.weight'),
])
def test_no_network(weights, message):
    with pytest.raises(CheckpointError, match=message):
        infer(weights(), 'x.pth')
