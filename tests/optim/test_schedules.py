"""Schedules against mmcv's and BYOL's own numbers, then each policy against its formula."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from selfsup.errors import ConfigError
from selfsup.optim.base_lr import scaled_lr
from selfsup.optim.schedules import byol_momentum, check_policy, cosine_weight_decay, policy_lr

GOLDEN = json.loads((Path(__file__).parents[1] / 'golden' / 'schedules.json').read_text())


@pytest.mark.parametrize('case', GOLDEN['openselfsup_lr'], ids=lambda c: c['name'])
def test_lr_golden(case):
    max_iters = case['epochs'] * case['iters_per_epoch']
    found = [
        policy_lr(
            i,
            case['base_lr'],
            iters_per_epoch=case['iters_per_epoch'],
            max_iters=max_iters,
            policy='CosineAnnealing',
            **case['config'],
        )
        for i in range(max_iters)
    ]
    assert found == pytest.approx(case['lr'], rel=1e-9)


@pytest.mark.parametrize('case', GOLDEN['byol_momentum'], ids=['every-step', 'accumulated'])
def test_byol_momentum_golden(case):
    for i, (momentum, updated) in enumerate(zip(case['momentum'], case['target_updated'], strict=True)):
        if updated:
            assert byol_momentum(i, case['total_iters'], case['base_momentum'], case['end_momentum']) == pytest.approx(
                momentum, rel=1e-9
            )


@pytest.mark.parametrize('case', GOLDEN['spark_pretrain'])
def test_spark_golden(case):
    """Per-iteration learning rate and weight decay of SparK's code."""
    total = case['epochs'] * case['iters_per_epoch']
    rates = [
        policy_lr(
            i,
            case['peak_lr'],
            iters_per_epoch=case['iters_per_epoch'],
            max_iters=total,
            policy='WarmupCosine',
            reach_end=True,
            min_lr_ratio=0.001,
            warmup='linear',
            warmup_iters=case['warmup_epochs'],
            warmup_by_epoch=True,
            warmup_ratio=0.005,
        )
        for i in range(total)
    ]
    assert rates == pytest.approx(case['lr'], rel=1e-9)
    decays = [cosine_weight_decay(i, total, case['wd'], case['wd_end']) for i in range(total)]
    assert decays == pytest.approx(case['weight_decay'], rel=1e-9)


@pytest.mark.parametrize('case', GOLDEN['convnextv2'], ids=['every-step', 'accumulated'])
def test_fcmae_golden(case):
    """Learning rate of ConvNeXt V2's code, which changes with the optimizer step, not within an accumulation window."""
    total = case['epochs'] * case['loader_len']
    rates = [
        policy_lr(
            i,
            case['lr_abs'],
            iters_per_epoch=case['loader_len'],
            max_iters=total,
            update_interval=case['update_freq'],
            policy='WarmupCosine',
            min_lr=case['min_lr'],
            warmup='linear',
            warmup_iters=case['warmup_epochs'],
            warmup_by_epoch=True,
            warmup_ratio=0.0,
        )
        for i in range(total)
    ]
    assert rates == pytest.approx(case['lr'], rel=1e-9)
    assert scaled_lr({'base_lr': case['blr']}, case['batch_size'] * case['update_freq'])['lr'] == pytest.approx(
        case['lr_abs'], rel=1e-12
    )


@pytest.mark.parametrize('case', GOLDEN['slak_cosine_scheduler'][:2], ids=['epochs', 'steps'])
@pytest.mark.parametrize('interval', [1, 2])
def test_slak_golden(case, interval):
    """Learning rate per optimizer step of SLaK's code and ConvNeXt's: two steps at the peak, the minimum after the last."""
    (peak, smallest, epochs, steps), warmup = case['args'], case['kwargs'].get('warmup_steps')
    rates = [
        policy_lr(
            i,
            peak,
            iters_per_epoch=steps * interval,
            max_iters=epochs * steps * interval,
            update_interval=interval,
            policy='WarmupCosine',
            min_lr=smallest,
            reach_peak=True,
            warmup='linear',
            warmup_ratio=0.0,
            warmup_by_epoch=warmup is None,
            warmup_iters=warmup * interval if warmup else case['kwargs']['warmup_epochs'],
        )
        for i in range(epochs * steps * interval)
    ]
    assert (
        rates[::interval] == pytest.approx(case['values'], rel=1e-9)
        and rates[::interval] == rates[interval - 1 :: interval]
    )
    assert rates[::interval].count(peak) == 2


