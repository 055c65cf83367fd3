"""Whose layout a file has, where its backbone stands, and which network that is."""

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import nn

from selfsup.errors import CheckpointError
from selfsup.models.backbones import ConvNeXt, ConvNeXtV2, SLaK
from selfsup.registry import BACKBONES
from selfsup.weights.backbone import find_backbone
from selfsup.weights.families import convnext, in_our_names, infer
from selfsup.weights.families.resnet import lacks_stem_relu
from selfsup.weights.layouts import COPY, OUTSIDE, SECOND

GOLDEN = Path(__file__).parents[1] / 'golden'
PLAIN = BACKBONES.build({'type': 'ResNet', 'depth': 18, 'stage_blocks': (1, 1, 1, 1), 'base_channels': 4}).state_dict()
HEAD = {'weight': torch.ones(3, 4), 'bias': torch.ones(3)}


def under(**parts):
    """Weights of `parts` with their names, dots written as two underscores, before them."""
    return {
        f'{prefix.replace("__", ".")}{name}': value
        for prefix, weights in parts.items()
        for name, value in weights.items()
    }


def as_children(weights):
    """A torchvision ResNet cut into a Sequential without its classifier, as lightly's examples do it."""
    places = {'conv1': '0', 'bn1': '1', 'layer1': '4', 'layer2': '5', 'layer3': '6', 'layer4': '7'}
    return {f'{places[name.split(".")[0]]}.{name.partition(".")[2]}': value for name, value in weights.items()}


def as_lightly(weights):
    """Names of the ResNet that lightly brings along: `shortcut`, `linear`."""
    return {
        name.replace('.downsample.', '.shortcut.').replace('fc.', 'linear.'): value for name, value in weights.items()
    }


FILES = {
    'ours': (
        {'state_dict': under(backbone__=PLAIN, neck__=HEAD, key_backbone__=PLAIN)},
        'selfsup',
        {OUTSIDE: 2, COPY: len(PLAIN)},
    ),
    'old MoCo': (
        {'state_dict': under(encoder_q__0__=PLAIN, encoder_q__1__=HEAD, encoder_k__0__=PLAIN)},
        'OpenSelfSup',
        {OUTSIDE: 2, COPY: len(PLAIN)},
    ),
    'old BYOL': (
        {'state_dict': under(backbone__=PLAIN, online_net__0__=PLAIN, target_net__0__=PLAIN)},
        'selfsup',
        {SECOND: len(PLAIN), COPY: len(PLAIN)},
    ),
    'MoCo': (
        {
            'epoch': 200,
            'arch': 'resnet50',
            'optimizer': {},
            'state_dict': under(
                module__encoder_q__={**PLAIN, **under(fc__0__=HEAD, fc__2__=HEAD)},
                module__encoder_k__=PLAIN,
                module__=dict(queue=torch.ones(4, 8), queue_ptr=torch.zeros(1)),
            ),
        },
        "MoCo's code",
        {OUTSIDE: 2, COPY: len(PLAIN)},
    ),
    'MoCo v3': (
        {'state_dict': under(module__base_encoder__=PLAIN, module__momentum_encoder__=PLAIN, module__predictor__=HEAD)},
        "MoCo v3's code",
        {OUTSIDE: 2, COPY: len(PLAIN)},
    ),
    'SimSiam': ({'state_dict': under(module__encoder__=PLAIN, module__predictor__0__=HEAD)}, 'SimSiam', {OUTSIDE: 2}),
    'DINO': (
        {'student': {}, 'teacher': under(backbone__=PLAIN, head__mlp__0__=HEAD), 'epoch': 100},
        'DINO',
        {OUTSIDE: 2},
    ),
    'solo-learn': (
        {
            'state_dict': under(backbone__=PLAIN, momentum_backbone__=PLAIN, projector__0__=HEAD, classifier__=HEAD),
            'pytorch-lightning_version': '2.0',
        },
        'solo-learn',
        {OUTSIDE: 4, COPY: len(PLAIN)},
    ),
    'lightly': (
        {
            'state_dict': under(
                backbone__=as_children(PLAIN),
                backbone_momentum__=as_children(PLAIN),
                projection_head__layers__0__=HEAD,
                projection_head_momentum__layers__0__=HEAD,
            )
        },
        'lightly',
        {OUTSIDE: 2, COPY: len(PLAIN) + 2},
    ),
    'online': (
        {'state_dict': under(online_backbone__=PLAIN, target_backbone__=PLAIN)},
        'an online network',
        {COPY: len(PLAIN)},
    ),
    "lightly's own ResNet": (
        under(backbone__=as_lightly(PLAIN), projection_head__layers__0__=HEAD),
        'lightly',
        {OUTSIDE: 2},
    ),
    'lightly in Lightning': (
        under(model__backbone__=as_children(PLAIN), model__projection_head__layers__0__=HEAD),
        "under 'model.backbone.'",
        {OUTSIDE: 2},
    ),
    'a student': (
        under(student__backbone__=PLAIN, student__head__mlp__0__=HEAD, teacher__backbone__=PLAIN),
        "under 'student.backbone.'",
        {OUTSIDE: 2 + len(PLAIN)},
    ),
    'SupCon': ({'model': under(encoder__module__=PLAIN, head__0__=HEAD)}, "under 'encoder.module.'", {OUTSIDE: 2}),
    'SwAV': (
        under(module__=PLAIN, module__projection_head__0__=HEAD, module__prototypes__=dict(weight=torch.ones(3, 4))),
        'bare ResNet',
        {OUTSIDE: 3},
    ),
    'torchvision, averaged': (under(module__=PLAIN) | {'n_averaged': torch.ones(())}, 'bare ResNet', {OUTSIDE: 1}),
    'VISSL': (
        {
            'phase_idx': 99,
            'classy_state_dict': {
                'train': True,
                'base_model': {
                    'meta': {},
                    'model': {
                        'trunk': under(_feature_blocks__=PLAIN),
                        'heads': under(**{'0__clf__0__': HEAD, '1__clf__0__': HEAD}),
                    },
                },
            },
        },
        'VISSL',
        {OUTSIDE: 4},
    ),
    'VISSL, converted': ({'model_state_dict': under(_feature_blocks__=PLAIN)}, 'VISSL', {}),
    'MMSelfSup': (
        {
            'meta': {'epoch': 200},
            'state_dict': under(
                backbone__=PLAIN, neck__fc0__=HEAD, encoder_k__module__0__=PLAIN, encoder_k__=dict(steps=torch.ones(()))
            ),
        },
        'MMPretrain',
        {OUTSIDE: 2, COPY: len(PLAIN) + 1},
    ),
    'wrapped': (under(model__=PLAIN), 'timm in a wrapper', {}),
    'bare': ({'model': PLAIN}, 'bare ResNet', {}),
}


