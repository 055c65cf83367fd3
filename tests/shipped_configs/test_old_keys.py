"""Every section of an old file: what it may say is honoured or translated, a misspelt or unsupported key is one clear line."""

from __future__ import annotations

import pytest

from selfsup.config import compile_config, load
from selfsup.errors import ConfigError, SelfSupWarning

from .old_tree import write_tree

MOCO, SUPERVISED, BYOL = 'selfsup/moco/r50_v1', 'classification/imagenet/r50', 'selfsup/byol/r50_bs256_ep200'
CLUSTER, ODC, NPID = 'selfsup/deepcluster/r50', 'selfsup/odc/r50_v1', 'selfsup/npid/r50'
LINEAR = 'benchmarks/linear_classification/imagenet/r50_last'
LINES = "    test_pipeline.extend([dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)])\n"
NORMALISED = [
    (
        "dict(type='CenterCrop', size=224)]",
        "dict(type='CenterCrop', size=224), dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)]",
    ),
    (LINES, ''),
]


def write(tmp_path, name, *changes):
    """The file `name` with `changes` (old, new); an empty `old` appends."""
    path = write_tree(tmp_path) / f'{name}.py'
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new) if old else f'{text}{new}\n'
    path.write_text(text)
    return path


REFUSED = {
    'top': (
        MOCO,
        '',
        'cudnn_benchmrk = True',
        r"cudnn_benchmrk \(.*\) is not a config key. Did you mean 'cudnn_benchmark'",
    ),
    'model': (MOCO, 'queue_len', 'queu_len', r"model.queu_len .* is not an argument of MOCO. Did you mean 'queue_len'"),
    'pretrained': (MOCO, 'pretrained=None', 'pretraind=None', r'model.pretraind .* is not an argument of MOCO'),
    'backbone': (MOCO, "type='ResNet'", "type='ResNte'", r"model.backbone.type='ResNte' .* Did you mean 'ResNet'"),
    'norm': (MOCO, "type='BN'", "type='SynBN'", r"norm_cfg.type='SynBN' .* Did you mean 'SyncBN'"),
    'neck': (MOCO, 'with_avg_pool', 'with_avgpool', r"model.neck.with_avgpool .* Did you mean 'with_avg_pool'"),
    'head': (MOCO, 'temperature', 'temprature', r"model.head.temprature .* Did you mean 'temperature'"),
    'memory': (
        NPID,
        'feat_dim=128, mom',
        'feat_dims=128, mom',
        r"model.memory_bank.feat_dims .* Did you mean 'feat_dim'",
    ),
    'data': (MOCO, 'drop_last', 'drop_lst', r"data.drop_lst .* Did you mean 'drop_last'"),
    'batch': (MOCO, 'imgs_per_gpu=32, ', '', r"data .* lacks 'imgs_per_gpu'"),
    'dataset': (
        MOCO,
        "'ContrastiveDataset'",
        "'ContrastDataset'",
        r"data.train.type='ContrastDataset' .* Did you mean 'ContrastiveData",
    ),
    'source': (
        MOCO,
        'mclient_path',
        'mclient_pth',
        r"data.train.data_source.mclient_pth .* Did you mean 'mclient_path'",
    ),
    'step': (MOCO, 'brightness', 'brightnes', r"data.train.pipeline.2.brightnes .* Did you mean 'brightness'"),
    'norm cfg': (MOCO, 'std=[', 'sdt=[', r"img_norm_cfg.sdt .* Did you mean 'std'"),
    'optimizer': (MOCO, 'weight_decay', 'weight_dcay', r"optimizer.weight_dcay .* Did you mean 'weight_decay'"),
    'paramwise': (BYOL, 'lars_exclude', 'lars_exclud', r"lars_exclud .* Did you mean 'lars_exclude'"),
    'regex': (BYOL, "'bias': ", "'(bias': ", r'\(bias .* is not a regular expression'),
    'optimizer config': (
        MOCO,
        '',
        'optimizer_config = dict(updat_interval=2)',
        r"updat_interval .* Did you mean 'update_interval'",
    ),
    'fp16': (
        MOCO,
        '',
        'use_fp16 = False\noptimizer_config = dict(use_fp16=True)',
        r'use_fp16=False .* contradict each other',
    ),
    'policy': (MOCO, "'step'", "'stp'", r"lr_config.policy='stp' .* is not a policy. Did you mean 'step'"),
    'unsupported policy': (
        MOCO,
        "policy='step', step=[120, 160]",
        "policy='cyclic'",
        r"lr_config.policy='cyclic' .* is not a policy",
    ),
    'warm-up': (
        BYOL,
        'warmup_by_epoch',
        'warm_up_by_epoch',
        r"lr_config.warm_up_by_epoch .* Did you mean 'warmup_by_epoch'",
    ),
    'warm-up ratio': (
        BYOL,
        'warmup_ratio=0.0001',
        'warmup_ratio=0.',
        r'lr_config.warmup_ratio=0.0 .* must be a number in \(0, 1\]',
    ),
    'checkpoint': (
        MOCO,
        'checkpoint_config = dict(interval',
        'checkpoint_config = dict(intervall',
        r"intervall .* mean 'interval'",
    ),
    'log': (
        MOCO,
        '',
        "log_config = dict(interval=50, hooks=[dict(type='TextLogerHook')])",
        r"type='TextLogerHook' .* Did you mean",
    ),
    'workflow': (MOCO, '', "workflow = [('train', 1), ('val', 1)]", r'workflow=.* validate with ValidateHook'),
    'hook': (BYOL, "'BYOLHook'", "'BYOLHok'", r"custom_hooks.0.type='BYOLHok' .* Did you mean 'BYOLHook'"),
    'hook argument': (
        ODC,
        'evaluate_interval',
        'evaluation_interval',
        r"evaluation_interval .* Did you mean 'evaluate_interval'",
    ),
    'hook data set': (
        CLUSTER,
        "'ExtractDataset'",
        "'ExtractDatset'",
        r"dataset.type='ExtractDatset' .* mean 'ExtractDataset'",
    ),
    'validation': (LINEAR, 'eval_param', 'eval_params', r"custom_hooks.0.eval_params .* Did you mean 'eval_param'"),
    'dist': (MOCO, '', "dist_params = dict(backnd='nccl')", r"dist_params.backnd .* Did you mean 'backend'"),
    'length': (MOCO, 'total_epochs', 'total_epoch', r"total_epoch .* Did you mean 'total_epochs'"),
    'base': (MOCO, 'base.py', 'bas.py', r'its _base_ .* does not exist'),
    'hook without prefetch': (
        SUPERVISED,
        'prefetch=prefetch, img_norm_cfg=img_norm_cfg, eval',
        'eval',
        r'custom_hooks.0.dataset.prefetch=True .* custom_hooks.0 does not normalise',
    ),
    'hook without norm': (
        SUPERVISED,
        'img_norm_cfg=img_norm_cfg, eval',
        'eval',
        r'custom_hooks.0.dataset .* needs img_norm_cfg',
    ),
    'hook with two normalisations': (
        LINEAR,
        'eval_param',
        'prefetch=True, img_norm_cfg=dict(mean=[0.5], std=[0.2]), eval_param',
        r'custom_hooks.0.dataset.pipeline.3 .* but img_norm_cfg has mean=\[0.5\] and std=\[0.2\]: with prefetch the loader',
    ),
    'extractor': (
        CLUSTER,
        'prefetch=False, img_norm_cfg',
        'prefetch=True, img_norm_cfg=dict(mean=[0.5], std=[0.2]), seed',
        r'custom_hooks.0.extractor.dataset.pipeline.3 .* but img_norm_cfg has mean=\[0.5\]',
    ),
}


