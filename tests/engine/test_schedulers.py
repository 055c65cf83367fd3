"""Learning rate and weight decay as the optimizer sees them, in runs too; goldens of the formulas are in tests/optim."""

import json
import math
import warnings
from pathlib import Path

import pytest
import torch
from mmengine.optim import CosineAnnealingLR
from torch import nn

from selfsup.engine.schedulers import CosineWeightDecay, PolicyLR, check_smallest
from selfsup.errors import ConfigError, SelfSupWarning
from selfsup.optim.lamb import LAMB
from tests.resume.runs import differences, train, write_config

GOLDEN = json.loads((Path(__file__).parents[1] / 'golden' / 'schedules.json').read_text())['spark_pretrain'][0]
SPARK = (
    "optimizer={'type': 'LAMB', 'base_lr': 0.64, 'weight_decay': 0.04, 'betas': (0.9, 0.95), 'max_grad_norm': 5., "
    "'paramwise_options': {'': {'max_ndim': 1, 'weight_decay': 0.}}}",
    "lr_config={'policy': 'WarmupCosine', 'min_lr_ratio': 0.001, 'reach_end': True, 'warmup': 'linear', 'warmup_iters': 1, "
    "'warmup_by_epoch': True, 'warmup_ratio': 0.005}",
    "weight_decay_config={'end': 0.2}",
)


def optimizer(decay=GOLDEN['wd'], **kwargs):
    weight, bias = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    return LAMB(
        [{'params': [weight]}, {'params': [bias], 'weight_decay': 0.0}],
        lr=GOLDEN['peak_lr'],
        weight_decay=decay,
        **kwargs,
    )


def schedules(of):
    total = GOLDEN['epochs'] * GOLDEN['iters_per_epoch']
    rate = PolicyLR(
        of,
        GOLDEN['iters_per_epoch'],
        total,
        policy='WarmupCosine',
        reach_end=True,
        min_lr_ratio=0.001,
        warmup='linear',
        warmup_iters=GOLDEN['warmup_epochs'],
        warmup_by_epoch=True,
        warmup_ratio=0.005,
    )
    return rate, CosineWeightDecay(of, GOLDEN['wd_end'], total)


def follow(of, both, steps):
    seen = []
    for _ in range(steps):
        seen.append([(g['lr'], g['weight_decay']) for g in of.param_groups])
        of.step()
        for schedule in both:
            schedule.step()
    return seen


def test_groups_follow_spark():
    of = optimizer()
    seen = follow(of, schedules(of), len(GOLDEN['lr']))
    for i, (decayed, free) in enumerate(seen):
        assert decayed == pytest.approx((GOLDEN['lr'][i], GOLDEN['weight_decay'][i]), rel=1e-9)
        assert free == pytest.approx((GOLDEN['lr'][i], 0.0), rel=1e-9)
    assert of.param_groups[0]['weight_decay'] == pytest.approx(GOLDEN['wd_end'])  # one step further stays at the end


def test_layer_decay_scales_the_whole_schedule():
    """Without it, a smallest rate of 1e-6 would lie above the full rate of the first layers of ConvNeXt V2."""
    groups = [{'params': [nn.Parameter(torch.ones(1))], **own} for own in ({}, {'lr': 3e-3 * 1e-4, 'lr_scale': 1e-4})]
    of = torch.optim.AdamW(groups, lr=3e-3)
    seen = follow(
        of,
        [PolicyLR(of, 5, 10, policy='WarmupCosine', min_lr=1e-6, warmup='linear', warmup_iters=2, warmup_ratio=0.0)],
        11,
    )
    for (head, _), (stem, _) in seen:
        assert stem == pytest.approx(head * 1e-4, rel=1e-12)
    assert seen[2][1][0] == pytest.approx(3e-7) and seen[-1][0][0] == pytest.approx(1e-6)


def test_a_group_keeps_its_ratio():
    parameter = nn.Parameter(torch.ones(1))
    of = torch.optim.AdamW([{'params': [parameter], 'weight_decay': 0.01}], lr=1.0, weight_decay=0.04)
    schedule = CosineWeightDecay(of, 0.2, 3)
    follow(of, [schedule], 2)
    assert of.param_groups[0]['weight_decay'] == pytest.approx(0.05)


