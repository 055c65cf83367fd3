"""Every mistake gives its exact message, and all mistakes of a file come at once."""

from __future__ import annotations

import pytest

from selfsup.config import load
from selfsup.errors import ConfigError, SelfSupWarning


def problems(path, options=None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, options)
    return str(caught.value).split('\n')


# (text put in place of, replacement, the whole message)
REPLACED = {
    'type': (
        "'ResNet', depth",
        "'ResNte', depth",
        "model.backbone.type='ResNte' (x.py:1) is not a backbone. Did you mean 'ResNet'? Known: AnyBackbone, ResNet.",
    ),
    'algorithm': (
        "'MOCO'",
        "'Moko'",
        "model.type='Moko' (x.py:1) is not an algorithm. Did you mean 'MOCO'? Known: MOCO.",
    ),
    'neck in the place of a backbone': (
        "backbone=dict(type='ResNet', depth=50)",
        "backbone=dict(type='LinearNeck')",
        "model.backbone.type='LinearNeck' (x.py:1) is not a backbone. Known: AnyBackbone, ResNet.",
    ),
    'argument': (
        'list_file',
        'lst_file',
        [
            "data.train.data_source.lst_file (x.py:3) is not an argument of ImageNet. Did you mean 'list_file'? "
            'Known: list_file, memcached, root, split.'
        ],
    ),
    'missing argument': (
        "dict(type='ResNet', depth=50)",
        "dict(type='ResNet')",
        "model.backbone (x.py:1) lacks 'depth', which ResNet needs.",
    ),
    'pipeline step': (
        "type='Resize'",
        "type='Resise'",
        "data.train.pipeline.0.type='Resise' (x.py:3) is not a pipeline step. Did you mean 'Resize'? "
        'Known: RandomAppliedTrans, Resize, ToTensor.',
    ),
    'pipeline argument': (
        'size=8',
        'sise=8',
        [
            "data.train.pipeline.0.sise (x.py:3) is not an argument of Resize. Did you mean 'size'? Known: size.",
            "data.train.pipeline.0 (x.py:3) lacks 'size', which Resize needs.",
        ],
    ),
    'no type': (
        "dict(type='Resize', size=8)",
        'dict(size=8)',
        'data.train.pipeline.0 (x.py:3) lacks its type: which pipeline step? Known: RandomAppliedTrans, Resize, ToTensor.',
    ),
    'no dict': (
        "dict(type='ToTensor')",
        "'ToTensor'",
        "data.train.pipeline.1='ToTensor' (x.py:3) must be dict(type='Name', ...).",
    ),
    'section key': (
        'workers_per_gpu',
        'worker_per_gpu',
        "data.worker_per_gpu (x.py:2) is not a key of data. Did you mean 'workers_per_gpu' or 'imgs_per_gpu'? "
        'Known: drop_last, imgs_per_gpu, max_unreadable, persistent_workers, pin_memory, prefetch_factor, sampler, '
        'sampling_replace, test, train, val, workers_per_gpu.',
    ),
    'missing key': ('imgs_per_gpu=32, ', '', "data (x.py:2) lacks 'imgs_per_gpu', for example imgs_per_gpu=32."),
    'kind': ('lr=0.03', "lr='abc'", "optimizer.lr='abc' (x.py:4) must be a number >= 0."),
    'bool is no number': ('lr=0.03', 'lr=True', 'optimizer.lr=True (x.py:4) must be a number >= 0.'),
    'range': ('imgs_per_gpu=32', 'imgs_per_gpu=0', 'data.imgs_per_gpu=0 (x.py:2) must be a whole number >= 1.'),
    'params': ('momentum=0.9', 'params=[1]', None),
    'policy': (
        "'CosineAnnealing'",
        "'cosin'",
        "lr_config.policy='cosin' (x.py:5) is not a policy. "
        'Known: CosineAnnealing, WarmupCosine, exp, fixed, inv, poly, step.',
    ),
    'policy argument': (
        "'CosineAnnealing', min_lr=0.",
        "'CosineAnnealing', gamma=0.1",
        "lr_config.gamma (x.py:5) is not an argument of policy 'CosineAnnealing'. Known: min_lr, min_lr_ratio.",
    ),
    'policy lacks': ("'CosineAnnealing', min_lr=0.", "'step'", "lr_config.policy='step' (x.py:5) needs step."),
    'warm-up lacks': ('min_lr=0.', "warmup='linear'", "lr_config.warmup='linear' (x.py:5) needs warmup_iters > 0."),
    'warm-up name': (
        'min_lr=0.',
        "warmup='liner', warmup_iters=1",
        "lr_config.warmup='liner' (x.py:5) must be 'constant', 'linear' or 'exp' or None. Did you mean 'linear'?",
    ),
    'warm-up ratio': (
        'min_lr=0.',
        "warmup='exp', warmup_iters=1, warmup_ratio=0.",
        'lr_config.warmup_ratio=0.0 (x.py:5) must be a number in (0, 1].',
    ),
    'literal': (
        'depth=50',
        'depth=50, conv_cfg=print',
        'model.backbone.conv_cfg=<built-in function print> (x.py:1) is no literal: write numbers, strings, True, False, None, '
        'lists and dicts only (a class by its name in quotes).',
    ),
    'norm layer': (
        'depth=50',
        "depth=50, norm_cfg=dict(type='SynBN')",
        [
            "model.backbone.norm_cfg.type='SynBN' (x.py:1) is not a norm layer. Did you mean 'SyncBN'? "
            'Known: BN, BN1d, BN2d, BN3d, GN, IN, IN1d, IN2d, IN3d, LN, LN2d, SyncBN.'
        ],
    ),
    'optimizer without type': (
        "type='SGD'",
        "typ='SGD'",
        'optimizer (x.py:4) lacks its type: which optimizer? Known: AdamW, SGD.',
    ),
    'no length': (
        'total_epochs = 200',
        '',
        'x.py has no total_epochs or total_iters or train_cfg. Write total_epochs = 200.',
    ),
    'no optimizer': (
        "optimizer = dict(type='SGD', lr=0.03, momentum=0.9)",
        'optimizer = None',
        "x.py has no optimizer or optim_wrapper. Write optimizer = dict(type='SGD', lr=0.03).",
    ),
}


