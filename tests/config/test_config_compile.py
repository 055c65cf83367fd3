"""Both spellings compile to one runner config; defaults do not come from base files."""

from __future__ import annotations

import warnings

import pytest

from selfsup.config import compile_config, keys, load, to_text
from selfsup.datasets.loaders import LOADER_KEYS
from selfsup.errors import ConfigError, SelfSupWarning
from selfsup.optim import paramwise, schedules

DATASET = {
    'type': 'Dataset',
    'data_source': {'type': 'ImageNet', 'root': 'r', 'list_file': 'l'},
    'pipeline': [{'type': 'Resize', 'size': 8}, {'type': 'ToTensor'}],
}
MODEL = {
    'type': 'MOCO',
    'backbone': {'type': 'ResNet', 'depth': 50},
    'neck': {'type': 'LinearNeck', 'in_channels': 8, 'out_channels': 4},
}


def compiled(path, options=None) -> dict:
    return compile_config(load(path, options))


def test_a_short_config_without_base_is_complete(small):
    assert compiled(small(small.text)) == {
        'model': MODEL,
        'pretrained': None,
        'train_dataloader': {
            'batch_size': 32,
            'num_workers': 4,
            'dataset': DATASET,
            'sampler': {'type': 'EpochSampler', 'shuffle': True, 'replace': False},
            'drop_last': False,
            'prefetch': False,
            'img_norm_cfg': None,
            'pipeline_backend': 'fast',
        },
        'val_dataloader': None,
        'test_dataloader': None,
        'optim_wrapper': {
            'type': 'OptimWrapper',
            'optimizer': {'type': 'SGD', 'lr': 0.03, 'momentum': 0.9},
            'paramwise_options': None,
            'clip_grad': None,
            'accumulative_counts': 1,
        },
        'param_scheduler': [{'type': 'PolicyLR', 'policy': 'CosineAnnealing', 'min_lr': 0.0, 'by_epoch': True}],
        'train_cfg': {'by_epoch': True, 'max_epochs': 200},
        'default_hooks': {
            'runtime_info': {'type': 'RuntimeInfoHook'},
            'timer': {'type': 'IterTimerHook'},
            'param_scheduler': {'type': 'ParamSchedulerHook'},
            'logger': {'type': 'LoggerHook', 'interval': 50},
            'checkpoint': {'type': 'CheckpointHook', 'interval': 1, 'by_epoch': True},
            'collapse': {'type': 'CollapseHook'},
            'sampler_seed': None,
        },
        'custom_hooks': [],
        'env_cfg': {'cudnn_benchmark': True, 'dist_cfg': {'backend': 'nccl'}},
        'visualizer': {
            'type': 'Visualizer',
            'vis_backends': [{'type': 'LocalVisBackend'}, {'type': 'TensorboardVisBackend'}],
        },
        'log_processor': {'by_epoch': True, 'mean_pattern': keys.MEAN_PATTERN},
        'log_level': 'INFO',
        'load_from': None,
        'resume_from': None,
        'work_dir': None,
        'seed': None,
        'default_scope': 'selfsup',
        'find_unused_parameters': False,
        'channels_last': False,
        'ddp': None,
        'fsdp': None,
        'compile': None,
    }


