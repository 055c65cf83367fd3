"""ResNet against torchvision, its options, and timm models."""

import pytest
import torch
from torch import nn

from selfsup.errors import ConfigError, ShapeError, UnknownNameError
from selfsup.models.backbones import ResNet, ResNeXt, TIMMBackbone

TINY = {'depth': 18, 'stage_blocks': (1, 1, 1, 1), 'base_channels': 8}


def grads(model, x):
    model.zero_grad()
    sum(m.square().mean() for m in model(x)).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize('depth', [18, 50])
def test_equals_torchvision(depth):
    import torchvision

    torch.manual_seed(0)
    theirs = getattr(torchvision.models, f'resnet{depth}')(weights=None).eval()
    weights = {k: v for k, v in theirs.state_dict().items() if not k.startswith('fc.')}
    ours = ResNet(depth).eval()
    assert list(ours.state_dict()) == list(weights)
    ours.load_state_dict(weights)
    theirs.fc = nn.Identity()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x)[-1].mean((2, 3)), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ('name', 'depth', 'kwargs'),
    [
        ('resnext50_32x4d', 50, {}),
        ('resnext50_32x4d', 50, {'groups': 32, 'base_width': 4}),
        ('resnext101_32x8d', 101, {'width_per_group': 8}),
    ],
)
def test_resnext_equals_torchvision(name, depth, kwargs):
    import torchvision

    with torch.device('meta'):
        theirs, ours = getattr(torchvision.models, name)(weights=None), ResNeXt(depth, **kwargs)
    shapes = {k: v.shape for k, v in theirs.state_dict().items() if not k.startswith('fc.')}
    assert {k: v.shape for k, v in ours.state_dict().items()} == shapes and list(ours.state_dict()) == list(shapes)
    if depth == 50 and not kwargs:
        torch.manual_seed(0)
        theirs, ours = getattr(torchvision.models, name)(weights=None).eval(), ResNeXt(depth).eval()
        ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if not k.startswith('fc.')})
        theirs.fc = nn.Identity()
        x = torch.randn(2, 3, 64, 64)
        with torch.no_grad():
            torch.testing.assert_close(ours(x)[-1].mean((2, 3)), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('style', ['pytorch', 'caffe'])
def test_resnext_takes_the_options_of_resnet(style):
    model = ResNeXt(
        50,
        groups=4,
        width_per_group=2,
        stage_blocks=(1, 1, 1, 1),
        base_channels=8,
        style=style,
        norm_cfg={'type': 'GN', 'num_groups': 4},
        conv_cfg={'type': 'ConvWS'},
        stem='cifar',
        frozen_stages=1,
        with_cp=True,
    )
    block = model.layer2[0]
    assert block.conv2.groups == 4 and block.conv1.groups == block.conv3.groups == 1 and block.conv2.in_channels == 16
    assert (block.conv1.stride, block.conv2.stride) == (((1, 1), (2, 2)) if style == 'pytorch' else ((2, 2), (1, 1)))
    sum(m.sum() for m in model(torch.randn(2, 3, 16, 16))).backward()
    assert {n.split('.')[0] for n, p in model.named_parameters() if p.grad is not None} == {
        'layer2',
        'layer3',
        'layer4',
    }


def test_resnext_errors():
    for kwargs, message in (
        ({'depth': 18}, 'ResNeXt depth=18: must be 50, 101 or 152'),
        ({'depth': 50, 'groups': 0}, 'groups=0'),
        ({'depth': 50, 'width_per_group': 4, 'base_width': 4}, 'write one'),
    ):
        with pytest.raises(ConfigError, match=message):
            ResNeXt(**kwargs)
    with pytest.raises(ConfigError, match='depth=18 with groups=2'):
        ResNet(18, groups=2)


def test_weight_standardisation():
    conv = ResNet(**TINY, conv_cfg={'type': 'ConvWS'}).conv1
    nn.init.uniform_(conv.weight, 1.0, 3.0)
    x, flat = torch.randn(1, 3, 16, 16), conv.weight.flatten(1)
    standard = ((flat - flat.mean(1, keepdim=True)) / (flat.std(1, keepdim=True) + 1e-5)).view_as(conv.weight)
    torch.testing.assert_close(conv(x), nn.functional.conv2d(x, standard, stride=2, padding=3), rtol=1e-4, atol=1e-4)


def test_shapes_and_channels_of_every_index():
    maps = ResNet(50, stage_blocks=(1, 1, 1, 1))(torch.randn(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 32, 32), (256, 16, 16), (512, 8, 8), (1024, 4, 4), (2048, 2, 2)]
    model = ResNet(**TINY, out_indices=(0, 2))
    assert (model.channels, model.out_channels) == ((8, 16), 16)
    assert [m.shape[1] for m in model(torch.randn(1, 3, 32, 32))] == [8, 16]
    assert len(grads(ResNet(**TINY, out_indices=(4,)), torch.randn(2, 3, 32, 32))) > 0


def test_small_cifar_network():
    model = ResNet(depth=18, num_stages=3, base_channels=32, stem='cifar')
    assert model.channels == (32, 32, 64, 128)
    assert [m.shape[-1] for m in model(torch.randn(2, 3, 32, 32))] == [32, 32, 16, 8]


def test_stages_after_the_last_output_are_not_trained():
    model = ResNet(**TINY, out_indices=(1, 2))
    sum(m.sum() for m in model(torch.randn(2, 3, 32, 32))).backward()
    assert {n for n, p in model.named_parameters() if p.grad is None} == {
        n for n, p in model.named_parameters() if not p.requires_grad
    }
    assert not any(p.requires_grad for p in model.layer3.parameters())


def test_frozen_stages_stay_frozen():
    model = ResNet(**TINY, frozen_stages=2).train()
    assert not any(m.training for m in [model.conv1, model.bn1, *model.layer1.modules(), *model.layer2.modules()])
    assert model.layer3[0].bn1.training
    before = {k: v.clone() for k, v in model.state_dict().items()}
    sum(m.sum() for m in model(torch.randn(2, 3, 32, 32))).backward()
    assert {n.split('.')[0] for n, p in model.named_parameters() if p.grad is not None} == {'layer3', 'layer4'}
    changed = {k.split('.')[0] for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {'layer3', 'layer4'}  # running statistics
    assert not any(p.requires_grad for p in ResNet(**TINY, frozen_stages=0).conv1.parameters())
    assert all(p.requires_grad for p in ResNet(**TINY, frozen_stages=0).layer1.parameters())


def test_norm_eval_keeps_statistics_but_trains_weights():
    model = ResNet(**TINY, norm_eval=True).train()
    assert model.training and not model.layer1[0].bn1.training
    sum(m.sum() for m in model(torch.randn(2, 3, 32, 32))).backward()
    assert torch.equal(model.bn1.running_mean, torch.zeros(8))
    assert model.bn1.weight.grad is not None


def test_caffe_style_strides_in_the_first_convolution():
    strides = {}
    for style in ('pytorch', 'caffe'):
        block = ResNet(50, stage_blocks=(1, 1, 1, 1), base_channels=8, style=style).layer2[0]
        strides[style] = (block.conv1.stride, block.conv2.stride, block.conv3.stride)
    assert strides == {'pytorch': ((1, 1), (2, 2), (1, 1)), 'caffe': ((2, 2), (1, 1), (1, 1))}


def test_dilation_keeps_the_size():
    model = ResNet(50, stage_blocks=(1, 1, 1, 1), base_channels=8, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))
    maps = model(torch.randn(1, 3, 64, 64))
    assert maps[4].shape[-1] == maps[3].shape[-1] == 4
    assert model.layer4[0].conv2.dilation == (2, 2)


@pytest.mark.parametrize('depth', [18, 50])
def test_checkpointing_changes_no_number(depth):
    results = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        model = ResNet(depth, stage_blocks=(1, 1, 1, 1), base_channels=8, with_cp=with_cp).train()
        results.append((grads(model, torch.randn(4, 3, 32, 32)), model.state_dict()))
    for plain, checkpointed in zip(*results, strict=True):
        assert plain.keys() == checkpointed.keys()
        for key in plain:  # running statistics, too: the second forward pass must not count
            assert torch.equal(plain[key], checkpointed[key]), key


def test_zero_init_residual_makes_blocks_the_identity():
    block = ResNet(18, stage_blocks=(2, 1, 1, 1), base_channels=8, zero_init_residual=True).layer1[1]
    x = torch.rand(2, 8, 4, 4)
    assert torch.equal(block(x), x)


def test_convolutions_start_kaiming_fan_in():
    weight = ResNet(18).layer4[1].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)


