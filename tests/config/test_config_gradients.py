"""`freeze`, `per_tensor`, `constant_lr`, `skip_start` and `reach_end`: compiled from both spellings, and misspelt."""

from __future__ import annotations

import pytest

from selfsup.config import compile_config, load, to_text
from selfsup.engine.resume.settings import settings_of, with_defaults
from selfsup.errors import ConfigError

OPTIMIZER = "optimizer = dict(type='SGD', lr=0.03, momentum=0.9)"
LR = "lr_config = dict(policy='CosineAnnealing', min_lr=0.)"
RULES = [{'parameters': '^prototypes', 'iters': 313}, {'parameters': 'last_layer', 'epochs': 1}]
PREDICTOR = {'predictor': {'constant_lr': True}}
CLIP = {'max_norm': 3.0, 'per_tensor': True}
SHORT = {
    OPTIMIZER: f"optimizer = dict(type='SGD', lr=0.6, weight_decay=1e-6, paramwise_options={PREDICTOR})\n"
    f'optimizer_config = dict(grad_clip={CLIP}, freeze={RULES})',
    LR: "lr_config = dict(policy='WarmupCosine', min_lr_ratio=0.001, reach_end=True, skip_start=True, warmup='linear', "
    'warmup_iters=10, warmup_by_epoch=True, warmup_ratio=0.)\nweight_decay_config = dict(end=0.4, reach_end=False)',
}
NATIVE = {
    OPTIMIZER: "optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.6, weight_decay=1e-6), "
    f'paramwise_options={PREDICTOR}, clip_grad={CLIP}, freeze={RULES})',
    LR: SHORT[LR],
}


def replaced(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


def test_both_spellings_say_the_same(small):
    loaded = load(small(replaced(small.text, SHORT)))
    compiled = compile_config(loaded)
    assert compiled['optim_wrapper'] == {
        'type': 'OptimWrapper',
        'optimizer': {'type': 'SGD', 'lr': 0.6, 'weight_decay': 1e-6},
        'paramwise_options': PREDICTOR,
        'clip_grad': CLIP,
        'accumulative_counts': 1,
        'freeze': RULES,
    }
    assert compiled['param_scheduler'][0]['skip_start'] is True
    assert compiled['param_scheduler'][1] == {'type': 'CosineWeightDecay', 'end': 0.4, 'reach_end': False}
    assert compile_config(load(small(replaced(small.text, NATIVE), 'native.py'))) == compiled
    assert compile_config(load(small(to_text(compiled), 'compiled.py'))) == compiled
    settings = settings_of(with_defaults(compiled), 256)
    assert settings['optimizer_config'] == {
        'update_interval': 1,
        'grad_clip': {'norm_type': 2, **CLIP},
        'freeze': RULES,
    }


def test_checkpoints_from_before_these_keys_are_of_the_same_run(small):
    """What a config says now with a default is what one of an earlier version said without the key."""
    text = replaced(small.text, {LR: f'{LR}\noptimizer_config = dict(grad_clip=dict(max_norm=3., per_tensor=False))'})
    old = {OPTIMIZER: OPTIMIZER, LR: f'{LR}\noptimizer_config = dict(grad_clip=dict(max_norm=3.))'}
    one, other = (
        settings_of(with_defaults(compile_config(load(small(t, name)))), 256)
        for t, name in ((text, 'new.py'), (replaced(small.text, old), 'old.py'))
    )
    assert one == other


WRONG = {
    'no length': (
        "freeze=[dict(parameters='a')]",
        'optimizer_config.freeze.0 (x.py:4) needs one of iters and epochs; neither is given.',
    ),
    'two lengths': (
        "freeze=[dict(parameters='a', iters=1, epochs=1)]",
        'optimizer_config.freeze.0 (x.py:4) needs one of iters and epochs; both are given.',
    ),
    'no pattern': (
        'freeze=[dict(iters=1)]',
        "optimizer_config.freeze.0 (x.py:4) lacks 'parameters', for example parameters='last_layer'.",
    ),
    'a pattern that is none': (
        "freeze=[dict(parameters='(', iters=1)]",
        "optimizer_config.freeze.0 (x.py:4) has parameters='(', which is no regular expression",
    ),
    'a misspelt length': (
        "freeze=[dict(parameters='a', iter=1)]",
        "optimizer_config.freeze.0.iter (x.py:4) is not a key of optimizer_config.freeze.0. Did you mean 'iters'",
    ),
    'no length at all': (
        "freeze=[dict(parameters='a', epochs=0)]",
        'optimizer_config.freeze.0.epochs=0 (x.py:4) must be a whole number >= 1.',
    ),
    'no list': (
        "freeze=dict(parameters='a', iters=1)",
        "optimizer_config.freeze={'parameters': 'a', 'iters': 1} (x.py:4) must be a list",
    ),
    'clip': (
        'grad_clip=dict(max_norm=1., per_tensors=True)',
        "optimizer_config.grad_clip.per_tensors (x.py:4) is not a key of optimizer_config.grad_clip. Did you mean 'per_tensor'",
    ),
}


@pytest.mark.parametrize('case', WRONG)
def test_a_wrong_word(case, small):
    text, expected = WRONG[case]
    with pytest.raises(ConfigError) as caught:
        load(small(replaced(small.text, {OPTIMIZER: f'{OPTIMIZER}; optimizer_config = dict({text})'})))
    assert any(line.startswith(expected) for line in str(caught.value).split('\n')), str(caught.value)


def test_two_ends_of_a_warm_up(small):
    text = SHORT[LR].replace('skip_start=True', 'skip_start=True, reach_peak=True')
    with pytest.raises(ConfigError, match=r'lr_config.skip_start=True \(x.py:5\) and reach_peak are two ways'):
        load(small(replaced(small.text, {LR: text})))