SHORT = """
    model = dict(type='MOCO', pretrained='a.pth', backbone=dict(type='ResNet', depth=50),
                 neck=dict(type='LinearNeck', in_channels=8, out_channels=4))
    img_norm_cfg = dict(mean=[0., 0., 0.], std=[1., 1., 1.])
    dataset = dict(type='Dataset', data_source=dict(type='ImageNet', root='r', list_file='l'), pipeline=[dict(type='Resize', size=8)])
    data = dict(imgs_per_gpu=4, workers_per_gpu=1, sampling_replace=True, drop_last=True, train=dataset, val=dataset)
    prefetch = True
    optimizer = dict(type='SGD', lr=0.1, paramwise_options={r'\\Ahead.': dict(lr_mult=10), 'bias': dict(weight_decay=0.)})
    optimizer_config = dict(update_interval=2, grad_clip=dict(max_norm=10))
    use_fp16 = True
    lr_config = dict(policy='Step', step=[1, 2], warmup='linear', warmup_iters=2, warmup_ratio=0.1, warmup_by_epoch=True)
    checkpoint_config = dict(interval=10, max_keep_ckpts=3)
    log_config = dict(interval=7, hooks=[dict(type='TextLoggerHook')])
    total_epochs = 5
    dist_params = dict(backend='gloo')
    cudnn_benchmark = False
    train_cfg = {}
    test_cfg = {}
    workflow = [('train', 1)]
    log_level = 'WARNING'
"""
OWN = """
    model = dict(type='MOCO', backbone=dict(type='ResNet', depth=50), neck=dict(type='LinearNeck', in_channels=8, out_channels=4))
    pretrained = 'a.pth'
    img_norm_cfg = dict(mean=[0., 0., 0.], std=[1., 1., 1.])
    dataset = dict(type='Dataset', data_source=dict(type='ImageNet', root='r', list_file='l'), pipeline=[dict(type='Resize', size=8)])
    train_dataloader = dict(batch_size=4, num_workers=1, drop_last=True, prefetch=True, dataset=dataset,
                            sampler=dict(type='EpochSampler', shuffle=True, replace=True))
    val_dataloader = dict(batch_size=4, num_workers=1, prefetch=True, dataset=dataset, sampler=dict(type='DefaultSampler', shuffle=False))
    optim_wrapper = dict(
        type='AmpOptimWrapper', optimizer=dict(type='SGD', lr=0.1), accumulative_counts=2, clip_grad=dict(max_norm=10),
        paramwise_cfg=dict(paramwise_options={r'\\Ahead.': dict(lr_mult=10), 'bias': dict(weight_decay=0.)}))
    param_scheduler = dict(type='PolicyLR', policy='step', by_epoch=True, step=[1, 2], warmup='linear', warmup_iters=2, warmup_ratio=0.1,
                           warmup_by_epoch=True)
    default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=10, max_keep_ckpts=3), logger=dict(interval=7))
    visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
    train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=5)
    env_cfg = dict(dist_cfg=dict(backend='gloo'), cudnn_benchmark=False)
    log_level = 'WARNING'
"""


def test_both_spellings_say_the_same(small):
    short, own = compiled(small(SHORT)), compiled(small(OWN))
    assert short == own
    assert short['train_dataloader']['dataset']['prefetch'] is True
    assert short['train_dataloader']['sampler']['replace'] and not short['val_dataloader']['sampler']['shuffle']
    assert short['optim_wrapper'] == {
        'type': 'AmpOptimWrapper',
        'optimizer': {'type': 'SGD', 'lr': 0.1},
        'accumulative_counts': 2,
        'clip_grad': {'max_norm': 10},
        'paramwise_options': {'\\Ahead.': {'lr_mult': 10}, 'bias': {'weight_decay': 0.0}},
    }
    assert list(short['optim_wrapper']['paramwise_options']) == ['\\Ahead.', 'bias']  # the order is the meaning
    assert short['default_hooks']['checkpoint'] == {
        'type': 'CheckpointHook',
        'interval': 10,
        'by_epoch': True,
        'max_keep_ckpts': 3,
    }


def test_merged_and_compiled_texts_are_configs_that_compile_to_the_same(small):
    loaded = load(small(SHORT))
    wanted = compile_config(loaded)
    assert compiled(small(loaded.text, 'merged.py')) == wanted
    assert compiled(small(to_text(wanted), 'compiled.py')) == wanted


def test_sections_of_one_file_may_differ_in_spelling(small):
    text = small.text.replace('total_epochs = 200', 'train_cfg = dict(by_epoch=False, max_iters=9)')
    assert compiled(small(text))['train_cfg'] == {'by_epoch': False, 'max_iters': 9}