@pytest.mark.parametrize('case', REFUSED)
@pytest.mark.filterwarnings('ignore:Translated')
def test_what_is_refused(case, tmp_path):
    name, old, new, message = REFUSED[case]
    with pytest.raises(ConfigError, match=message):
        load(write(tmp_path, name, (old, new)))


HONOURED = {
    'replacement': (
        ODC,
        [],
        lambda c: c['train_dataloader']['sampler'],
        {'type': 'EpochSampler', 'shuffle': True, 'replace': True},
    ),
    'clipping': (
        MOCO,
        [('', 'optimizer_config = dict(grad_clip=dict(max_norm=10), update_interval=4)')],
        lambda c: [c['optim_wrapper'][key] for key in ('clip_grad', 'accumulative_counts')],
        [{'max_norm': 10}, 4],
    ),
    'fp16 at the top': (MOCO, [('', 'use_fp16 = True')], lambda c: c['optim_wrapper']['type'], 'AmpOptimWrapper'),
    'pretrained': (MOCO, [('pretrained=None', "pretrained='a.pth'")], lambda c: c['pretrained'], 'a.pth'),
    'policy in lower case': (
        MOCO,
        [("policy='step', step=[120, 160]", "policy='cosineannealing', min_lr=0.001")],
        lambda c: c['param_scheduler'],
        [{'type': 'PolicyLR', 'policy': 'CosineAnnealing', 'min_lr': 0.001, 'by_epoch': True}],
    ),
    'start': (
        MOCO,
        [('', "load_from = 'a'\nresume_from = 'b'\nseed = 3\nwork_dir = 'w'")],
        lambda c: (c['load_from'], c['resume_from'], c['seed'], c['work_dir']),
        ('a', 'b', 3, 'w'),
    ),
    'cudnn': (MOCO, [('', 'cudnn_benchmark = False')], lambda c: c['env_cfg']['cudnn_benchmark'], False),
    'prefetch beside normalised validation': (
        SUPERVISED,
        [
            *NORMALISED,
            ('pipeline=test_pipeline, prefetch=prefetch', 'pipeline=test_pipeline'),
            ('prefetch=prefetch, img_norm_cfg=img_norm_cfg, eval', 'eval'),
        ],
        lambda c: (c['train_dataloader']['prefetch'], c['val_dataloader']['prefetch']),
        (True, False),
    ),
}