def test_slak_weight_decay_golden():
    """Its weight decay goes from 0.05 to 0.05."""
    args, values = GOLDEN['slak_cosine_scheduler'][2]['args'], GOLDEN['slak_cosine_scheduler'][2]['values']
    assert [cosine_weight_decay(i, len(values), *args[:2]) for i in range(len(values))] == pytest.approx(
        values, rel=1e-12
    )


@pytest.mark.parametrize(('interval', 'last'), [(1, 11), (2, 10), (4, 10), (5, 11)])
def test_the_last_step_has_the_smallest_rate(interval, last):
    """Two epochs of 6 iterations; a window ends with its epoch, so the last one holds 1, 2, 2 or 1 of them."""
    rates = [
        policy_lr(
            i,
            1.0,
            iters_per_epoch=6,
            max_iters=12,
            update_interval=interval,
            policy='WarmupCosine',
            min_lr_ratio=0.25,
            reach_end=True,
        )
        for i in range(12)
    ]
    assert rates[last:] == [0.25] * (12 - last) and all(rate > 0.25 for rate in rates[:last]) and rates[0] == 1


def test_base_lr():
    spark = GOLDEN['spark_pretrain'][0]
    cfg = {'type': 'LAMB', 'base_lr': spark['base_lr'], 'weight_decay': 0.04}
    assert scaled_lr(cfg, spark['batch_size']) == {
        'type': 'LAMB',
        'weight_decay': 0.04,
        'lr': pytest.approx(spark['peak_lr']),
    }
    assert 'lr' not in cfg
    assert scaled_lr({'lr': 0.1}, 512) == {'lr': 0.1}
    with pytest.raises(ConfigError, match='both given'):
        scaled_lr({'lr': 0.1, 'base_lr': 0.1}, 512)
    with pytest.raises(ConfigError, match='>= 0'):
        scaled_lr({'base_lr': '1e-4'}, 512)


def _rates(iterations, policy, **cfg):
    return [policy_lr(i, 1.0, iters_per_epoch=4, max_iters=40, policy=policy, **cfg) for i in iterations]


def test_policies_by_epoch_change_with_the_epoch_only():
    assert _rates((0, 7, 8, 15, 16, 39), 'step', step=[2, 4]) == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert _rates((0, 11, 12, 39), 'step', step=3, gamma=0.5, min_lr=0.2) == pytest.approx([1, 1, 0.5, 0.2])
    assert _rates((0, 3, 4, 8), 'exp', gamma=0.9) == pytest.approx([1, 1, 0.9, 0.81])
    assert _rates((0, 3, 4, 39), 'poly', power=2, min_lr=0.1) == pytest.approx(
        [1, 1, 0.9 * 0.81 + 0.1, 0.9 * 0.01 + 0.1]
    )
    assert _rates((0, 4, 8), 'inv', gamma=0.5, power=2) == pytest.approx([1, 1.5**-2, 2.0**-2])
    assert _rates((0, 3, 39), 'fixed') == [1, 1, 1]
    assert _rates((20,), 'CosineAnnealing', min_lr_ratio=0.5) == pytest.approx([0.75])


def test_policies_by_iteration():
    assert _rates((0, 1, 2, 3), 'step', by_epoch=False, step=[2, 3]) == pytest.approx([1, 1, 0.1, 0.01])
    assert _rates((10, 39), 'CosineAnnealing', by_epoch=False, min_lr=0) == pytest.approx(
        [(1 + math.cos(math.pi / 4)) / 2, (1 + math.cos(math.pi * 39 / 40)) / 2]
    )


def test_warmup_cosine_at_its_ends():
    assert _rates((0, 10, 20, 40), 'WarmupCosine', min_lr=0.0) == pytest.approx(
        [1, (1 + math.cos(math.pi / 4)) / 2, 0.5, 0]
    )
    warm = {'warmup': 'linear', 'warmup_iters': 4, 'warmup_ratio': 0.0}
    assert _rates((0, 2, 4), 'WarmupCosine', min_lr=0.2, **warm) == pytest.approx([0, 0.5, 1])
    assert _rates((39, 40), 'WarmupCosine', min_lr=0.2, reach_end=True, **warm) == pytest.approx([0.2, 0.2])
    assert _rates((0, 1, 3, 4), 'WarmupCosine', min_lr=0.2, reach_peak=True, **warm) == pytest.approx([0, 1 / 3, 1, 1])
    assert _rates((0, 1), 'WarmupCosine', min_lr=0.2, reach_peak=True, **{**warm, 'warmup_iters': 1}) == pytest.approx(
        [0, 1]
    )
    whole = {**warm, 'warmup_iters': 40}  # nothing but warm-up
    assert _rates((39, 40), 'WarmupCosine', min_lr=0.2, **whole) == pytest.approx([39 / 40, 0.2])
    assert cosine_weight_decay(0, 1, 0.04, 0.2) == pytest.approx(0.04)


