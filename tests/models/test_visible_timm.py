"""Unmodified timm networks of many families: the visible path equals the masked one."""

import pytest
import torch

from selfsup.errors import ConfigError
from selfsup.models.backbones import TIMMBackbone
from selfsup.models.visible import encode_visible

from .visible_cases import assert_same, ragged, randomised

pytest.importorskip('timm')

FAMILIES = [  # model, number of feature levels, whether it has anything that needs statistics over an image or the batch
    ('resnet10t', 5),
    ('resnext26ts', 5),
    ('seresnet18', 5),
    ('ecaresnet26t', 5),
    ('resnet26d', 5),
    ('regnetx_002', 5),
    ('regnety_002', 5),
    ('convnext_atto', 4),
    ('convnextv2_atto', 4),
    ('mobilenetv2_050', 5),
    ('mobilenetv3_small_050', 5),
    ('mobilenetv4_conv_small', 5),
    ('tinynet_e', 5),
    ('tf_efficientnet_lite0', 5),
    ('repvgg_a0', 5),
    ('mobileone_s0', 5),
    ('hrnet_w18_small', 5),
    ('ghostnet_050', 5),
    ('lcnet_035', 5),
    ('fasternet_t0', 4),
    ('inception_next_atto', 4),
    ('starnet_s1', 4),
    ('hgnetv2_b0', 4),
    ('densenet121', 5),
    ('resnest14d', 5),
    ('skresnet18', 5),
    ('resnetblur18', 5),
    ('convnext_zepto_rms', 4),
    ('ghostnetv2_100', 5),
]


def net_of(name, levels):
    torch.manual_seed(0)
    return TIMMBackbone(name, out_indices=tuple(range(levels)))


@pytest.mark.parametrize(('name', 'levels'), FAMILIES, ids=[name for name, _ in FAMILIES])
def test_visible_equals_masked(name, levels):
    net = randomised(net_of(name, levels))
    names = list(net.state_dict())
    assert_same(
        net, torch.randn(2, 3, 64, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), ragged(2, 2, 3)
    )
    assert list(net.state_dict()) == names


def test_drop_path_draws_per_image():
    net = randomised(TIMMBackbone('convnext_atto', out_indices=(0, 1, 2, 3), drop_path_rate=0.5))
    assert_same(net, torch.randn(3, 3, 64, 64, dtype=torch.float64), ragged(3, 2, 2))


def test_checkpointing_gives_the_same_numbers():
    torch.manual_seed(3)
    net = randomised(net_of('resnet10t', 5))
    img, visible = torch.randn(2, 3, 64, 64, dtype=torch.float64), ragged(2, 2, 2)
    plain = encode_visible(net.eval(), img, visible)[-1].dense()
    net.model.set_grad_checkpointing(True)
    torch.testing.assert_close(encode_visible(net, img, visible)[-1].dense(), plain, rtol=1e-9, atol=1e-12)


def test_a_network_with_attention():
    with pytest.raises(
        ConfigError,
        match=r'only permute its channel and spatial axes in model\.stages\.1\.blocks\.1\.xca '
        r'\(CrossCovarianceAttn\); got .*: masked training needs a convolutional network',
    ):
        encode_visible(net_of('edgenext_xx_small', 4), torch.randn(2, 3, 64, 64), ragged(2, 2, 2))