@pytest.mark.parametrize(
    ('norm_cfg', 'name', 'kind'),
    [
        ({'type': 'GN', 'num_groups': 4}, 'gn1', nn.GroupNorm),
        ({'type': 'IN', 'affine': True}, 'in1', nn.InstanceNorm2d),
        ({'type': 'BN', 'momentum': 0.3}, 'bn1', nn.BatchNorm2d),
    ],
)
def test_other_norms_and_weight_standardisation(norm_cfg, name, kind):
    model = ResNet(**TINY, norm_cfg=norm_cfg, conv_cfg={'type': 'ConvWS'})
    assert isinstance(getattr(model.layer1[0], name), kind)
    assert type(model.conv1).__name__ == 'ConvWS2d'
    assert all(torch.isfinite(m).all() for m in model(torch.randn(2, 3, 64, 64)))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'depth': 42}, 'depth=42: must be 18, 34, 50, 101 or 152'),
        ({'out_indices': (5,)}, 'ascending numbers from 0'),
        ({'out_indices': (2, 1)}, 'ascending'),
        ({'out_indices': ()}, 'ascending'),
        ({'num_stages': 3, 'out_indices': (4,)}, 'num_stages=3'),
        ({'num_stages': 5}, r'num_stages=5: must be a whole number in \[1, 4\]'),
        ({'style': 'torch'}, "'pytorch' or 'caffe'"),
        ({'stem': 'tiny'}, "'imagenet' or 'cifar'"),
        ({'frozen_stages': 5}, 'frozen_stages=5'),
        ({'strides': (1, 2)}, 'strides=.*give 4'),
        ({'norm_cfg': {'type': 'BNN'}}, "Did you mean 'BN'"),
        ({'norm_cfg': {'type': 'GN'}}, 'GN'),
        ({'norm_cfg': 'BN'}, "norm_cfg='BN': must be dict"),
        ({'conv_cfg': {'type': 'ConvWSS'}}, "'ConvWS'"),
    ],
)
def test_bad_values_are_config_errors(kwargs, message):
    with pytest.raises(ConfigError, match=message) as error:
        ResNet(**{'depth': 18, **kwargs})
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('name', 'kwargs', 'shape'),
    [
        ('resnet10t', {}, (512, 2, 2)),
        ('convnext_atto', {}, (320, 2, 2)),
        ('mobilenetv3_small_050', {'in_channels': 2}, (288, 2, 2)),
        ('vit_tiny_patch16_224', {'img_size': 64, 'patch_size': 8, 'depth': 2}, (192, 8, 8)),
    ],
)
def test_timm_last_map(name, kwargs, shape):
    model = TIMMBackbone(name, **kwargs)
    maps = model(torch.randn(2, kwargs.get('in_channels', 3), 64, 64))
    assert [tuple(m.shape) for m in maps] == [(2, *shape)]
    assert model.out_channels == shape[0]
    maps[0].sum().backward()
    assert {n for n, p in model.named_parameters() if p.grad is None} == {
        n for n, p in model.named_parameters() if not p.requires_grad
    }