def test_windows_start_anew_with_each_epoch():
    """Epochs of 5 iterations in windows of 2: 0 0 2 2 4 | 5 5 7 7 9."""
    found = [
        policy_lr(
            i,
            10.0,
            iters_per_epoch=5,
            max_iters=10,
            update_interval=2,
            policy='WarmupCosine',
            min_lr=0.0,
            warmup='linear',
            warmup_iters=10,
            warmup_ratio=0.0,
        )
        for i in range(10)
    ]
    assert found == pytest.approx([0, 0, 2, 2, 4, 5, 5, 7, 7, 9])


def test_warmups():
    common = {'warmup_iters': 4, 'warmup_ratio': 0.1}
    assert _rates((0, 3, 4), 'fixed', warmup='constant', **common) == pytest.approx([0.1, 0.1, 1])
    assert _rates((0, 2, 4), 'fixed', warmup='linear', **common) == pytest.approx([0.1, 0.55, 1])
    assert _rates((0, 2, 4), 'fixed', warmup='exp', **common) == pytest.approx([0.1, 0.1**0.5, 1])
    # two epochs of four iterations; the regular rate has already dropped in the second
    assert _rates(
        (4, 8), 'step', step=[1], warmup='linear', warmup_iters=2, warmup_by_epoch=True, warmup_ratio=0.1
    ) == pytest.approx([0.1 * 0.55, 0.1])


def test_a_partial_last_epoch_counts():
    assert policy_lr(9, 1.0, iters_per_epoch=4, max_iters=10, policy='poly') == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    'cfg, message',
    [
        ({}, 'policy=None'),
        ({'policy': 'stepp'}, "Did you mean 'step'"),
        ({'policy': 'step'}, 'needs step'),
        ({'policy': 'step', 'step': [3, 2]}, 'increasing'),
        ({'policy': 'step', 'step': []}, 'increasing'),
        ({'policy': 'step', 'step': 0}, '>= 1'),
        ({'policy': 'step', 'step': [1], 'gama': 0.1}, "no argument 'gama'. Did you mean 'gamma'"),
        ({'policy': 'CosineAnnealing'}, 'neither is given'),
        ({'policy': 'CosineAnnealing', 'min_lr': 0, 'min_lr_ratio': 0}, 'both are given'),
        ({'policy': 'CosineAnnealing', 'min_lr': -1}, '>= 0'),
        ({'policy': 'fixed', 'warmup': 'linear'}, 'needs warmup_iters > 0'),
        ({'policy': 'fixed', 'warmup': 'linear', 'warmup_iters': 2, 'warmup_ratio': 0}, r'in (0, 1]'),
        ({'policy': 'fixed', 'warmup': 'linear', 'warmup_iters': 2, 'warmup_ratio': 1.5}, r'in [0, 1]'),
        ({'policy': 'fixed', 'warmup': 'lin', 'warmup_iters': 2}, "Did you mean 'linear'"),
        ({'policy': 'fixed', 'warmup_iters': 2}, 'does nothing without warmup'),
        ({'policy': 'fixed', 'by_epoch': 1}, 'by_epoch'),
        ({'policy': 'WarmupCosine'}, 'WarmupCosine takes either min_lr or min_lr_ratio; neither is given'),
        ({'policy': 'WarmupCosine', 'min_lr': 0, 'reach_end': 1}, 'True or False'),
        ({'policy': 'WarmupCosine', 'min_lr': 0, 'reach_peak': 'yes'}, 'True or False'),
        ({'policy': 'WarmupCosine', 'min_lr': 0, 'warmup': 'exp', 'warmup_iters': 2}, "must be 'linear' or None"),
        (
            {'policy': 'WarmupCosine', 'min_lr': 0, 'warmup': 'linear', 'warmup_iters': 2, 'warmup_ratio': -0.1},
            '[0, 1]',
        ),
        ({'policy': 'WarmupCosine', 'min_lr': 0, 'reach_nd': True}, "Did you mean 'reach_end'"),
    ],
)
def test_errors(cfg, message):
    with pytest.raises(ConfigError) as error:
        check_policy(**cfg)
    assert message in str(error.value)


def test_an_empty_run_is_an_error():
    with pytest.raises(ConfigError, match='no iterations'):
        policy_lr(0, 1.0, iters_per_epoch=0, max_iters=0, policy='fixed')
