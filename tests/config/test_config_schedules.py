"""`base_lr`, `WarmupCosine`, `weight_decay_config` and `max_ndim`: compiled, and misspelt."""

from __future__ import annotations

import pytest

from selfsup.config import compile_config, load, to_text
from selfsup.errors import ConfigError

OPTIMIZER = "optimizer = dict(type='SGD', lr=0.03, momentum=0.9)"
LR = "lr_config = dict(policy='CosineAnnealing', min_lr=0.)"
SPARK = {
    OPTIMIZER: "optimizer = dict(type='AdamW', base_lr=2e-4, weight_decay=0.04, paramwise_options={'': dict(max_ndim=1, weight_decay=0.)})",
    LR: "lr_config = dict(policy='WarmupCosine', min_lr_ratio=0.001, reach_end=True, warmup='linear', warmup_iters=40, "
    'warmup_by_epoch=True, warmup_ratio=0.005)\nweight_decay_config = dict(end=0.2)',
}


def replaced(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


def test_compiled(small):
    loaded = load(small(replaced(small.text, SPARK)))
    compiled = compile_config(loaded)
    assert compiled['optim_wrapper']['optimizer'] == {'type': 'AdamW', 'base_lr': 2e-4, 'weight_decay': 0.04}
    assert compiled['optim_wrapper']['paramwise_options'] == {'': {'max_ndim': 1, 'weight_decay': 0.0}}
    assert compiled['param_scheduler'] == [
        {
            'type': 'PolicyLR',
            'policy': 'WarmupCosine',
            'min_lr_ratio': 0.001,
            'reach_end': True,
            'warmup': 'linear',
            'warmup_iters': 40,
            'warmup_by_epoch': True,
            'warmup_ratio': 0.005,
            'by_epoch': True,
        },
        {'type': 'CosineWeightDecay', 'end': 0.2},
    ]
    assert compile_config(load(small(loaded.text, 'merged.py'))) == compiled
    assert compile_config(load(small(to_text(compiled), 'compiled.py'))) == compiled


def test_defaults(small):
    cfg = replaced(
        small.text, {LR: "lr_config = dict(policy='warmupcosine', warmup='linear', warmup_iters=5, warmup_ratio=0.)"}
    )
    (scheduler,) = compile_config(load(small(cfg)))['param_scheduler']
    assert scheduler['policy'] == 'WarmupCosine' and scheduler['min_lr'] == 0.0 and scheduler['warmup_ratio'] == 0.0
    alone = replaced(small.text, {LR: 'weight_decay_config = dict(end=0.2)'})
    assert compile_config(load(small(alone)))['param_scheduler'] == [{'type': 'CosineWeightDecay', 'end': 0.2}]


COSINE = "lr_config = dict(policy='WarmupCosine', min_lr=0."
WRONG = {
    'two rates': (
        {OPTIMIZER: "optimizer = dict(type='SGD', lr=0.03, base_lr=0.01)"},
        'optimizer.base_lr (x.py:4) and optimizer.lr (x.py:4) are both set. Keep one; _delete_=True in the dict drops what a '
        'base file says.',
    ),
    'rate name': (
        {OPTIMIZER: "optimizer = dict(type='SGD', blr=0.03)"},
        "optimizer.blr (x.py:4) is not an argument of SGD. Did you mean 'lr' or 'base_lr'? Known: base_lr, dampening, ",
    ),
    'rate kind': (
        {OPTIMIZER: "optimizer = dict(type='SGD', base_lr='1')"},
        "optimizer.base_lr='1' (x.py:4) must be a number >= 0.",
    ),
    'argument of another policy': (
        {LR: "lr_config = dict(policy='CosineAnnealing', reach_end=True)"},
        "lr_config.reach_end (x.py:5) is not an argument of policy 'CosineAnnealing'. Known: min_lr, min_lr_ratio.",
    ),
    'argument': (
        {LR: f'{COSINE}, reach_nd=True)'},
        "lr_config.reach_nd (x.py:5) is not a key of lr_config. Did you mean 'reach_end'",
    ),
    'warm-up': (
        {LR: f"{COSINE}, warmup='exp', warmup_iters=2)"},
        "lr_config.warmup='exp' (x.py:5) must be 'linear' or None for policy 'WarmupCosine'.",
    ),
    'ratio': (
        {LR: f"{COSINE}, warmup='linear', warmup_iters=2, warmup_ratio=1.5)"},
        'lr_config.warmup_ratio=1.5 (x.py:5) must be a number in [0, 1].',
    ),
    'end': (
        {LR: 'weight_decay_config = dict(ends=0.2)'},
        "weight_decay_config (x.py:5) lacks 'end', for example end=0.2.",
    ),
    'end name': (
        {LR: 'weight_decay_config = dict(end=0.2, start=0.04)'},
        'weight_decay_config.start (x.py:5) is not a key of weight_decay_config. Known: end, reach_end.',
    ),
    'section': (
        {LR: 'weight_decay_cfg = dict(end=0.2)'},
        "weight_decay_cfg (x.py:5) is not a config key. Did you mean 'weight_decay_config'",
    ),
    'spellings': (
        {LR: "weight_decay_config = dict(end=0.2)\nparam_scheduler = dict(type='PolicyLR', policy='fixed')"},
        'param_scheduler (x.py:6) and weight_decay_config (x.py:5) are two spellings of one section',
    ),
    'axes': (
        {OPTIMIZER: "optimizer = dict(type='SGD', lr=0.1, paramwise_options={'bias': dict(max_ndim=0.5)})"},
        'optimizer.paramwise_options.bias.max_ndim=0.5 (x.py:4) must be a whole number >= 0.',
    ),
    'axes name': (
        {OPTIMIZER: "optimizer = dict(type='SGD', lr=0.1, paramwise_options={'bias': dict(max_dim=1)})"},
        'optimizer.paramwise_options.bias.max_dim (x.py:4) is not a key of optimizer.paramwise_options.bias. '
        "Did you mean 'max_ndim'",
    ),
}


@pytest.mark.parametrize('case', WRONG)
def test_a_wrong_word(case, small):
    changes, expected = WRONG[case]
    with pytest.raises(ConfigError) as caught:
        load(small(replaced(small.text, changes)))
    assert any(line.startswith(expected) for line in str(caught.value).split('\n')), str(caught.value)
