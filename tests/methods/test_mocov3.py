"""MoCo v3 against the official code: losses, gradients, a whole step with its momentum encoder, two processes."""

import math

import pytest
import torch
from torch import nn

from selfsup import distributed
from selfsup.contracts import Progress
from selfsup.errors import ConfigError
from selfsup.models.algorithms.contrastive.moco_v3 import MoCoV3, contrast
from selfsup.models.layers.functional import l2_normalize
from tests.distributed.helpers import run_ranks

from .golden import golden, gradient, leaves, near


class PooledInputs(nn.Module):
    """Passes on features (B, C, 1, 1) that stand for images."""

    def forward(self, x):
        return (x,)


def build(channels=7, hidden=9, dim=6, **settings):
    linear = {'type': 'MLPNeck', 'hid_channels': hidden, 'out_channels': dim, 'last_bias': False}
    neck = {**linear, 'in_channels': channels, 'last_norm': 'BN-'}
    predictor = {**linear, 'in_channels': dim, 'with_avg_pool': False}
    return MoCoV3(PooledInputs(), neck, predictor, **settings).double().train()


def both_directions(q1, q2, k1, k2, temperature):
    q1, q2, k1, k2 = map(l2_normalize, (q1, q2, k1, k2))
    one, other = contrast(q1, k2, temperature)[0], contrast(q2, k1, temperature)[0]
    return one, one + other


def test_losses_and_gradients():
    cases = golden('mocov3')['cases']
    assert {case['T'] for case in cases} == {1.0, 0.2}
    for case in cases:
        q1, q2 = leaves(case['q1'], case['q2'])
        one, loss = both_directions(q1, q2, case['k1'], case['k2'], case['T'])
        near(one, case['loss_one'])
        near(loss, case['loss'])
        near(gradient(loss, q1), case['grad_q1'])
        near(gradient(loss, q2), case['grad_q2'])


def ours(state):
    """Official names -> ours."""
    places = {'base_encoder.fc.': 'neck.mlp.', 'momentum_encoder.fc.': 'key_neck.mlp.', 'predictor.': 'predictor.mlp.'}
    renamed = {}
    for key, value in state.items():
        prefix = next(place for place in places if key.startswith(place))
        renamed[places[prefix] + key.removeprefix(prefix)] = value
    return renamed


def test_a_whole_step():
    """The official step moves the momentum encoder first; ours did so at the end of the step before."""
    case = golden('mocov3')['model']
    model = build(base_momentum=case['m'], end_momentum=case['m'], temperature=case['T'])
    state = ours(case['state'])
    result = model.load_state_dict(state, strict=False)
    assert result.missing_keys == ['momentum'] and result.unexpected_keys == []
    model.after_update([], Progress(4, 10, 5))
    step = model.loss(torch.stack([case['x1'], case['x2']], dim=1)[..., None, None])
    near(step.total, case['loss'])
    step.total.backward()
    grads = ours(case['grads'])
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert found.keys() == grads.keys()
    for name in grads:
        near(found[name], grads[name])
    after = model.state_dict()
    for name, value in ours({**case['momentum_after'], **case['bn_after']}).items():
        near(after[name], value)


def test_momentum_belongs_to_the_next_iteration():
    model = build(base_momentum=0.9)
    weight = model.neck.mlp[0].weight
    copied = model.key_neck.mlp[0].weight.clone()
    weight.data += 1.0
    for iteration in (3, 9):
        expected = 1 - 0.1 * (1 + math.cos(math.pi * (iteration + 1) / 10)) / 2
        model.after_update([], Progress(iteration, 10, 5))
        assert model.momentum.item() == pytest.approx(expected, abs=1e-7)
        copied = expected * copied + (1 - expected) * weight
        near(model.key_neck.mlp[0].weight, copied, atol=1e-12)
    assert model.momentum.item() == 1.0  # after the last iteration: nobody reads the keys


def test_statistics_of_the_copy_are_its_own():
    model = build(base_momentum=0.5)
    model.neck.mlp[1].running_mean.fill_(7.0)
    model.after_update([], Progress(1, 10, 5))
    assert model.key_neck.mlp[1].running_mean.abs().max() == 0
    model.loss(torch.randn(5, 2, 7, 1, 1, dtype=torch.float64))
    assert model.key_neck.mlp[1].num_batches_tracked == 2 and model.key_neck.mlp[1].running_mean.abs().max() > 0


def test_one_image_has_nobody_to_be_told_from():
    with pytest.raises(
        ConfigError, match=r'MoCoV3 contrasts each image .* holds 1 image \(9 in all\): set data.drop_last'
    ):
        build().check_data(9, [4, 1])
    build().check_data(9, [4, 2])


def one_of_two():
    case, rank = golden('mocov3')['ranks2'], distributed.rank()
    q1, q2 = leaves(case['q1'][rank], case['q2'][rank])
    _, loss = both_directions(q1, q2, case['k1'][rank], case['k2'][rank], case['T'])
    near(loss, case['loss'][rank])
    near(gradient(loss, q1), case['grad_q1'][rank])
    near(gradient(loss, q2), case['grad_q2'][rank])
    return True


@pytest.mark.dist
def test_two_processes():
    assert run_ranks(one_of_two, 2) == [True, True]
