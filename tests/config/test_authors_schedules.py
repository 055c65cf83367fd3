"""Learning rates, weight decays and momenta of real configs, shortened, against those that the authors' codes gave at every iteration."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from selfsup.config import compile_config, load
from selfsup.optim.base_lr import scaled_lr
from selfsup.optim.schedules import byol_momentum
from selfsup.registry import PARAM_SCHEDULERS

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = json.loads((ROOT / 'tests' / 'golden' / 'schedules.json').read_text())
FINETUNING = 'benchmarks/finetuning/imagenet'
SIMCLR, BYOL = (case for case in GOLDEN['openselfsup_lr'] if 'r50_bs256' in case['name'])
(BYOL_LARGE,) = (case for case in GOLDEN['openselfsup_lr'] if 'lr4.8' in case['name'])


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def follow(name, epochs, warmup_epochs, steps, images, *options):
    """(rate, weight decay) at every iteration of a config shortened to `epochs` of `steps` iterations. A second group with an `lr_scale`
    of 0.1 must have a tenth of the rate throughout."""
    cfg = compile_config(
        load(f'configs/{name}.py', [f'total_epochs={epochs}', f'lr_config.warmup_iters={warmup_epochs}', *options])
    )
    own = scaled_lr(cfg['optim_wrapper']['optimizer'], images)
    groups = [
        {'params': [torch.nn.Parameter(torch.ones(1))], **scale}
        for scale in ({}, {'lr': own['lr'] * 0.1, 'lr_scale': 0.1})
    ]
    optimizer = torch.optim.AdamW(groups, lr=own['lr'], weight_decay=own['weight_decay'])
    length = {'max_iters': steps * epochs}
    more = {
        'PolicyLR': {
            'iters_per_epoch': steps,
            'update_interval': cfg['optim_wrapper']['accumulative_counts'],
            **length,
        },
        'CosineWeightDecay': length,
    }
    schedules = [
        PARAM_SCHEDULERS.build({**schedule, **more[schedule['type']]}, default_args={'optimizer': optimizer})
        for schedule in cfg['param_scheduler']
    ]
    found = []
    for _ in range(steps * epochs):
        whole, tenth = optimizer.param_groups
        assert tenth['lr'] == pytest.approx(whole['lr'] * 0.1, rel=1e-9)
        found.append((whole['lr'], whole['weight_decay']))
        optimizer.step()
        for schedule in schedules:
            schedule.step()
    return tuple(zip(*found, strict=True))


@pytest.mark.parametrize('name', ['selfsup/spark/r50', 'selfsup/spark/convnext_l'])
def test_spark_pretraining(name):
    (case,) = GOLDEN['spark_pretrain']
    lr, decay = follow(
        name,
        case['epochs'],
        case['warmup_epochs'],
        case['iters_per_epoch'],
        case['batch_size'],
        f'optimizer.base_lr={case["base_lr"]}',
        'optimizer_config={}',
    )
    assert lr == pytest.approx(case['lr'], rel=1e-9) and decay == pytest.approx(case['weight_decay'], rel=1e-9)


@pytest.mark.parametrize(
    ('name', 'interval'), [('r50', 1), ('convnext_s', 4), ('convnext_l', 8), ('convnext_l_384', 4)]
)
def test_spark_finetuning(name, interval):
    """The formula of the pretraining, per optimizer step; the configs accumulate `interval` iterations. The weight decay stays."""
    (case,) = GOLDEN['spark_pretrain']
    lr, decay = follow(
        f'{FINETUNING}/spark_{name}',
        case['epochs'],
        case['warmup_epochs'],
        case['iters_per_epoch'] * interval,
        case['batch_size'],
        f'optimizer.base_lr={case["base_lr"]}',
    )
    assert lr[::interval] == pytest.approx(case['lr'], rel=1e-9) and lr[::interval] == lr[interval - 1 :: interval]
    assert len(set(decay)) == 1


@pytest.mark.parametrize(('case', 'name'), [(0, 'selfsup/fcmae/base'), (1, f'{FINETUNING}/convnextv2_base')])
def test_convnext_v2(case, name):
    case = GOLDEN['convnextv2'][case]
    lr, _ = follow(
        name,
        case['epochs'],
        case['warmup_epochs'],
        case['loader_len'],
        case['batch_size'] * case['update_freq'],
        f'optimizer_config.update_interval={case["update_freq"]}',
    )
    assert lr == pytest.approx(case['lr'], rel=1e-9)


def test_convnext_v2_without_warm_up():
    """Atto begins at the peak: min + (peak - min) / 2 (1 + cos(pi e / epochs)) at the first iteration of each of 4."""
    lr, _ = follow(f'{FINETUNING}/convnextv2_atto', 4, 0, 6, 1024)
    starts = [i - i % 6 % 4 for i in range(24)]
    assert lr == pytest.approx([1e-6 + (8e-4 - 1e-6) / 2 * (1 + math.cos(math.pi * i / 24)) for i in starts], rel=1e-9)


@pytest.mark.parametrize('name', ['slak_tiny', 'convnext_tiny'])
def test_slak(name):
    """Per optimizer step; the config accumulates 8 iterations."""
    (peak, smallest, epochs, steps), values = (
        GOLDEN['slak_cosine_scheduler'][0]['args'],
        GOLDEN['slak_cosine_scheduler'][0]['values'],
    )
    lr, decay = follow(f'classification/imagenet/{name}', epochs, 2, steps * 8, 4096)
    assert lr[::8] == pytest.approx(values, rel=1e-9) and lr[::8] == lr[7::8] and set(decay) == {0.05}
    assert max(lr) == peak and smallest < lr[-1] < peak / 100


@pytest.mark.parametrize(
    ('case', 'name'),
    [
        (SIMCLR, 'simclr/r50_bs256_ep200'),
        (BYOL, 'byol/r50_bs256_ep200'),
        (BYOL_LARGE, 'byol/r50_bs256_accumulate16_ep300'),
    ],
    ids=['simclr', 'byol', 'byol-large'],
)
def test_openselfsup(case, name):
    lr, _ = follow(f'selfsup/{name}', case['epochs'], case['config']['warmup_iters'], case['iters_per_epoch'], 4096)
    assert lr == pytest.approx(case['lr'], rel=1e-9)


@pytest.mark.parametrize(
    ('case', 'name'),
    zip(GOLDEN['byol_momentum'], ['r50_bs256_ep200', 'r50_bs256_accumulate16_ep300'], strict=True),
    ids=['every-step', 'accumulated'],
)
def test_momentum_of_byol(case, name):
    cfg = compile_config(load(f'configs/selfsup/byol/{name}.py'))
    byol = next(hook for hook in cfg['custom_hooks'] if hook['type'] == 'BYOLHook')
    assert byol.get('update_interval', 1) == cfg['optim_wrapper']['accumulative_counts'] == case['update_interval']
    for i in (i for i, updated in enumerate(case['target_updated']) if updated):
        found = byol_momentum(i, case['total_iters'], cfg['model']['base_momentum'], byol.get('end_momentum', 1.0))
        assert found == pytest.approx(case['momentum'][i], rel=1e-9)
