"""`MultiClsHead(with_last_layer_unpool=True)` adds a classifier of the whole last map, as OpenSelfSup's does."""

import copy

import pytest
import torch
import torch.nn.functional as F

from selfsup.errors import ConfigError, ShapeError
from selfsup.evaluation.linear.head_inputs import _pooling
from selfsup.models.layers.pooling import pool_layer
from selfsup.registry import HEADS

HEAD = {
    'type': 'MultiClsHead',
    'pool_type': 'specified',
    'in_indices': (3, 4),
    'backbone': 'resnet18',
    'num_classes': 3,
}


def maps():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 256, 14, 14, generator=generator), torch.randn(2, 512, 7, 7, generator=generator)]


@pytest.mark.parametrize('norm_cfg', [{'type': 'BN'}, None])
def test_the_whole_last_map_has_a_classifier_of_its_own_without_a_norm(norm_cfg):
    torch.manual_seed(0)
    head = HEADS.build({**HEAD, 'with_last_layer_unpool': True, 'norm_cfg': norm_cfg})
    plain = HEADS.build({**HEAD, 'norm_cfg': norm_cfg})
    assert [fc.in_features for fc in head.fcs] == [fc.in_features for fc in plain.fcs] + [512 * 49]
    # Norms for pooled ones only.
    assert {n for n in head.state_dict() if n not in plain.state_dict()} == {'fcs.2.weight', 'fcs.2.bias'}
    plain.load_state_dict({n: v for n, v in head.state_dict().items() if not n.startswith('fcs.2')})
    given, labels = [m.requires_grad_() for m in maps()], torch.tensor([2, 0])
    logits = head(given)
    assert list(logits) == ['head0', 'head1', 'head2']
    for name, expected in plain(maps()).items():
        torch.testing.assert_close(logits[name], expected)
    last = maps()[1].requires_grad_()
    expected = F.linear(last.reshape(2, -1), head.fcs[2].weight, head.fcs[2].bias)
    torch.testing.assert_close(logits['head2'], expected)
    out = head.loss(logits, labels)
    assert list(out) == ['loss.1', 'acc.1', 'loss.2', 'acc.2', 'loss.3', 'acc.3']
    torch.testing.assert_close(out['loss.3'], F.cross_entropy(expected, labels))
    (gradient,) = torch.autograd.grad(out['loss.3'], given[1])
    torch.testing.assert_close(gradient, torch.autograd.grad(F.cross_entropy(expected, labels), last)[0])


def test_what_can_be_cached_is_what_is_classified():
    head = HEADS.build({**HEAD, 'with_last_layer_unpool': True}).eval()
    pooled = head.pool(maps())
    torch.testing.assert_close(pooled[1], pool_layer(maps()[1], 4, False))
    assert torch.equal(pooled[2], maps()[1]) and len(pooled) == 3
    for name, value in head.classify(pooled).items():
        torch.testing.assert_close(value, head(maps())[name])
    # a cache that was written when the option replaced the last input is not taken for one of now
    assert _pooling({**HEAD, 'with_last_layer_unpool': True}) != _pooling({**HEAD, 'with_last_layer_unpool': False})
    assert True not in _pooling({**HEAD, 'with_last_layer_unpool': True}).values()


def test_checkpoints_of_the_option_as_it_was_load_with_replace():
    old = HEADS.build({**HEAD, 'with_last_layer_unpool': 'replace'})
    assert [fc.in_features for fc in old.fcs] == [HEADS.build(HEAD).fcs[0].in_features, 512 * 49] and len(
        old.norms
    ) == 2
    again = copy.deepcopy(old)
    again.load_state_dict(old.state_dict())
    values = F.linear(old.norms[1](maps()[1]).flatten(1), old.fcs[1].weight, old.fcs[1].bias)
    torch.testing.assert_close(again(maps())['head1'], values)
    with pytest.raises(ConfigError, match="with_last_layer_unpool='yes': must be True or False or 'replace'"):
        HEADS.build({**HEAD, 'with_last_layer_unpool': 'yes'})
    with pytest.raises(ShapeError, match=r'layer 4 of shape .* gives 18432 numbers, not 25088'):
        HEADS.build({**HEAD, 'with_last_layer_unpool': True, 'pool_type': 'adaptive'})(
            [maps()[0], torch.randn(2, 512, 6, 6)]
        )