@pytest.mark.parametrize('case', REPLACED)
def test_a_wrong_word(case, small):
    old, new, expected = REPLACED[case]
    assert old in small.text
    found = problems(small(small.text.replace(old, new)))
    if expected is None:  # what torch's SGD takes is torch's business
        assert (
            found[0].startswith('optimizer.params (x.py:4) is not an argument of SGD.')
            and 'params,' not in found[0].split('Known')[1]
        )
    else:
        assert found == (expected if isinstance(expected, list) else [expected])


ADDED = {
    'two spellings': (
        "optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))",
        'optim_wrapper (x.py:7) and optimizer (x.py:4) are two spellings of one section (Optimizer). '
        'Keep one; what a base file says is dropped with optimizer = None.',
    ),
    'two spellings of a hook': (
        'log_config = dict(interval=5)\ndefault_hooks = dict(logger=dict(interval=5))',
        'default_hooks (x.py:8) and log_config (x.py:7) are two spellings of one section '
        '(Hooks, checkpoints and logs). Keep one; what a base file says is dropped with log_config = None.',
    ),
    'two lengths': ('total_iters = 5', 'total_iters (x.py:7) and total_epochs (x.py:6) are both set. Keep one.'),
    'fp16': (
        'use_fp16 = True\noptimizer_config = dict(use_fp16=False)',
        'use_fp16=True (x.py:7) and optimizer_config.use_fp16=False (x.py:8) contradict each other.',
    ),
    'workflow': (
        "workflow = [('train', 1), ('val', 1)]",
        "workflow=[('train', 1), ('val', 1)] (x.py:7) must be [('train', 1)]; validate with ValidateHook in custom_hooks.",
    ),
    'checkpoint interval': (
        'checkpoint_config = dict(interval=-1)',
        'checkpoint_config.interval=-1 (x.py:7) must be a whole number >= 1.',
    ),
    'hook': (
        "custom_hooks = [dict(type='ValidatHook')]",
        "custom_hooks.0.type='ValidatHook' (x.py:7) is not a hook. Did you mean 'ValidateHook'? "
        'Known: CheckpointHook, CollapseHook, IterTimerHook, LoggerHook, ParamSchedulerHook, RuntimeInfoHook, ValidateHook.',
    ),
    'data set of a hook': (
        "custom_hooks = [dict(type='ValidateHook', priority='LOW', dataset=dict(type='Datset'))]",
        "custom_hooks.0.dataset.type='Datset' (x.py:7) is not a dataset. Did you mean 'Dataset'? Known: Dataset.",
    ),
    'slot': (
        'default_hooks = dict(checkpont=dict(interval=1))',
        "default_hooks.checkpont (x.py:7) is not a key of default_hooks. Did you mean 'checkpoint'? Known: checkpoint, "
        'collapse, logger, param_scheduler, runtime_info, sampler_seed, timer.',
    ),
    'slot argument': (
        'default_hooks = dict(checkpoint=dict(intervall=1))',
        "default_hooks.checkpoint.intervall (x.py:7) is not an argument of CheckpointHook. Did you mean 'interval'? "
        'Known: by_epoch, interval, max_keep_ckpts, save_last.',
    ),
    'logger': (
        "log_config = dict(hooks=[dict(type='TextLogger')])",
        "log_config.hooks.0.type='TextLogger' (x.py:7) must be 'TextLoggerHook' or 'TensorboardLoggerHook'. "
        "Did you mean 'TextLoggerHook'?",
    ),
    'prefetch without norm': (
        "prefetch = True\ndata['train']['pipeline'] = [dict(type='Resize', size=8)]",
        'data.train (x.py:2) is read with prefetch=True, which needs img_norm_cfg = dict(mean=[...], std=[...]) or a Normalize at the '
        'end of its pipeline.',
    ),
    'prefetch key': (
        'prefetch = dict(augment_on_devic=True)',
        "prefetch.augment_on_devic (x.py:7) is not a key of prefetch. Did you mean 'augment_on_device' or 'images_on_device'? "
        'Known: augment_on_device, images_on_device.',
    ),
    'images without augmentation': (
        'prefetch = dict(images_on_device=True)',
        'prefetch.images_on_device=True (x.py:7) needs augment_on_device=True: the views are then made on the device too.',
    ),
    'pretrained twice': (
        "pretrained = 'a'\nmodel['pretrained'] = 'b'",
        'pretrained (x.py:7) and model.pretrained (x.py:8) are both set. Keep one.',
    ),
    'test_cfg': ('test_cfg = dict(a=1)', 'test_cfg (x.py:7) has no effect. Remove it, or write test_cfg = {}.'),
    'log level': (
        "log_level = 'DEBUGG'",
        "log_level='DEBUGG' (x.py:7) must be 'DEBUG', 'INFO', 'WARNING', 'ERROR' or 'CRITICAL'. Did you mean 'DEBUG'?",
    ),
    'two outputs': (
        "log_config = dict(hooks=[dict(type='TextLoggerHook')])\n"
        "visualizer = dict(vis_backends=[dict(type='LocalVisBackend')])",
        'visualizer (x.py:8) and log_config.hooks (x.py:7) both say where values are logged. Keep one.',
    ),
}