def test_runs_counted_in_iterations(small):
    got = compiled(small(small.text.replace('total_epochs', 'total_iters')))
    assert got['train_cfg'] == {'by_epoch': False, 'max_iters': 200}
    assert got['param_scheduler'][0]['by_epoch'] is False and got['log_processor']['by_epoch'] is False
    assert got['default_hooks']['checkpoint'] == {'type': 'CheckpointHook', 'interval': 1000, 'by_epoch': False}


@pytest.mark.parametrize(
    ('written', 'compiled_name'),
    [
        ("policy='cosine'", 'CosineAnnealing'),
        ("policy='cosineannealing'", 'CosineAnnealing'),
        ("policy='Step', step=3", 'step'),
        ("policy='fixed'", 'fixed'),
        ("policy='exp', gamma=0.5", 'exp'),
        ("policy='Poly', power=2", 'poly'),
        ("policy='inv', gamma=1", 'inv'),
    ],
)
def test_policies_by_any_spelling(written, compiled_name, small):
    text = small.text.replace("policy='CosineAnnealing', min_lr=0.", written)
    assert compiled(small(text))['param_scheduler'][0]['policy'] == compiled_name


def test_the_tables_of_keys_are_those_of_the_code_that_reads_them():
    assert {*keys.LR_CONFIG_KEYS} == {*schedules.Schedule.__annotations__}
    assert {*keys.LR_CONFIG_KEYS} == {*schedules.COMMON_ARGS}.union(*schedules.POLICY_ARGS.values())
    assert {k.path for k in keys.PARAMWISE_KEYS} == {*paramwise.OPTIONS}
    rows = [k.path.split('.') for k in keys.all_keys() if k.path.startswith('train_dataloader.')]
    assert {row[1] for row in rows} == {*LOADER_KEYS}


def test_a_warm_up_that_a_child_switches_off_leaves_nothing_behind(small):
    small(small.text.replace('min_lr=0.', "warmup='linear', warmup_iters=3"), 'base.py')
    got = compiled(small("_base_ = './base.py'\nlr_config = dict(warmup=None)\n"))
    assert got['param_scheduler'] == [
        {'type': 'PolicyLR', 'policy': 'CosineAnnealing', 'min_lr': 0.0, 'by_epoch': True}
    ]


def test_mixed_precision_from_either_place(small):
    for line in ('use_fp16 = True', 'optimizer_config = dict(use_fp16=True)'):
        assert compiled(small(f'{small.text}{line}\n'))['optim_wrapper']['type'] == 'AmpOptimWrapper'
    assert compiled(small(small.text + 'use_fp16 = False\n'))['optim_wrapper']['type'] == 'OptimWrapper'


def test_slots_of_default_hooks(small):
    got = compiled(
        small(
            small.text + "default_hooks = dict(collapse=None, sampler_seed=dict(type='LoggerHook'), "
            "checkpoint=dict(type='LoggerHook'))\n"
        )
    )['default_hooks']
    assert got['collapse'] is None and got['sampler_seed'] == {'type': 'LoggerHook'}
    assert got['checkpoint'] == {'type': 'LoggerHook'}  # another type takes none of the defaults


def test_settings_without_effect_warn_by_name(small):
    path = small(small.text + 'gpus = 2\noptimizer_config = dict(coalesce=True, bucket_size_mb=-1)\n')
    with pytest.warns(SelfSupWarning) as caught:
        compile_config(load(path))
    assert sorted(str(w.message).split(' is')[0] for w in caught) == [
        'gpus',
        'optimizer_config.bucket_size_mb',
        'optimizer_config.coalesce',
    ]
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        compiled(small(small.text))


def test_compiling_changes_nothing_in_what_was_loaded(small):
    loaded = load(small(SHORT))
    before = to_text(loaded.cfg)
    compile_config(loaded)['model']['backbone']['depth'] = 18
    assert to_text(loaded.cfg) == before == loaded.text


