"""A run is resumed with one setting changed: the table says which value counts, and the weights prove it.

The proof needs no trust in the comparison: the checkpoint is edited by hand. Without its description of the run it is one that an earlier
version wrote, of which nothing can be compared, so every setting but those of the optimizer is the config's; those of the optimizer
are written into the file. From it the same weights must come, bit for bit, as from the resume that was allowed.
"""

import math

import pytest
import torch
from mmengine.hooks import Hook

from selfsup.errors import CheckpointError
from selfsup.registry import HOOKS

from .changed_runs import EMA, HALF, STEPS, STOP, by_hand, equal, resume, table

TEN = [{'type': 'RandomResizedCrop', 'size': 8}, {'type': 'ToTensor'}]
MIXUP = "model.mixup={'type': 'Mixup', 'mixup_alpha': 0.8}"
DECAY = 0.2 + (0.01 - 0.2) * (0.5 + 0.5 * math.cos(math.pi * STOP / 11))


def changed(base, option, key, old, new, allow=None, **groups):
    """A row of the matrix: the option, the key in the table with both values, what is to be allowed, and options of the groups."""
    return pytest.param(
        base, option, key, old, new, allow or key, groups, id=f'{base}-{option.partition("=")[0]}-{new}'
    )


REFUSED = [
    changed('adamw', 'optimizer.weight_decay=0.5', 'optimizer.weight_decay', '0.01', '0.5', weight_decay=0.5),
    changed('adamw', 'optimizer.betas=(0.5, 0.5)', 'optimizer.betas', '[0.9, 0.999]', '[0.5, 0.5]', betas=(0.5, 0.5)),
    changed('adamw', 'optimizer.eps=0.01', 'optimizer.eps', '1e-08', '0.01', allow='optimizer', eps=0.01),
    changed('adamw', 'optimizer.lr=0.3', 'optimizer.lr', '0.01', '0.3', lr=(0.3 + 0.001) / 2),
    changed('adamw', 'lr_config.min_lr=0.005', 'lr_config.min_lr', '0.001', '0.005', lr=(0.01 + 0.005) / 2),
    changed('adamw', 'lr_config.warmup_iters=10', 'lr_config.warmup_iters', '5', '10', lr=HALF * (1 - 0.3 * 0.9)),
    changed(
        'adamw',
        "lr_config={'policy': 'step', 'step': [1]}",
        'lr_config.policy',
        "'CosineAnnealing'",
        "'step'",
        allow='lr_config',
        lr=0.01 * 0.1,
    ),
    changed('adamw', 'lr_config=None', 'lr_config', '{', 'not set', lr=0.01, schedules=0),
    changed(
        'adamw',
        "weight_decay_config={'end': 0.2}",
        'weight_decay_config',
        'not set',
        '{',
        weight_decay=DECAY,
        schedules=2,
    ),
    changed('adamw', "optimizer_config.grad_clip={'max_norm': 1e-9}", 'optimizer_config.grad_clip', 'not set', '{'),
    changed(
        'adamw',
        "optimizer_config.freeze=[{'parameters': '^neck', 'epochs': 3}]",
        'optimizer_config.freeze',
        'not set',
        "[{'parameters': '^neck', 'epochs': 3}]",
    ),
    changed('adamw', 'use_fp16=True', 'use_fp16', 'False', 'True'),
    changed('adamw', "cache={'size': 6}", 'cache', 'not set', '{'),
    changed('adamw', 'channels_last=True', 'channels_last', 'False', 'True'),
    changed('adamw', 'model.head.temperature=0.9', 'model.head.temperature', '0.2', '0.9'),
    changed('adamw', 'model.momentum=0.5', 'model.momentum', '0.9', '0.5', allow='model'),
    changed('adamw', 'model.backbone.norm_eval=True', 'model.backbone.norm_eval', 'False', 'True'),
    changed(
        'adamw', 'data.train.pipeline.0.scale=(0.9, 1.)', 'data.train.pipeline.0.scale', '[0.3, 1.0]', '[0.9, 1.0]'
    ),
    changed(
        'adamw',
        'data.train.pipeline.0.size=12',
        'data.train.pipeline.0.size',
        '8',
        '12',
        allow='train_dataloader.dataset',
    ),
    changed(
        'adamw',
        'data.train.pipeline.5.std=[0.5, 0.5, 0.5]',
        'data.train.pipeline.5.std',
        '[0.3, 0.3, 0.3]',
        '[0.5, 0.5, 0.5]',
    ),
    changed('adamw', f'data.train.pipeline={TEN}', 'data.train.pipeline', '...', '...'),
    changed('adamw', f'custom_hooks={[EMA]}', 'custom_hooks.EMAHook', 'not set', "dict(type='EMAHook'"),
    changed(
        'adamw',
        "custom_hooks=[{'type': 'HalfAStep'}]",
        'custom_hooks.HalfAStep',
        'not set',
        "dict(type='HalfAStep'",
        allow='custom_hooks.0',
    ),
    changed('sgd', 'optimizer.lr=0.3', 'optimizer.lr', '0.05', '0.3', lr=0.3),
    changed('sgd', 'optimizer.momentum=0.5', 'optimizer.momentum', '0.9', '0.5', momentum=0.5),
    changed('sgd', 'optimizer.nesterov=True', 'optimizer.nesterov', 'False', 'True', nesterov=True),
    changed('sgd', 'optimizer.dampening=0.5', 'optimizer.dampening', '0', '0.5', dampening=0.5),
    changed(
        'sgd',
        'optimizer.weight_decay=0.1',
        'optimizer.weight_decay',
        '0.0001',
        '0.1',
        allow='optim_wrapper.optimizer',
        weight_decay=0.1,
    ),
    changed('sgd', "lr_config={'policy': 'poly'}", 'lr_config', 'not set', '{', lr=0.05 / 2, schedules=1),
    changed('lars', 'optimizer.eta=0.1', 'optimizer.eta', '0.001', '0.1', eta=0.1),
    changed('ema', 'model.mask_ratio=0.25', 'model.mask_ratio', '0.6', '0.25'),
    changed('ema', 'model.head.eps=0.1', 'model.head.eps', '1e-06', '0.1'),
    changed('ema', 'data.train.pipeline.0.size=32', 'data.train.pipeline.0.size', '16', '32'),
    changed('ema', 'custom_hooks=[]', 'custom_hooks.EMAHook', "dict(type='EMAHook'", 'not set'),
    changed('ema', 'custom_hooks.0.momentum=0.5', 'custom_hooks.EMAHook.momentum', '0.9', '0.5'),
    changed('sparse', 'custom_hooks.0.prune_rate=0.9', 'custom_hooks.SparseTrainingHook.prune_rate', '0.5', '0.9'),
    changed(
        'sparse', 'custom_hooks.0.growth=gradient', 'custom_hooks.SparseTrainingHook.growth', "'random'", "'gradient'"
    ),
    changed('byol', 'model.base_momentum=0.5', 'model.base_momentum', '0.9', '0.5'),
    changed('byol', 'custom_hooks.0.end_momentum=0.5', 'custom_hooks.BYOLHook.end_momentum', '0.99', '0.5'),
    changed('byol', 'model.head.size_average=False', 'model.head.size_average', 'True', 'False'),
    changed('classes', MIXUP, 'model.mixup', 'None', "dict(type='Mixup'"),
    changed('classes', 'model.head.label_smoothing=0.3', 'model.head.label_smoothing', '0.0', '0.3'),
    changed('clusters', 'custom_hooks.0.reweight_pow=0.9', 'custom_hooks.DeepClusterHook.reweight_pow', '0.5', '0.9'),
    changed(
        'clusters', 'custom_hooks.0.clustering.pca_dim=2', 'custom_hooks.DeepClusterHook.clustering.pca_dim', '-1', '2'
    ),
]
# they may change nothing in three iterations of so small a network
SUBTLE = (
    'channels_last',
    'custom_hooks.EMAHook',
    'custom_hooks.EMAHook.momentum',
    'custom_hooks.BYOLHook.end_momentum',
)