@pytest.mark.parametrize('name', FILES)
def test_the_backbone_is_found_and_everything_else_has_a_reason(name):
    checkpoint, layout, reasons = FILES[name]
    found = find_backbone(checkpoint, 'x.pth')
    assert layout in found.layout and 'ResNet' in found.layout
    ours = in_our_names(found.weights)
    assert {key: value.shape for key, value in ours.items() if not key.startswith('fc.')} == {
        k: v.shape for k, v in PLAIN.items()
    }
    assert {reason: list(found.unused.values()).count(reason) for reason in found.unused.values()} == reasons


@pytest.mark.parametrize(
    ('file', 'layout'),
    [
        ('spark_basic_model', 'official SparK'),
        ('spark_convnext_model', 'official SparK'),
        ('fcmae_model', 'official FCMAE'),
        ('fcmae_dense', "bare ConvNeXt, authors' names"),
        ('slak_decom_model', "bare SLaK, authors' names"),
    ],
)
def test_official_files(file, layout):
    assert layout in find_backbone(torch.load(GOLDEN / f'{file}.pt', weights_only=True), file).layout


def shapes(weights):
    return {name: value.shape for name, value in weights.items()}


@pytest.mark.parametrize(
    ('config', 'given'),
    [
        *(({'type': 'ResNet', 'depth': depth}, {}) for depth in (18, 34, 50, 101, 152)),
        ({'type': 'ResNet', 'depth': 18, 'stem': 'cifar'}, {}),
        ({'type': 'ResNet', 'depth': 50, 'in_channels': 2, 'base_channels': 16}, {}),
        ({'type': 'ResNet', 'depth': 50, 'width_per_group': 128}, {}),
        ({'type': 'ResNeXt', 'depth': 50, 'groups': 32, 'width_per_group': 4}, {}),
        ({'type': 'ConvNeXt', 'arch': 'tiny'}, {}),
        ({'type': 'ConvNeXt', 'arch': 'atto', 'layer_scale_init_value': None, 'kernel_size': 9}, {}),
        ({'type': 'ConvNeXtV2', 'arch': 'huge', 'in_channels': 1}, {}),
        ({'type': 'ConvNeXtV2', 'depths': (2, 2, 6, 2), 'dims': (8, 16, 32, 64)}, {}),
        (
            {
                'type': 'SLaK',
                'depths': (3, 3, 27, 3),
                'dims': (124, 249, 499, 998),
                'kernel_size': (51, 49, 47, 13, 5),
                'decom': True,
            },
            {'arch': 'small', 'dims': None, 'depths': None, 'width_factor': 1.3},
        ),
        (
            {
                'type': 'SLaK',
                'depths': (3, 3, 9, 3),
                'dims': (8, 16, 32, 64),
                'kernel_size': (31, 29, 27, 13, 5),
                'decom': False,
            },
            {},
        ),
        (
            {
                'type': 'SLaK',
                'depths': (3, 3, 9, 3),
                'dims': (8, 16, 32, 64),
                'kernel_size': (7, 7, 7, 7, 8),
                'decom': False,
                'norm_cfg': None,
            },
            {},
        ),
        (
            {
                'type': 'SLaK',
                'depths': (3, 3, 9, 3),
                'dims': (8, 16, 32, 64),
                'kernel_size': (9, 9, 7, 7, 3),
                'decom': True,
                'merged': True,
            },
            {},
        ),
    ],
    ids=str,
)
def test_the_network_is_told_from_its_weights(config, given):
    with torch.device('meta'):
        weights = BACKBONES.build({**config, **given}).state_dict()
    found = infer(weights, 'x.pth')
    assert found == config
    with torch.device('meta'):
        assert shapes(BACKBONES.build(dict(found)).state_dict()) == shapes(weights)