def test_options_change_values_of_any_kind(small):
    path = small(SHORT)
    options = [
        'optimizer.lr=1e-2',
        'data.train.pipeline.0.size=96',
        'optimizer.paramwise_options.\\Ahead..lr_mult=2',
        'seed=3',
        'work_dir=out/a b',
        "lr_config={'policy': 'fixed'}",
        'checkpoint_config=None',
        'optimizer.nesterov=True',
    ]
    got = compiled(path, options)
    assert got['optim_wrapper']['optimizer'] == {'type': 'SGD', 'lr': 0.01, 'nesterov': True}
    assert got['optim_wrapper']['paramwise_options']['\\Ahead.'] == {'lr_mult': 2}
    assert got['train_dataloader']['dataset']['pipeline'] == [{'type': 'Resize', 'size': 96}]
    # Written as one helper, no longer one.
    assert got['val_dataloader']['dataset']['pipeline'] == [{'type': 'Resize', 'size': 8}]
    assert (got['seed'], got['work_dir']) == (3, 'out/a b')
    assert got['param_scheduler'] == [{'type': 'PolicyLR', 'policy': 'fixed', 'by_epoch': True}]
    assert got['default_hooks']['checkpoint']['interval'] == 1
    assert compiled(path, {'optimizer.lr': 0.5})['optim_wrapper']['optimizer']['lr'] == 0.5
    assert load(path, ['seed=3']).cfg['seed'] == 3


def test_options_make_what_is_not_there_yet(small):
    got = compiled(small(small.text), ['optimizer_config.grad_clip.max_norm=5', 'data.train.pipeline.0.size=9'])
    assert got['optim_wrapper']['clip_grad'] == {'max_norm': 5}


def test_samplers_of_mmengine_lose_their_seed_with_a_warning(small):
    with pytest.warns(SelfSupWarning, match=r'train_dataloader\.sampler\.seed is ignored'):
        got = compiled(small(OWN.replace("'EpochSampler', shuffle=True, replace=True", "'DefaultSampler', seed=3")))
    assert got['train_dataloader']['sampler'] == {'type': 'EpochSampler', 'shuffle': True, 'replace': False}


def test_a_sampler_in_the_short_form(small):
    given = small.text.replace('imgs_per_gpu=32,', "imgs_per_gpu=32, sampler=dict(type='EpochSampler', replace=True),")
    assert compiled(small(given))['train_dataloader']['sampler'] == {
        'type': 'EpochSampler',
        'shuffle': True,
        'replace': True,
    }
    for switched_off in ('data.sampler=None', "data.sampler={'type': 'EpochSampler'}"):
        assert compiled(small(given), [switched_off])['train_dataloader']['sampler']['replace'] is False
    with pytest.raises(
        ConfigError, match=r'^data.sampler \(x.py:2\) and data.sampling_replace \(.*\) both say how samples are drawn'
    ):
        load(small(given), ['data.sampling_replace=True'])
    with pytest.raises(ConfigError, match=r"replce .* is not an argument of EpochSampler. Did you mean 'replace'"):
        load(small(given), ['data.sampler.replce=True'])
    with pytest.warns(SelfSupWarning, match=r'data\.sampler\.seed is ignored'):
        compiled(small(given.replace("'EpochSampler', replace=True", "'DefaultSampler', seed=3")))


def test_length_in_two_ways_within_train_cfg(small):
    for wrong in ('dict(by_epoch=True)', 'dict(max_epochs=1, max_iters=1)', 'dict(by_epoch=False, max_epochs=1)'):
        with pytest.raises(ConfigError, match=r'^train_cfg \(x.py:6\)'):
            load(small(small.text.replace('total_epochs = 200', f'train_cfg = {wrong}')))


def test_default_hooks_may_fill_slots_that_no_short_section_fills(small):
    got = compiled(small(small.text + 'log_config = dict(interval=5)\ndefault_hooks = dict(collapse=None)\n'))
    assert got['default_hooks']['logger']['interval'] == 5
    assert got['default_hooks']['collapse'] is None


@pytest.mark.parametrize('key', ['fsdp', 'compile'])
def test_an_empty_dict_turns_on_what_a_full_one_does(small, key):
    on, empty, off = (compiled(small(f'{small.text}\n{key} = {value}\n'))[key] for value in ('True', '{}', 'False'))
    assert on and empty == on and off is None