@pytest.mark.parametrize('case', HONOURED)
@pytest.mark.filterwarnings('ignore:Translated')
def test_what_is_honoured(case, tmp_path):
    name, changes, value, expected = HONOURED[case]
    assert value(compile_config(load(write(tmp_path, name, *changes)))) == expected


@pytest.mark.parametrize(
    ('setting', 'said'),
    [
        ('optimizer_config = dict(coalesce=True)', 'optimizer_config.coalesce is ignored'),
        ('gpus = 8', 'gpus is ignored'),
        ("dist_params = dict(backend='nccl', port=29500)", 'dist_params.port: the launcher chooses it'),
        (
            'checkpoint_config = dict(interval=10, save_optimizer=False)',
            'checkpoint_config.save_optimizer: a checkpoint always holds',
        ),
        (
            "optimizer = dict(type='SGD', lr=0.1, paramwise_options=dict(bias_lr_mult=2.))",
            'options.bias_lr_mult: read as the pattern',
        ),
        (
            "data['val'] = dict(data['train'], pipeline=[dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)])\n"
            "del data['val']['prefetch']",
            'data.val: its own pipeline normalises, so it is read without prefetch',
        ),
    ],
)
def test_what_has_no_effect_is_said(setting, said, tmp_path):
    with pytest.warns(SelfSupWarning) as caught:
        compile_config(load(write(tmp_path, MOCO, ('', setting))))
    assert sum(said in str(w.message) for w in caught) == 1