def test_a_sequential_whose_stem_lost_its_relu():
    """Children of lightly's ResNet: its ReLUs are functions. torchvision's are layers, which take numbers."""
    places = {'conv1': '0', 'bn1': '1', 'layer1': '2', 'layer2': '3', 'layer3': '4', 'layer4': '5'}
    cut = {f'{places[name.split(".")[0]]}.{name.partition(".")[2]}': value for name, value in as_lightly(PLAIN).items()}
    assert lacks_stem_relu(cut) and not lacks_stem_relu(as_children(PLAIN)) and not lacks_stem_relu(PLAIN)
    no_pool = {f'{int(name[0]) - (name[0] > "1")}{name[1:]}': value for name, value in as_children(PLAIN).items()}
    assert '3.0.conv1.weight' in no_pool and not lacks_stem_relu(no_pool)
    for weights in (cut, no_pool):
        assert shapes(in_our_names(weights)) == shapes(PLAIN)


def as_mmpretrain(weights):
    """A ConvNeXt with its classifier as MMPretrain stores it, with 1x1 convolutions for linear layers (`linear_pw_conv=False`)."""
    renamed = {}
    for name, value in weights.items():
        if '.grn.' in name:
            value = value.flatten()
        elif '.pwconv' in name and value.dim() == 2:
            value = value[:, :, None, None]
        name = name.replace('dwconv', 'depthwise_conv').replace('pwconv', 'pointwise_conv')
        if name.startswith('head.'):
            renamed[f'head.fc.{name.removeprefix("head.")}'] = value
        else:
            renamed[f'backbone.{name.replace("norm.", "norm3.") if name.startswith("norm.") else name}'] = value
    return renamed


def test_mmpretrain_convnext():
    ours = ConvNeXtV2(depths=(1, 1), dims=(4, 8), num_classes=3).state_dict()
    theirs = as_mmpretrain(ours)
    found = find_backbone({'state_dict': theirs}, 'x.pth')
    assert "MMPretrain, under 'backbone.', ConvNeXt, MMPretrain's names" in found.layout
    body = in_our_names(found.weights)
    assert shapes(body) == {name: value.shape for name, value in ours.items() if not name.startswith('head.')}
    assert all(torch.equal(value, ours[name]) for name, value in body.items())
    assert torch.equal(found.classifier.weights['norm.bias'], ours['norm.bias']) and found.classifier.classes == 3
    dense = {**theirs, **{f'backbone.norm{i}.{end}': torch.ones(4) for i in range(3) for end in ('weight', 'bias')}}
    assert 'norm3.weight' in in_our_names(find_backbone(dense, 'x.pth').weights)