KNN = {
    'type': 'KNNHook',
    'k': [5],
    'imgs_per_gpu': 8,
    'workers_per_gpu': 0,
    'initial': False,
    'train': {'type': 'ClassificationDataset', 'data_source': {'type': 'Digits'}, 'pipeline': [{'type': 'ToTensor'}]},
    'test': {
        'type': 'ClassificationDataset',
        'data_source': {'type': 'Digits', 'split': 'test'},
        'pipeline': [{'type': 'ToTensor'}],
    },
}
HARMLESS = {
    'log_config.interval=1': 'log_config.interval',
    'checkpoint_config.max_keep_ckpts=5': 'checkpoint_config.max_keep_ckpts',
    'data.workers_per_gpu=1': 'data.workers_per_gpu',
    'data.pin_memory=True': 'data.pin_memory',
    'data.max_unreadable=0.05': 'data.max_unreadable',
    'log_level=DEBUG': 'log_level',
    'find_unused_parameters=True': 'find_unused_parameters',
    'cudnn_benchmark=False': 'env_cfg.cudnn_benchmark',
    "default_hooks={'collapse': {'interval': 3}}": 'default_hooks.collapse.interval',
    "default_hooks={'collapse': None}": 'default_hooks.collapse',
    f'custom_hooks={[KNN]}': 'custom_hooks.KNNHook',
    'log_processor.window_size=3': 'log_processor.window_size',
    "data.val={'type': 'ClassificationDataset', 'data_source': {'type': 'Digits'}, 'pipeline': [{'type': 'ToTensor'}]}": 'val_dataloader',
}
SAME = (
    'optimizer.eps=1e-8',
    'model.backbone.strides=[1, 2, 2, 2]',
    'data.train.pipeline.3.p=0.5',
    'lr_config.warmup_by_epoch=False',
    'data.drop_last=False',
    'lr_config.policy=cosine',
    'img_norm_cfg={"mean": [0.1, 0.1, 0.1], "std": [1, 1, 1]}',
    'optimizer={"weight_decay": 0.01, "lr": 0.01, "type": "AdamW", "betas": (0.9, 0.999)}',
    'total_iters=12',
)