def test_timm_tokens_become_a_map_in_reading_order():
    model = TIMMBackbone('vit_tiny_patch16_224', img_size=(32, 64), patch_size=8, depth=1).eval()
    x = torch.randn(2, 3, 32, 64)
    with torch.no_grad():
        tokens, (features,) = model.model.forward_features(x), model(x)
    assert features.shape == (2, 192, 4, 8)
    torch.testing.assert_close(features[:, :, 1, 3], tokens[:, 1 + 8 + 3])  # after the class token, row 1, column 3


def test_timm_swin_gives_channels_first():
    model = TIMMBackbone('swin_tiny_patch4_window7_224', img_size=64, window_size=2, depths=(1, 1, 1, 1), embed_dim=24)
    assert model(torch.randn(1, 3, 64, 64))[0].shape == (1, 192, 2, 2)


def test_timm_levels_equal_features_only_and_keep_names():
    import timm

    torch.manual_seed(0)
    model = TIMMBackbone('resnet10t', out_indices=(0, 2, 4)).eval()
    theirs = timm.create_model('resnet10t', features_only=True, out_indices=(0, 2, 4)).eval()
    theirs.load_state_dict({k.removeprefix('model.'): v for k, v in model.state_dict().items()})
    x = torch.randn(2, 3, 64, 64)
    assert model.channels == (64, 128, 512) == tuple(theirs.feature_info.channels())
    for a, b in zip(model(x), theirs(x), strict=True):
        torch.testing.assert_close(a, b)
    assert list(model.state_dict()) == list(TIMMBackbone('resnet10t').state_dict())


@pytest.mark.parametrize('backbone', [lambda: ResNet(18, base_channels=4), lambda: TIMMBackbone('resnet10t')])
def test_images_of_another_number_of_channels(backbone):
    with pytest.raises(ShapeError, match='has in_channels=3, but the images have 1: set in_channels=1'):
        backbone()(torch.randn(2, 1, 32, 32))


def test_timm_errors():
    with pytest.raises(UnknownNameError, match=r"'resnet5' is not a model of timm.*Did you mean 'resnet50'"):
        TIMMBackbone('resnet5')
    with pytest.raises(ConfigError, match=r'out_indices=\(9,\)'):
        TIMMBackbone('resnet10t', out_indices=(9,))