def test_several_networks_are_not_guessed():
    with pytest.raises(CheckpointError, match=r"several networks, under 'a\.', 'b\.c\.': save the one"):
        find_backbone(under(a__=PLAIN, b__c__=PLAIN), 'x.pth')
    with pytest.raises(
        CheckpointError, match=r'x\.pth holds no weights, neither at the top nor under .*; its entries are meta, epoch'
    ):
        find_backbone({'meta': {}, 'epoch': 3}, 'x.pth')
    with pytest.raises(CheckpointError, match='has no backbone: its 1 tensors'):
        find_backbone({1: torch.ones(1), 'a.b': torch.ones(1)}, 'x.pth')


def test_a_network_that_is_not_known_is_found_by_its_names():
    weights = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).state_dict()
    assert find_backbone(weights, 'x.pth', list(weights)).weights.keys() == weights.keys()
    found = find_backbone(under(encoder__=weights, head__=HEAD), 'x.pth', list(weights))
    assert found.weights.keys() == weights.keys() and found.unused.keys() == {'head.weight', 'head.bias'}
    own = under(encoder__=PLAIN)  # a network of one's own with a known one inside keeps its names
    assert find_backbone(own, 'x.pth', list(own)).weights.keys() == own.keys()


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


@pytest.mark.parametrize(
    ('weights', 'message'),
    [
        (
            lambda: timm.create_model('vit_tiny_patch16_224', depth=1).state_dict(),
            'holds a vision transformer without a prefix',
        ),
        (
            lambda: {'a.weight': torch.ones(1)},
            r"its 1 tensors begin with 'a\.'; expected one of backbone\., .* or the bare weights",
        ),
        (lambda: nn.Sequential(nn.Linear(2, 2)).state_dict(), 'has no backbone'),
    ],
)
def test_no_backbone(weights, message):
    with pytest.raises(CheckpointError, match=message):
        find_backbone(weights(), 'x.pth')


@pytest.mark.parametrize(
    ('weights', 'message'),
    [
        (
            lambda: timm.create_model('vit_tiny_patch16_224', depth=1).state_dict(),
            'x.pth holds a vision transformer.*give --config',
        ),
        (lambda: {'a.weight': torch.ones(1)}, 'holds 1 tensors such as a.weight'),
        (lambda: PLAIN, r'a ResNet of basic blocks \(1, 1, 1, 1\); published are 18: \(2, 2, 2, 2\).*not complete'),
        (
            lambda: without(torchvision.models.resnet18().state_dict(), 'conv1.'),
            'lacks conv1.weight, without which its ResNet cannot be told',
        ),
        (lambda: without(torchvision.models.resnet18().state_dict(), 'layer4.1.'), r'blocks \(2, 2, 2, 1\)'),
        (lambda: without(ConvNeXt('atto').state_dict(), 'stages.3.'), r'ConvNeXt of blocks \(2, 2, 6\)'),
        (lambda: without(ConvNeXt('atto').state_dict(), 'downsample_layers.0.0'), 'lacks downsample_layers.0.0.bias'),
        (lambda: SLaK(depths=(1, 2, 1, 1), dims=(8, 8, 8, 8)).state_dict(), r'holds a SLaK of blocks \(1, 2, 1, 1\)'),
        (
            lambda: SLaK(depths=(1, 1, 1, 1), dims=(8, 8, 8, 8), merged=True, decom=False).state_dict(),
            r'holds a SLaK of blocks \(1, 1, 1, 1\)',
        ),
        (
            lambda: ConvNeXtV2(depths=(1, 1, 1, 3), dims=(8, 8, 8, 8)).state_dict(),
            r'holds a ConvNeXtV2 of blocks \(1, 1, 1, 3\)',
        ),
        (
            lambda: without(SLaK(arch='tiny', width_factor=0.05).state_dict(), 'stages.1.0.large_kernel.LoRA1'),
            'lacks stages.1.0.large_kernel.LoRA1.conv.weight',
        ),
    ],
)
def test_no_network(weights, message):
    with pytest.raises(CheckpointError, match=message):
        infer(weights(), 'x.pth')
