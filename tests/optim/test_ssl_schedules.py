"""The learning rates of the newer methods' official codes, from what a config says of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from selfsup.errors import ConfigError
from selfsup.optim.schedules import check_policy, cosine_weight_decay, policy_lr

GOLDEN = json.loads((Path(__file__).parents[1] / 'golden' / 'methods_ssl_schedules.json').read_text())


def _warm(epochs: int, start: float = 0.0, **more) -> dict:
    return {
        'policy': 'WarmupCosine',
        'warmup': 'linear',
        'warmup_iters': epochs,
        'warmup_by_epoch': True,
        'warmup_ratio': start,
        **more,
    }


def _cases():
    """Name, base rate, lr_config, epochs, iterations per epoch, the iterations that are given, their rates."""
    for name, base in (('barlow', 0.2 * 512 / 256), ('vicreg', 0.3 * 512 / 256)):
        case = GOLDEN[name]
        policy = _warm(case['warmup_epochs'], min_lr_ratio=0.001)
        yield name, base, policy, case['epochs'], case['iters_per_epoch'], case['iterations'], case['lr']
    case = GOLDEN['barlow']  # the same lr_config for the group of lr_mult=0.024
    base = 0.2 * 512 / 256 * 0.024
    policy = _warm(case['warmup_epochs'], min_lr_ratio=0.001)
    yield 'barlow, biases', base, policy, case['epochs'], 7, case['iterations'], case['lr_biases']
    case = GOLDEN['mocov3']
    policy = _warm(case['warmup_epochs'], min_lr=0.0)
    yield 'mocov3', case['lr_scaled'], policy, case['epochs'], 7, case['iterations'], case['lr']
    case = GOLDEN['swav']
    start = case['start_warmup'] / case['base_lr']
    policy = _warm(case['warmup_epochs'], start, reach_peak=True, min_lr=case['final_lr'])
    yield 'swav', case['base_lr'], policy, case['epochs'], 7, case['iterations'], case['lr']
    case = GOLDEN['dino']
    policy = _warm(case['lr']['warmup_epochs'], reach_peak=True, min_lr=case['lr']['final'])
    yield 'dino', case['lr']['base'], policy, case['epochs'], 7, case['iterations'], case['lr']['values']
    case = GOLDEN['lejepa_minimal']
    policy = _warm(1, case['start_factor'], min_lr=case['eta_min'])
    yield 'lejepa', case['lr'], policy, case['total_iters'] // 7, 7, case['iterations'], case['values']
    case = GOLDEN['cnnjepa']['lr_factor']
    policy = _warm(case['warmup_steps'] // 7, skip_start=True, reach_end=True, min_lr_ratio=0.001)
    yield 'cnnjepa', 1.0, policy, case['max_steps'] // 7, 7, case['iterations'], case['values']
    case = GOLDEN['dinov3_distill']
    start = case['start'] / case['peak']
    policy = _warm(case['warmup_iterations'] // 7, start, reach_end=True, min_lr=case['end'])
    yield 'dinov3', case['peak'], policy, case['total_iterations'] // 7, 7, case['iterations'], case['values']


@pytest.mark.parametrize('case', _cases(), ids=lambda case: case[0])
def test_golden(case):
    _, base, policy, epochs, per_epoch, iterations, expected = case
    rates = [policy_lr(i, base, iters_per_epoch=per_epoch, max_iters=epochs * per_epoch, **policy) for i in iterations]
    assert rates == pytest.approx(expected, rel=1e-9, abs=0)


def test_simsiam_golden():
    """Per epoch, without warm-up; its predictor keeps the rate (`constant_lr`, see tests/engine)."""
    case = GOLDEN['simsiam']
    for i in range(case['epochs'] * 7):
        rate = policy_lr(
            i,
            case['init_lr'],
            iters_per_epoch=7,
            max_iters=case['epochs'] * 7,
            policy='CosineAnnealing',
            min_lr=0.0,
        )
        assert rate == pytest.approx(case['lr_encoder'][i // 7], rel=1e-9)
    assert set(case['lr_predictor_fixed']) == {case['init_lr']}


def test_dino_weight_decay_golden():
    case = GOLDEN['dino']
    total, decay = case['epochs'] * case['iters_per_epoch'], case['weight_decay']
    values = [cosine_weight_decay(i, total, decay['base'], decay['final'], reach_end=False) for i in case['iterations']]
    assert values == pytest.approx(decay['values'], rel=1e-9)
    assert cosine_weight_decay(total, total, 0.04, 0.4, reach_end=False) < 0.4  # after the last one it stays


@pytest.mark.parametrize(('interval', 'length'), [(1, 4), (2, 4), (4, 4), (2, 3)])
def test_the_first_rate_left_out(interval, length):
    """Windows that end with an epoch of 4; the last step of a warm-up of whole windows has the full rate."""
    rates = [
        policy_lr(
            i,
            1.0,
            iters_per_epoch=4,
            max_iters=8,
            update_interval=interval,
            policy='WarmupCosine',
            min_lr=0.5,
            warmup='linear',
            warmup_iters=length,
            warmup_ratio=0.0,
            skip_start=True,
        )
        for i in range(length)
    ]
    steps = rates[::interval]
    assert steps == pytest.approx([min((k + 1) * interval / length, 1.0) for k in range(len(steps))])


def test_two_ways_to_end_a_warm_up():
    with pytest.raises(ConfigError, match=r'lr_config.skip_start=True: and reach_peak are two ways .* Keep one'):
        check_policy(**_warm(1, min_lr=0.0, reach_peak=True, skip_start=True))
    with pytest.raises(ConfigError, match="policy 'CosineAnnealing' has no argument 'skip_start'"):
        check_policy('CosineAnnealing', min_lr=0.0, skip_start=True)
