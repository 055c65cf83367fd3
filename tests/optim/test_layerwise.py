"""BarlowLARS and LARC: the numbers of the official codes, zero norms, state round trips."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from selfsup.errors import ConfigError
from selfsup.optim.barlow_lars import BarlowLARS
from selfsup.optim.larc import LARC
from selfsup.optim.paramwise import param_groups
from selfsup.registry import OPTIMIZERS, build_from_config
from selfsup.weights.read import read_checkpoint
from selfsup.weights.write import write_checkpoint_atomic

GOLDEN = read_checkpoint(Path(__file__).parents[1] / 'golden' / 'methods_lars_ssl.pt')
KINDS = {'larc_sgd': 'LARC'}  # all others: BarlowLARS


class Weights(torch.nn.Module):
    """The parameters of the reference, under names in which dots are lines."""

    def __init__(self, values: dict | None = None) -> None:
        super().__init__()
        for name, value in (values or GOLDEN['params0']).items():
            self.register_parameter(name.replace('.', '_'), torch.nn.Parameter(value.clone()))


def _optimizer(run: str, model: torch.nn.Module) -> torch.optim.Optimizer:
    """As a config makes it; the official codes give biases and norms a rate of their own as a factor."""
    settings = GOLDEN['runs'][run]
    cfg = {
        'type': KINDS.get(run, 'BarlowLARS'),
        'lr': 1.0,
        **{name: settings[name] for name in ('weight_decay', 'momentum', 'eta')},
    }
    groups = param_groups(model, cfg, {'': {'max_ndim': 1, 'lr_mult': settings['bias_lr_factor']}})
    return build_from_config(cfg, groups, registry=OPTIMIZERS)


def _step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int, factor: float) -> None:
    for name in GOLDEN['grads']:
        model.get_parameter(name.replace('.', '_')).grad = GOLDEN['grads'][name][step].clone()
    for group in optimizer.param_groups:
        group['lr'] = GOLDEN['lr'][step] * (factor if group['params'][0].ndim <= 1 else 1.0)
    optimizer.step()


@pytest.mark.parametrize('run', list(GOLDEN['runs']))
def test_golden(run):
    """float64; with a rate of 0 at first, which fills the buffers all the same."""
    model, settings = Weights(), GOLDEN['runs'][run]
    optimizer = _optimizer(run, model)
    for step, expected in enumerate(settings['params']):
        _step(model, optimizer, step, settings['bias_lr_factor'])
        for name, value in expected.items():
            p = model.get_parameter(name.replace('.', '_'))
            torch.testing.assert_close(p.data, value, rtol=1e-12, atol=1e-12, msg=f'{name} at step {step}')
    assert not torch.equal(model.zero_weight, GOLDEN['params0']['zero.weight'])  # a weight of zeros moves


@pytest.mark.parametrize('run', ['barlow', 'larc_sgd'])
def test_state_survives_a_file(run, tmp_path):
    """Saving, loading into a fresh optimizer and going on is the same, bit for bit, as going on."""
    straight = Weights()
    first = _optimizer(run, straight)
    for step in range(2):
        _step(straight, first, step, 0.5)
    path = write_checkpoint_atomic({'optimizer': first.state_dict()}, tmp_path / 'o.pth')
    resumed = Weights({name: p.data for name, p in straight.named_parameters()})
    second = _optimizer(run, resumed)
    second.load_state_dict(read_checkpoint(path)['optimizer'])
    for model, optimizer in ((straight, first), (resumed, second)):
        for step in (2, 3):
            _step(model, optimizer, step, 0.5)
    for name, p in straight.named_parameters():
        assert torch.equal(p, resumed.get_parameter(name)), name


def test_a_parameter_that_joins_later_begins_its_own_buffer():
    """One frozen at first has no gradient, so neither decay nor momentum: its first step is its own."""
    moved, joins = (torch.nn.Parameter(torch.eye(2)) for _ in range(2))
    optimizer = BarlowLARS([moved, joins], lr=1.0, weight_decay=0.1)
    moved.grad = torch.full((2, 2), 0.5)
    optimizer.step()
    assert torch.equal(joins, torch.eye(2)) and joins not in optimizer.state
    joins.grad = moved.grad
    optimizer.step()
    alone = torch.nn.Parameter(torch.eye(2))
    alone.grad = moved.grad
    BarlowLARS([alone], lr=1.0, weight_decay=0.1).step()
    assert torch.equal(joins, alone) and not torch.equal(moved, alone)


@pytest.mark.parametrize('kind', [BarlowLARS, LARC])
def test_zero_norms_and_absent_gradients(kind):
    zero, still, unused = (torch.nn.Parameter(torch.full((2, 2), v)) for v in (0.0, 1.0, 1.0))
    zero.grad, still.grad = torch.full((2, 2), 0.5), torch.zeros(2, 2)
    kind([zero, still, unused], lr=1.0, momentum=0.0, weight_decay=0.25).step()
    assert torch.equal(zero.data, torch.full((2, 2), -0.5))  # unscaled
    assert torch.equal(unused.data, torch.ones(2, 2))
    # |w| = 2, d = 0.25 * w: BarlowLARS scales the decay to 0.001 * |w|, LARC leaves out what has no gradient
    expected = 1.0 - (0.001 if kind is BarlowLARS else 0.0)
    torch.testing.assert_close(still.data, torch.full((2, 2), expected))


@pytest.mark.parametrize('kind', [BarlowLARS, LARC])
def test_excluded_it_is_sgd(kind):
    ours, theirs = Weights(), Weights()
    matrices = [[p for p in model.parameters() if p.ndim > 1] for model in (ours, theirs)]
    optimizers = (
        kind([{'params': matrices[0], 'lars_exclude': True}], lr=0.1, weight_decay=0.01),
        torch.optim.SGD(matrices[1], lr=0.1, momentum=0.9, weight_decay=0.01),
    )
    for step in range(5):
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            for name in GOLDEN['grads']:
                model.get_parameter(name.replace('.', '_')).grad = GOLDEN['grads'][name][step].clone()
            optimizer.step()
    for one, other in zip(*matrices, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize('name', ['BarlowLARS', 'LARC'])
def test_registered_and_refuses_nonsense(name):
    kind = OPTIMIZERS.get(name)
    weights = [torch.nn.Parameter(torch.ones(1))]
    for settings, word in (({'lr': -1}, 'lr'), ({'lr': 1, 'momentum': 1.0}, 'momentum'), ({'lr': 1, 'eta': -1}, 'eta')):
        with pytest.raises(ConfigError, match=word):
            kind(weights, **settings)