@pytest.mark.parametrize('case', ADDED)
def test_a_wrong_line(case, small):
    line, expected = ADDED[case]
    assert problems(small(small.text + line + '\n')) == (expected if isinstance(expected, list) else [expected])


def test_unknown_top_level_name(small):
    (found,) = problems(small(small.text + "optimizr = dict(type='SGD')\n"))
    assert found.startswith(
        "optimizr (x.py:7) is not a config key. Did you mean 'optimizer' or 'optimizer_config'? "
        'Known: cache, channels_last, checkpoint_config, '
    )


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (
            "{'bias': dict(weight_decy=0.)}",
            'optimizer.paramwise_options.bias.weight_decy (x.py:7) is not a key of optimizer.paramwise_options.bias. Did you mean '
            "'weight_decay' or 'weight_decay_mult'? Known: "
            'constant_lr, lars_exclude, lr, lr_mult, max_ndim, momentum, momentum_mult, weight_decay, weight_decay_mult.',
        ),
        (
            "{'bn.(weight': dict(weight_decay=0.)}",
            'optimizer.paramwise_options.bn.(weight (x.py:7) is not a regular expression: '
            'missing ), unterminated subpattern at position 3.',
        ),
        ('dict(norm_decay=0.)', 'optimizer.paramwise_options.norm_decay=0.0 (x.py:7) must be a dict.'),
        (
            "{'bias': dict(lr_mult='10')}",
            "optimizer.paramwise_options.bias.lr_mult='10' (x.py:7) must be a number >= 0.",
        ),
        (
            "{'bias': dict(lars_exclude=1)}",
            'optimizer.paramwise_options.bias.lars_exclude=1 (x.py:7) must be True or False.',
        ),
    ],
)
def test_paramwise_options(options, expected, small):
    text = small.text.replace("optimizer = dict(type='SGD', lr=0.03, momentum=0.9)", '#')
    assert problems(small(f"{text}optimizer = dict(type='SGD', lr=0.03, paramwise_options={options})\n")) == [expected]


