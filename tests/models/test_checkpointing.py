"""Activation checkpointing of the ConvNeXts and SLaK: the same loss, gradients and statistics, for images and maps with hidden blocks."""

import pytest
import torch

from selfsup.models.visible import encode_visible
from selfsup.registry import BACKBONES

SIZES = {'depths': (1, 1, 2, 1), 'dims': (4, 8, 8, 16), 'drop_path_rate': 0.5}
KINDS = {
    'ConvNeXt': {},
    'ConvNeXtV2': {'grn_scope': 'batch'},
    'SLaK': {'kernel_size': (9, 7, 7, 5, 3), 'norm_cfg': {'type': 'BN'}},
}


def passes(kind, with_cp, masked):
    """Sum of the last map, gradients, state; what autograd kept, in numbers."""
    torch.manual_seed(0)
    net = BACKBONES.build({'type': kind, **SIZES, **KINDS[kind], 'with_cp': with_cp}).double().train()
    kept = []
    visible = torch.tensor([[[True, False], [True, True]], [[False, True], [True, False]]])
    img = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        last = encode_visible(net, img, visible)[-1].dense() if masked else net(img)[-1]
        loss = last.square().sum()
    loss.backward()
    return loss, {n: p.grad for n, p in net.named_parameters()}, net.state_dict(), sum(kept)


@pytest.mark.parametrize('masked', [False, True])
@pytest.mark.parametrize('kind', KINDS)
def test_computed_again_is_computed_the_same(kind, masked):
    plain, again = passes(kind, False, masked), passes(kind, True, masked)
    assert torch.equal(plain[0], again[0])
    for one, other in zip(plain[1:3], again[1:3], strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert again[3] < plain[3] / 2


def test_without_gradients_nothing_is_kept_either_way():
    net = BACKBONES.build({'type': 'ConvNeXtV2', **SIZES, 'with_cp': True}).eval()
    with torch.no_grad():
        assert not net(torch.randn(1, 3, 32, 32))[-1].requires_grad