def test_a_constant_rate_is_that_from_the_first_step_to_the_last():
    """SimSiam's predictor: neither the schedule nor the warm-up changes it, nor does a smallest rate above it matter."""
    groups = [{'params': [nn.Parameter(torch.ones(1))], **own} for own in ({}, {'lr': 1e-4, 'constant_lr': True})]
    of = torch.optim.SGD(groups, lr=1.0)
    policy = {'policy': 'WarmupCosine', 'min_lr': 0.5, 'warmup': 'linear', 'warmup_iters': 2, 'warmup_ratio': 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        seen = follow(of, [PolicyLR(of, 5, 10, **policy)], 10)
    assert [rate for _, (rate, _) in seen] == [1e-4] * 10 and len({rate for (rate, _), _ in seen}) > 8
    with pytest.raises(
        ConfigError, match='CosineAnnealingLR changes the rate of every group: constant_lr needs lr_config'
    ):
        check_smallest(CosineAnnealingLR(of, T_max=3))
    alone = torch.optim.SGD([{**groups[1], 'params': [nn.Parameter(torch.ones(1))]}], lr=1.0)
    with pytest.raises(ConfigError, match='lr_config changes nothing'):
        PolicyLR(alone, 5, 10, **policy)


def test_a_weight_decay_that_does_not_reach_its_end():
    """DINO's; groups without decay stay without."""
    of = optimizer()
    seen = follow(of, [CosineWeightDecay(of, 0.4, 5, reach_end=False)], 5)
    assert [decay for (_, decay), _ in seen] == pytest.approx(
        [0.4 - 0.36 * (1 + math.cos(math.pi * i / 5)) / 2 for i in range(5)]
    )
    assert {decay for _, (_, decay) in seen} == {0.0}


def test_resumed_position():
    straight, part = optimizer(), optimizer()
    expected = follow(straight, schedules(straight), 30)
    both = schedules(part)
    follow(part, both, 11)
    again = optimizer()
    fresh = schedules(again)
    again.load_state_dict(part.state_dict())
    for schedule, old in zip(fresh, both, strict=True):
        schedule.load_state_dict(old.state_dict())
    assert follow(again, fresh, 19) == expected[11:]


@pytest.mark.parametrize('warmup', [{'warmup_iters': 4, 'warmup_by_epoch': True}, {'warmup_iters': 20}])
def test_a_warm_up_as_long_as_the_run_is_said(warmup):
    policy = {'policy': 'WarmupCosine', 'min_lr': 0.0, 'warmup': 'linear', **warmup}
    with pytest.warns(
        SelfSupWarning, match='warms up for 20 iterations, but the run has 20: the learning rate climbs to its end'
    ):
        PolicyLR(optimizer(), 5, 20, **policy)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        PolicyLR(optimizer(), 5, 21, **policy)
        PolicyLR(optimizer(), 5, 20, policy='CosineAnnealing', min_lr=0.0)


def test_errors():
    with pytest.raises(ConfigError, match='LAMB has weight_decay=0, from which no schedule can start'):
        CosineWeightDecay(optimizer(decay=0), 0.2, 10)
    with pytest.raises(ConfigError, match='end=-1'):
        CosineWeightDecay(optimizer(), -1, 10)


@pytest.mark.parametrize('interval', [1, 2])
def test_a_run_with_all_of_it_and_its_resumption(interval, tmp_path):
    """24 images in batches of 4: 6 iterations per epoch, 3 epochs, the first of which warms up."""
    config = write_config(tmp_path, 'SimCLR')
    options = (*SPARK, f'optimizer_config.update_interval={interval}', 'checkpoint_config.by_epoch=False')
    straight = train(config, tmp_path / 'straight', *options)
    peak = 0.64 * 4 * interval / 256
    groups = torch.load(straight / 'iter_6.pth', weights_only=True)['optimizer']['param_groups']
    assert [g['lr'] for g in groups] == pytest.approx([peak] * 2)  # the schedules have moved on to iteration 6
    assert groups[0]['initial_lr'] == pytest.approx(peak) and 'base_lr' not in groups[0]
    assert sorted(g['weight_decay'] for g in groups)[0] == 0 and 0.04 < max(g['weight_decay'] for g in groups) < 0.1
    last = torch.load(straight / 'iter_18.pth', weights_only=True)['optimizer']['param_groups']
    assert max(g['weight_decay'] for g in last) == pytest.approx(0.2) and last[0]['lr'] == pytest.approx(peak * 0.001)
    part = train(config, tmp_path / 'part', *options, stop_after=9)
    train(config, part, *options, auto_resume=True)
    assert differences(straight / 'iter_18.pth', part / 'iter_18.pth') == []
    log = next((tmp_path / 'straight').rglob('*.log')).read_text()
    assert log.count(f'Learning rate {peak:.6g}: base_lr 0.64 * {4 * interval} images per step / 256') == 1