def test_mmengines_paramwise_cfg_is_answered_with_paramwise_options(small):
    text = small.text.replace('optimizer =', 'wrapped =')
    text += 'optim_wrapper = dict(optimizer=wrapped, paramwise_cfg=dict(norm_decay_mult=0.))\n'
    assert problems(small(text)) == [
        'optim_wrapper.paramwise_cfg.norm_decay_mult (x.py:7) is not supported. Write paramwise_cfg=dict(paramwise_options='
        "{'(bn|gn)(\\d+)?.(weight|bias)': dict(weight_decay=0.), 'bias': dict(weight_decay=0.)})."
    ]
    text = text.replace('norm_decay_mult=0.', "paramwise_options={'bias': dict(lrmult=1)}")
    (found,) = problems(small(text))
    assert "Did you mean 'lr_mult'" in found


def test_all_problems_of_a_file_come_at_once_in_the_order_of_the_lines(small):
    text = (
        small.text.replace("'ResNet'", "'ResNte'").replace('list_file', 'lst_file').replace('lr=0.03', "lr='abc'")
        + 'optimizr = 1\n'
    )
    starts = [line.split(' (')[0] for line in problems(small(text))]
    assert starts == [
        'optimizr',
        "model.backbone.type='ResNte'",
        'data.train.data_source.lst_file',
        "optimizer.lr='abc'",
    ]


def test_an_argument_left_over_from_a_base_file_says_what_to_do(small):
    small(small.text, 'base.py')
    (found,) = problems(small("_base_ = './base.py'\noptimizer = dict(type='AdamW', lr=1e-3)\n"))
    assert found.startswith('optimizer.momentum (base.py:4) is not an argument of AdamW.')
    assert found.endswith(' base.py gives it; write _delete_=True beside type to drop what a base file says.')
    load(small("_base_ = './base.py'\noptimizer = dict(_delete_=True, type='AdamW', lr=1e-3)\n"))


def test_a_helper_of_a_base_that_is_assigned_again_changes_nothing(small):
    small('size = 8\n' + small.text.replace('size=8', 'size=size'), 'base.py')
    (found,) = problems(small("_base_ = './base.py'\nsize = 16\n"))
    assert (
        found
        == 'size (x.py:2) changes nothing: base.py has used its own size already. Set the keys that are made from it.'
    )


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('model = dict(\n', "x.py:1: '(' was never closed: model = dict("),
        ('a = 1\nmodel = dict(type=nme)\n', "x.py:2: NameError: name 'nme' is not defined"),
        ("a = 1\n_base_ = './nothing.py'\n", "x.py:2: its _base_ 'nothing.py' does not exist."),
        ("_base_ = ['.']\n", "x.py:1: its _base_ '.' does not exist."),
        ("_base_ = 'x.py'\n", "x.py:1: its _base_ 'x.py' is based on it in turn. Break the circle."),
        ('_base_ = 3\n', 'x.py:1: _base_=[3] must be a path or a list of paths.'),
    ],
)
def test_files_that_python_cannot_run(text, expected, small):
    assert problems(small(text)) == [expected]


