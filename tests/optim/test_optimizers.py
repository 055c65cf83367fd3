"""LARS and LAMB: the official code's numbers, the edge cases, state round trips."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from selfsup.errors import ConfigError
from selfsup.optim.lamb import LAMB
from selfsup.optim.lars import LARS
from selfsup.registry import OPTIMIZERS
from selfsup.weights.read import read_checkpoint
from selfsup.weights.write import write_checkpoint_atomic

GOLDEN = read_checkpoint(Path(__file__).parents[1] / 'golden' / 'optim.pt')


def _params() -> dict[str, torch.nn.Parameter]:
    return {name: torch.nn.Parameter(value.clone()) for name, value in GOLDEN['params0'].items()}


def _set_grads(params: dict, step: int) -> None:
    for name, p in params.items():
        p.grad = GOLDEN['grads'][name][step].clone()


def _lars(case: dict, params: dict) -> LARS:
    cfg, exclude = case['config'], case['exclude']
    return LARS(
        [
            {'params': [p for n, p in params.items() if n not in exclude]},
            {'params': [params[n] for n in exclude], 'weight_decay': 0.0, 'lars_exclude': True},
        ],
        lr=cfg['lr'][0],
        momentum=cfg['momentum'],
        weight_decay=cfg['weight_decay'],
        eta=cfg['eta'],
        nesterov=cfg['nesterov'],
    )


def _lamb(case: dict, params: dict) -> LAMB:
    cfg, no_decay = case['config'], case['no_decay']
    return LAMB(
        [
            {'params': [p for n, p in params.items() if n not in no_decay]},
            {'params': [params[n] for n in no_decay], 'weight_decay': 0.0},
        ],
        lr=cfg['lr'][0],
        betas=tuple(cfg['betas']),
        weight_decay=cfg['wd'][0],
        eps=cfg['eps'],
        max_grad_norm=cfg['max_grad_norm'],
    )


@pytest.mark.parametrize('case', GOLDEN['lars'], ids=['simclr', 'byol', 'nesterov'])
def test_lars_golden(case):
    params = _params()
    optimizer = _lars(case, params)
    for step, lr in enumerate(case['config']['lr']):
        _set_grads(params, step)
        for group in optimizer.param_groups:
            group['lr'] = lr
        optimizer.step()
        for name, p in params.items():
            torch.testing.assert_close(
                p.data, case['params'][step][name], rtol=1e-5, atol=2e-5, msg=f'{name} at step {step}'
            )
    assert torch.equal(params['zero.weight'], GOLDEN['params0']['zero.weight'])  # all zeros: frozen, as documented


@pytest.mark.parametrize('case', GOLDEN['lamb'], ids=['decay-grows', 'constant'])
def test_lamb_golden(case):
    params = _params()
    optimizer = _lamb(case, params)
    for step, (lr, decay) in enumerate(zip(case['config']['lr'], case['config']['wd'], strict=True)):
        _set_grads(params, step)
        for group in optimizer.param_groups:
            group['lr'] = lr
        optimizer.param_groups[0]['weight_decay'] = decay
        optimizer.step()
        for name, p in params.items():
            torch.testing.assert_close(
                p.data, case['params'][step][name], rtol=1e-5, atol=1e-6, msg=f'{name} at step {step}'
            )
        assert float(optimizer.global_grad_norm) == pytest.approx(float(case['global_grad_norm'][step]), rel=1e-5)


@pytest.mark.parametrize('build, case', [(_lars, GOLDEN['lars'][2]), (_lamb, GOLDEN['lamb'][0])], ids=['LARS', 'LAMB'])
def test_state_survives_a_file(build, case, tmp_path):
    """Saving, loading into a fresh optimizer and going on is the same, bit for bit, as going on."""
    straight = _params()
    first = build(case, straight)
    for step in range(2):
        _set_grads(straight, step)
        first.step()
    path = write_checkpoint_atomic({'optimizer': first.state_dict()}, tmp_path / 'o.pth')
    resumed = {n: torch.nn.Parameter(p.data.clone()) for n, p in straight.items()}
    second = build(case, resumed)
    second.load_state_dict(read_checkpoint(path)['optimizer'])
    for params, optimizer in ((straight, first), (resumed, second)):
        for step in (2, 3):
            _set_grads(params, step)
            optimizer.step()
    for name in straight:
        assert torch.equal(straight[name], resumed[name]), name


@pytest.mark.parametrize(
    'cls, kwargs',
    [(LARS, {'lr': 1.0, 'momentum': 0.9}), (LARS, {'lr': 1.0, 'weight_decay': 0.1}), (LAMB, {'lr': 0.1})],
    ids=['LARS', 'LARS-decay', 'LAMB'],
)
def test_zero_norms_do_not_crash(cls, kwargs):
    zero = torch.nn.Parameter(torch.zeros(3))
    still = torch.nn.Parameter(torch.ones(2))
    unused = torch.nn.Parameter(torch.ones(2))
    zero.grad, still.grad = torch.zeros(3), torch.zeros(2)
    cls([zero, still, unused], **kwargs).step()
    assert torch.equal(zero, torch.zeros(3)) and torch.isfinite(still).all() and torch.equal(unused, torch.ones(2))


def test_lars_without_scaling_is_sgd():
    params, twins = _params(), _params()
    ours = LARS(params.values(), lr=0.1, momentum=0.9, weight_decay=0.01, lars_exclude=True)
    theirs = torch.optim.SGD(twins.values(), lr=0.1, momentum=0.9, weight_decay=0.01)
    for step in range(5):
        for optimizer, group in ((ours, params), (theirs, twins)):
            _set_grads(group, step)
            optimizer.step()
    for name in params:
        torch.testing.assert_close(params[name], twins[name])


def test_lamb_switches():
    """always_adapt gives an undecayed tensor a ratio; trust_clip keeps every ratio at most 1; clipping can be off."""

    def moved(**kwargs) -> float:
        p = torch.nn.Parameter(torch.full((4,), 10.0))
        p.grad = torch.full((4,), 0.5)
        LAMB([p], lr=0.01, weight_decay=0.0, **kwargs).step()
        return float(10.0 - p[0].detach())

    assert moved(max_grad_norm=None) == pytest.approx(0.01, rel=1e-4)  # Adam's first step: the sign
    assert moved(always_adapt=True) == pytest.approx(0.1, rel=1e-4)  # times |w| / |u| = 10
    assert moved(always_adapt=True, trust_clip=True) == pytest.approx(0.01, rel=1e-4)
    assert moved(bias_correction=False, max_grad_norm=None) == pytest.approx(0.01 * 0.1 / 0.001**0.5, rel=1e-3)


def test_registered_and_refuses_nonsense():
    assert OPTIMIZERS.get('LARS') is LARS and OPTIMIZERS.get('LAMB') is LAMB
    p = [torch.nn.Parameter(torch.ones(1))]
    for cls, kwargs, word in (
        (LARS, {'lr': -1}, 'lr'),
        (LARS, {'lr': 1, 'nesterov': True}, 'nesterov'),
        (LAMB, {'betas': (1.0, 0.9)}, 'betas'),
        (LAMB, {'max_grad_norm': -1}, 'max_grad_norm'),
    ):
        with pytest.raises(ConfigError, match=word):
            cls(p, **kwargs)


def test_closure_is_evaluated_with_gradients():
    p = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = LARS([p], lr=0.1, lars_exclude=True)

    def closure():
        optimizer.zero_grad()
        loss = (p**2).sum()
        loss.backward()
        return loss

    assert float(optimizer.step(closure).detach()) == 4.0 and float(p.detach()) == pytest.approx(1.6)
