"""Maps of visible blocks: whole networks on both paths."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from selfsup.errors import ConfigError
from selfsup.models.visible import VisibleMap, encode_visible, probe_maps

from .visible_cases import assert_same, close, ragged, randomised, tiny, weighted_loss

NETS = ['ResNet18', 'ResNet34', 'ResNet50', 'ConvNeXt', 'ConvNeXtV2-image', 'ConvNeXtV2-batch']


@pytest.mark.parametrize(('size', 'block'), [((64, 96), 32), ((128, 64), 64)])
@pytest.mark.parametrize('name', NETS)
def test_our_networks_on_both_paths(name, size, block):
    visible = ragged(3, size[0] // block, size[1] // block)
    visible[1] = False  # an image of which nothing is seen
    assert_same(randomised(tiny(name)), torch.randn(3, 3, *size, dtype=torch.float64), visible)


@pytest.mark.parametrize('path', ['visible', 'masked'])
@pytest.mark.parametrize('name', NETS)
def test_nothing_hidden_is_the_plain_network(name, path):
    net, img = randomised(tiny(name)), torch.randn(2, 3, 64, 64, dtype=torch.float64)
    torch.manual_seed(5)
    plain = net(img)
    torch.manual_seed(5)
    for a, b in zip(encode_visible(net, img, torch.ones(2, 2, 2, dtype=torch.bool), path), plain, strict=True):
        close(a.dense(), b, name)


def test_autocast_computes_in_half_precision_without_nan():
    visible = ragged(4, 2, 2)
    for name in ('ConvNeXtV2-image', 'ResNet50'):
        net = tiny(name).eval()
        with torch.autocast('cpu', torch.bfloat16):
            a, b = (
                encode_visible(net, torch.ones(4, 3, 64, 64), visible, path)[-1].dense()
                for path in ('visible', 'masked')
            )
        torch.testing.assert_close(a.float(), b.float(), rtol=0.1, atol=0.1)
        weighted_loss([a.float()]).backward()
        assert all(
            torch.isfinite(p.grad).all() and p.grad.dtype == torch.float32
            for p in net.parameters()
            if p.grad is not None
        )
        assert any(float(p.grad.abs().max()) > 0 for p in net.parameters() if p.grad is not None)
    with torch.autocast('cpu', torch.bfloat16):
        m = VisibleMap.from_dense(torch.randn(1, 3, 8, 8), visible[:1])
        assert F.conv2d(m, torch.ones(4, 3, 3, 3), padding=1).dtype == torch.bfloat16


class Reentrant(nn.Module):
    def __init__(self):
        super().__init__()
        self.stage = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        return checkpoint(self.stage, x, use_reentrant=True)


def test_reentrant_checkpointing_of_the_first_stage_is_refused():
    net, img, visible = Reentrant(), torch.randn(2, 3, 8, 8), ragged(2, 2, 2)
    with pytest.warns(UserWarning, match='requires_grad'), pytest.raises(ConfigError, match='use_reentrant=False'):
        encode_visible(net, img, visible)
    with torch.no_grad():
        assert encode_visible(net.stage, img, visible)[0].shape == (2, 4, 8, 8)


def test_probe_takes_one_map_and_any_batch_norm():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4, momentum=None), nn.ReLU(inplace=True))
    net[2].eval()
    assert probe_maps(net) == ((4, 2),)
    assert net.training and net[1].training and not net[2].training and int(net[1].num_batches_tracked) == 0
    with pytest.raises(ConfigError, match='no feature map'):
        probe_maps(nn.Sequential(net, nn.Flatten()))