def test_base_files_in_a_circle(small):
    small("_base_ = 'x.py'\n", 'y.py')
    assert problems(small("_base_ = 'y.py'\n")) == [
        "y.py:1: its _base_ 'x.py' is based on it in turn. Break the circle."
    ]


def test_files_that_are_no_config(small):
    assert problems('missing.py') == ['missing.py: no such config file.']
    small('', 'folder/moco_r50.py')
    assert problems('folder') == ['folder is a folder. Name one config file in it.']
    assert problems('folder/moco_r5.py') == [
        "folder/moco_r5.py: no such config file. Did you mean 'moco_r50.py'? Known: moco_r50.py."
    ]
    assert problems(small('a: 1', 'x.yaml')) == ['x.yaml is not a Python config file (*.py).']


def test_two_bases_with_the_same_key(small):
    small(small.text, 'a.py')
    small('total_epochs = 3\n', 'b.py')
    (found,) = problems(small("_base_ = ['a.py', 'b.py']\n"))
    assert found.startswith('x.py: ') and "Duplicate keys: {'total_epochs'}" in found


def test_modules_of_the_user(small, monkeypatch, tmp_path):
    path = small(small.text + "custom_imports = dict(imports=['my_selfsup_types'])\n")
    expected = (
        "custom_imports (x.py:7): my_selfsup_types cannot be imported: No module named 'my_selfsup_types'. "
        'Is its folder in PYTHONPATH?'
    )
    assert problems(path) == [expected]
    with pytest.warns(SelfSupWarning) as caught:
        load(path, ['custom_imports.allow_failed_imports=True'])
    assert [str(w.message) for w in caught if w.category is SelfSupWarning] == [expected]
    small('from pathlib import Path\nPath("imported").touch()\n', 'my_selfsup_types.py')
    monkeypatch.syspath_prepend(tmp_path)
    load(path)
    assert (tmp_path / 'imported').exists()


class TestOptions:
    def test_wrong_names(self, small):
        path = small(small.text)
        assert problems(path, ['optimizer.lrr=1'])[0].startswith(
            "optimizer.lrr (--cfg-options) is not an argument of SGD. Did you mean 'lr'?"
        )
        assert problems(path, ['optimzer.lr=1'])[0].startswith(
            "optimzer (--cfg-options) is not a config key. Did you mean 'optimizer'"
        )
        assert problems(path, ['data.imgs_per_gp=1'])[0].startswith(
            "data.imgs_per_gp (--cfg-options) is not a key of data. Did you mean 'imgs_per_gpu'"
        )
        assert problems(path, {'data.train.pipeline.0.sise': 3})[0].startswith(
            "data.train.pipeline.0.sise (--cfg-options) is not an argument of Resize. Did you mean 'size'?"
        )

    def test_wrong_values_and_paths(self, small):
        path = small('width = 8\n' + small.text.replace('size=8', 'size=width'))
        assert problems(path, ['optimizer.lr=fast']) == ["optimizer.lr='fast' (--cfg-options) must be a number >= 0."]
        assert problems(path, ['total_epochs']) == [
            "--cfg-options 'total_epochs' is not written path=value, as in optimizer.lr=0.1."
        ]
        assert problems(path, ['total_epochs.x=1']) == [
            'total_epochs.x (--cfg-options): total_epochs is 200 and has nothing inside.'
        ]
        assert problems(path, ['data.train.pipeline.7.size=1']) == [
            "data.train.pipeline.7.size (--cfg-options): data.train.pipeline is a list of 2; write an index from 0 to 1, not '7'."
        ]
        assert problems(path, ['width=9']) == [
            'width (--cfg-options) is a helper variable of the file: it has been used already. Set the keys that are made from it.'
        ]
