"""Gradients between the backward pass and the step: clipped one by one, dropped at first."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from selfsup.contracts import Progress
from selfsup.engine.gradients import clip_each, frozen_at_first
from selfsup.engine.optim_wrapper import AmpOptimWrapper, OptimWrapper
from selfsup.errors import ConfigError
from selfsup.weights.read import read_checkpoint
from tests.resume.runs import differences, train, write_config

GOLDEN = read_checkpoint(Path(__file__).parents[1] / 'golden' / 'methods_dino.pt')['heads']


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone, self.prototypes = nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.prototypes(self.backbone(x))


@pytest.mark.parametrize('case', GOLDEN, ids=['no-bn', 'bn'])
def test_clipping_one_by_one_golden(case):
    parameters = []
    for grad in case['grads'].values():
        parameters.append(nn.Parameter(torch.zeros_like(grad)))
        parameters[-1].grad = grad.clone()
    norms = clip_each(parameters, case['clip'])
    torch.testing.assert_close(norms, torch.as_tensor(case['norms'], dtype=norms.dtype), rtol=1e-12, atol=1e-12)
    for parameter, expected in zip(parameters, case['grads_clipped'].values(), strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-12, atol=1e-12)
    assert any(norm > case['clip'] for norm in norms)


def test_clipping_in_a_step():
    net = Net()
    (net(torch.ones(3, 4)) ** 2).sum().backward()
    before = [p.grad.clone() for p in net.parameters()]
    norms = [float(grad.abs().sum()) for grad in before]
    most = sum(norms) / len(norms)  # some are above it, some below
    optim = OptimWrapper(
        torch.optim.SGD(net.parameters(), lr=0.0), clip_grad={'max_norm': most, 'norm_type': 1, 'per_tensor': True}
    )
    assert optim.step()
    for grad, norm, p in zip(before, norms, net.parameters(), strict=True):
        torch.testing.assert_close(p.grad, grad * min(1.0, most / (norm + 1e-6)))
    assert float(optim.grad_norm) == pytest.approx(sum(norm**2 for norm in norms) ** 0.5)
    with pytest.raises(ConfigError, match="per_tensor=True clips norms; remove it or type='value'"):
        OptimWrapper(optim.optimizer, clip_grad={'type': 'value', 'clip_value': 1.0, 'per_tensor': True})


def test_rules_hold_by_position():
    iters, epochs = frozen_at_first(
        Net(), [{'parameters': '^prototypes', 'iters': 3}, {'parameters': 'weight', 'epochs': 2}]
    )
    assert [iters.holds(Progress(i, 20, 5)) for i in range(5)] == [True, True, True, False, False]
    assert [epochs.holds(Progress(i, 20, 5)) for i in (0, 9, 10)] == [True, True, False]
    assert [len(rule.parameters) for rule in (iters, epochs)] == [2, 2]


@pytest.mark.parametrize(
    ('rule', 'message'),
    [
        (
            {'parameters': '^prototipes', 'iters': 1},
            r"freeze: '\^prototipes' matches no parameter of Net, so nothing would be frozen. Nearest .*'prototypes.weight'",
        ),
        ({'parameters': 'weight'}, 'freeze.0 needs one of iters and epochs; neither is given'),
        ({'parameters': 'weight', 'iters': 1, 'epochs': 1}, 'freeze.0 needs one of iters and epochs; both are given'),
        ({'parameters': '(', 'iters': 1}, r"freeze.0 has parameters='\(', which is no regular expression"),
        ({'parameters': 'weight', 'iters': 0}, r'freeze.0.iters=0: must be a whole number >= 1'),
    ],
)
def test_rules_that_cannot_be_meant(rule, message):
    with pytest.raises(ConfigError, match=message):
        frozen_at_first(Net(), [rule])


@pytest.mark.parametrize('kind', [OptimWrapper, AmpOptimWrapper])
def test_neither_decay_nor_momentum_moves_what_is_frozen(kind):
    net = Net()
    rules = frozen_at_first(net, [{'parameters': 'prototypes', 'iters': 2}])
    amp = {'dtype': 'float16', 'loss_scale': {'init_scale': 8.0}} if kind is AmpOptimWrapper else {}
    optim = kind(
        optimizer=torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1),
        freeze=rules,
        clip_grad={'max_norm': 1e-3, 'per_tensor': True},
        **amp,
    )
    first = {name: p.detach().clone() for name, p in net.named_parameters()}
    for i in range(3):
        optim.progress = Progress(i, 3, 3)
        optim.zero_grad()
        optim.backward((net(torch.ones(3, 4)) ** 2).sum())
        assert optim.step()
        for name, p in net.named_parameters():
            assert torch.equal(p, first[name]) == (name.startswith('prototypes') and i < 2), (name, i)
    # its first step is one without history, of a gradient that was unscaled before it was clipped
    for name in ('weight', 'bias'):
        p, start = getattr(net.prototypes, name), first[f'prototypes.{name}']
        torch.testing.assert_close(p.data, start - 0.1 * (p.grad + 0.1 * start) if kind is OptimWrapper else p.data)
        assert float((optim.optimizer.state[p]['momentum_buffer'] - 0.1 * start).norm()) <= 1.001e-3


def test_an_overflow_in_what_is_frozen_skips_the_step():
    """As in the official codes, which look for it in all gradients; all parameters may be frozen at once."""
    net = Net()
    optim = AmpOptimWrapper(
        optimizer=torch.optim.SGD(net.parameters(), lr=0.1),
        freeze=frozen_at_first(net, [{'parameters': '', 'iters': 1}]),
        dtype='float16',
        loss_scale={'init_scale': 8.0},
    )
    optim.backward(net(torch.ones(3, 4)).sum() * float('inf'))
    assert not optim.step() and optim.loss_scaler.get_scale() == 4.0
    optim.zero_grad()
    optim.backward(net(torch.ones(3, 4)).sum())
    assert optim.step() and torch.equal(net.backbone.weight, Net().backbone.weight)


def _weights(path: Path) -> dict:
    return torch.load(path, weights_only=True)['state_dict']


@pytest.mark.parametrize('interval', [1, 2])
def test_a_run_and_its_resumption_within_the_freeze(interval, tmp_path):
    """24 images in batches of 4. A freeze of 8 iterations ends with the window of iterations 6 and 7, or with iteration 7."""
    config = write_config(tmp_path, 'SimCLR')
    options = (
        "optimizer_config.freeze=[{'parameters': '^neck', 'iters': 8}]",
        "optimizer_config.grad_clip={'max_norm': 0.05, 'per_tensor': True}",
        f'optimizer_config.update_interval={interval}',
        "optimizer={'type': 'BarlowLARS', 'lr': 1.0, 'weight_decay': 0.01, 'paramwise_options': {'^neck': {'constant_lr': True}}}",
        'checkpoint_config.by_epoch=False',
        'checkpoint_config.interval=2',
    )
    straight = train(config, tmp_path / 'straight', *options, curves=False)
    states = {i: _weights(straight / f'iter_{i}.pth') for i in (2, 6, 8, 10)}
    for name, first in states[2].items():
        if name.startswith('neck') and 'weight' in name:
            assert torch.equal(first, states[8][name]) and not torch.equal(first, states[10][name]), name
    assert not torch.equal(states[2]['backbone.conv1.weight'], states[6]['backbone.conv1.weight'])
    saved = torch.load(straight / 'iter_18.pth', weights_only=True)
    assert {g['lr'] for g in saved['optimizer']['param_groups'] if g.get('constant_lr')} == {1.0}
    part = train(config, tmp_path / 'part', *options, stop_after=6, curves=False)
    train(config, part, *options, auto_resume=True, curves=False)
    assert differences(straight / 'iter_18.pth', part / 'iter_18.pth') == []