@pytest.fixture(scope='module', autouse=True)
def own_hook():
    class HalfAStep(Hook):
        """What a user may have written."""

        def after_optimizer_step(self, runner) -> None:
            with torch.no_grad():
                runner.model.backbone.conv1.weight.mul_(0.5)

    HOOKS.register_module(module=HalfAStep, force=True)


@pytest.mark.parametrize(('base', 'option', 'key', 'old', 'new', 'allow', 'groups'), REFUSED)
def test_what_would_change_the_run_is_refused_until_it_is_allowed(
    bases, tmp_path, base, option, key, old, new, allow, groups
):
    config, checkpoint, unchanged, options = bases(base)
    with pytest.raises(CheckpointError) as error:
        resume(config, checkpoint, tmp_path / 'refused', *options, option)
    assert f'{key} was {old}' in str(error.value), error.value
    assert f'--allow-changed {key})' in str(error.value)
    assert ' and is ' + new in str(error.value)
    # Neither a checkpoint nor a copy of the config that says the new value.
    assert not list((tmp_path / 'refused').glob('*.p[yt]*'))
    found = resume(config, checkpoint, tmp_path / 'allowed', *options, option, allow_changed=[allow])
    reference = {} if option == 'custom_hooks=[]' or 'EMAHook' in option else groups
    if option.startswith('custom_hooks') and 'EMAHook' in option:  # nothing but the average is another one
        assert equal(found, unchanged)
        assert found['ema']['steps'] == STEPS
    else:
        truth = resume(
            config, by_hand(checkpoint, tmp_path / 'old.pth', **reference), tmp_path / 'truth', *options, option
        )
        assert equal(found, truth)
        assert ('ema' in found) == ('ema' in truth) and ('ema' not in found or equal(found['ema'], truth['ema']))
        assert key in SUBTLE or not equal(found, unchanged)
    row = next(row for row in found['meta']['changed'] if row['key'] == key)
    assert row['iter'] == STOP and row['old'].startswith(old[:1])


@pytest.mark.parametrize(('option', 'key'), HARMLESS.items())
def test_what_changes_no_weight_passes_in_one_line(bases, tmp_path, option, key):
    config, checkpoint, unchanged, options = bases('adamw')
    found = resume(config, checkpoint, tmp_path / 'run', *options, option)
    (line,) = [line for line in table(tmp_path / 'run') if line.startswith('Changed without effect on the weights:')]
    assert key in line
    assert equal(found, unchanged) and found['meta']['changed'] == []


@pytest.mark.parametrize('option', SAME)
def test_another_way_to_write_it_is_no_change(bases, tmp_path, option):
    config, checkpoint, unchanged, options = bases('adamw')
    options = (
        tuple(o for o in options if 'total_epochs' not in o) + ('total_epochs=None',)
        if 'total_iters' in option
        else options
    )
    found = resume(
        config,
        checkpoint,
        tmp_path / 'run',
        *options,
        *(('lr_config.by_epoch=True',) if 'total_iters' in option else ()),
        option,
    )
    assert [line for line in table(tmp_path / 'run') if 'refused' in line or 'from the' in line] == []
    assert equal(found, unchanged)
