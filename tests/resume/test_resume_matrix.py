"""A run is resumed with one setting changed: the table says which value counts, and the weights prove it.

The proof needs no trust in the comparison: the checkpoint is edited by hand. Without its description of the run it is one that an earlier
version wrote, of which nothing can be compared, so every setting but those of the optimizer is the config's; those of the optimizer
are written into the file. From it the same weights must come, bit for bit, as from the resume that was allowed.
"""

import itertools
import math

import pytest
import torch
from mmengine.hooks import Hook

from selfsup.errors import CheckpointError, ConfigError
from selfsup.registry import HOOKS

from .runs import train, write_config, write_images
from .test_matrix import RESNET, write

STOP, STEPS = 7, 3  # where the first run stops, in mid-epoch, and how far a resume goes
EVERY = ('checkpoint_config.by_epoch=False', 'total_epochs=2')  # 12 iterations
EMA = {'type': 'EMAHook', 'momentum': 0.9}
SPARSE = {'type': 'SparseTrainingHook', 'sparsity': 0.6, 'init': 'erk', 'update_interval': 1, 'prune_rate': 0.5}
SGD = "optimizer={'type': 'SGD', 'lr': 0.05, 'momentum': 0.9, 'weight_decay': 1e-4}"
LARS = "optimizer={'type': 'LARS', 'lr': 0.05, 'momentum': 0.9, 'weight_decay': 1e-4}"
# name -> method of the config, and options of the run that is resumed
BASES = {
    'adamw': ('MOCO', ()),
    'sgd': ('MOCO', (SGD, 'lr_config=None')),
    'lars': ('MOCO', (LARS,)),
    'ema': ('SparK', (f'custom_hooks={[EMA]}',)),
    'sparse': ('MOCO', (f'custom_hooks={[SPARSE]}',)),
    'byol': ('BYOL', ("custom_hooks=[{'type': 'BYOLHook', 'end_momentum': 0.99}]",)),
    'classes': ('Classification', ()),
    'clusters': ('DeepCluster', ('data.imgs_per_gpu=8', 'total_epochs=4')),  # clusters again at iteration 9
}
# iteration 7 of 12 is in epoch 1 of 2, after the warm-up of 5: half way down the cosine from 0.01 to 0.001
HALF = (0.01 + 0.001) / 2
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
    changed('adamw', 'use_fp16=True', 'use_fp16', 'False', 'True'),
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


@pytest.fixture(scope='module')
def bases(tmp_path_factory):
    """name -> (config file, checkpoint after STOP iterations, checkpoint of the unchanged run STEPS later, options)."""
    folder = tmp_path_factory.mktemp('bases')
    images = write_images(folder / 'images', 24)
    (images / 'labels.txt').write_text(''.join(f'{i:03d}.jpg {i % 5}\n' for i in range(24)))
    made = {}

    def make(name):
        if name not in made:
            method, options = BASES[name]
            own = folder / name
            own.mkdir()
            config = (
                write(own, images, method, RESNET)
                if method in ('Classification', 'DeepCluster')
                else write_config(own, method)
            )
            options = (*EVERY, *options)
            first = train(config, own / f'{name}-first', *options, stop_after=STOP, curves=False)
            checkpoint = first / f'iter_{STOP}.pth'
            made[name] = config, checkpoint, resume(config, checkpoint, own / f'{name}-on', *options), options
        return made[name]

    return make


def resume(config, checkpoint, work_dir, *options, **how):
    """The checkpoint, read, STEPS iterations after `checkpoint`."""
    train(config, work_dir, *options, resume_from=str(checkpoint), stop_after=STOP + STEPS, curves=False, **how)
    return torch.load(work_dir / f'iter_{STOP + STEPS}.pth', weights_only=True)


def by_hand(checkpoint, path, schedules=None, **groups):
    """A checkpoint of an earlier version with these options in all its groups."""
    content = torch.load(checkpoint, weights_only=True)
    for name in ('compiled', 'data', 'classes'):
        del content['meta'][name]
    for group in content['optimizer']['param_groups']:
        group.update(groups)
    if schedules is not None:
        position = {'last_step': STOP, '_global_step': STOP + 1}
        content['param_schedulers'] = [position] * schedules
    torch.save(content, path)
    return path


def equal(one, other, part='state_dict'):
    return one[part].keys() == other[part].keys() and all(
        torch.equal(value, other[part][name]) for name, value in one[part].items()
    )


def log_of(work_dir):
    (file,) = work_dir.glob('*/*.log')
    return file.read_text()


def table(work_dir):
    """Lines of the comparison."""
    found = log_of(work_dir).partition('Compared with the run that is resumed:\n')[2].splitlines()
    return [line.strip() for line in itertools.takewhile(lambda line: line.startswith('  '), found)]


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
    assert not list(
        (tmp_path / 'refused').glob('*.p[yt]*')
    )  # neither a checkpoint nor a copy of the config that says the new value
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


def test_a_later_resume_compares_with_what_counted(bases, tmp_path):
    config, checkpoint, _, options = bases('adamw')
    resume(config, checkpoint, tmp_path / 'first', *options, 'optimizer.weight_decay=0.5', allow_changed=['optimizer'])
    newest = tmp_path / 'first' / f'iter_{STOP + STEPS}.pth'
    last = (
        train(
            config, tmp_path / 'second', *options, 'optimizer.weight_decay=0.5', resume_from=str(newest), curves=False
        )
        / 'latest.pth'
    )
    content = torch.load(last, weights_only=True)
    assert content['optimizer']['param_groups'][0]['weight_decay'] == 0.5
    assert [row['key'] for row in content['meta']['changed']] == ['optimizer.weight_decay']
    with pytest.raises(CheckpointError, match=r'optimizer.weight_decay was 0.5 and is 0.01 \('):
        train(config, tmp_path / 'third', *options, resume_from=str(newest), curves=False)


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


@pytest.mark.parametrize(
    ('option', 'old', 'new', 'lr'),
    [
        ('total_epochs=3', '2', '3', 0.001 + 0.009 * 0.75),
        ('total_epochs=5', '2', '5', 0.001 + 0.009 * (1 + math.cos(math.pi / 5)) / 2),
    ],
)
def test_a_longer_run_says_its_learning_rate(bases, tmp_path, option, old, new, lr):
    config, checkpoint, unchanged, options = bases('adamw')
    found = resume(config, checkpoint, tmp_path / 'run', *options, option)
    assert any(line.split() == ['total_epochs', old, new, 'from', 'the', 'config'] for line in table(tmp_path / 'run'))
    assert f'Learning rate at iteration {STOP}: {HALF:.6g} in the checkpoint, {lr:.6g} from here on.' in log_of(
        tmp_path / 'run'
    )
    truth = resume(config, by_hand(checkpoint, tmp_path / 'old.pth', lr=lr), tmp_path / 'truth', *options, option)
    assert equal(found, truth) and not equal(found, unchanged)


def test_a_shorter_run(bases, tmp_path):
    config, checkpoint, _, options = bases('adamw')
    train(
        config,
        tmp_path / 'run',
        *options,
        'total_epochs=None',
        'total_iters=8',
        'lr_config.by_epoch=True',
        resume_from=str(checkpoint),
        curves=False,
    )
    assert any(line.startswith('total_iters') and line.endswith('from the config') for line in table(tmp_path / 'run'))
    assert torch.load(tmp_path / 'run' / 'iter_8.pth', weights_only=True)['meta']['iter'] == 8


def test_other_groups_take_the_state_of_their_weights_along(bases, tmp_path):
    """As many groups as patterns make, in another order than in the file."""
    config, checkpoint, unchanged, options = bases('adamw')
    name = 'optimizer.paramwise_options'
    with pytest.raises(CheckpointError, match=rf'{name} was not set and is .*--allow-changed {name}\)'):
        resume(config, checkpoint, tmp_path / 'refused', *options, f"{name}={{'bn': {{'weight_decay': 0.}}}}")
    same = resume(
        config,
        checkpoint,
        tmp_path / 'same',
        *options,
        f"{name}={{'bias|conv1': {{'weight_decay': 0.01}}}}",
        allow_changed=[name],
    )
    assert len(same['optimizer']['param_groups']) == 2 and len(unchanged['optimizer']['param_groups']) == 1
    assert equal(same, unchanged)
    other = resume(
        config,
        checkpoint,
        tmp_path / 'other',
        *options,
        f"{name}={{'bn': {{'weight_decay': 0.}}}}",
        allow_changed=['optimizer'],
    )
    assert [group['weight_decay'] for group in other['optimizer']['param_groups']] == [0.01, 0.0]
    assert not equal(other, unchanged)
    swapped = f"{name}={{'bias': {{'weight_decay': 0.}}, 'conv': {{'weight_decay': 0.01}}}}"
    checkpoint = tmp_path / 'other' / f'iter_{STOP + STEPS}.pth'
    with pytest.raises(CheckpointError, match=f'{name} was .*bn.* and is .*bias'):
        train(config, tmp_path / 'swapped', *options, swapped, resume_from=str(checkpoint), curves=False)


def test_a_bias_without_decay_stays_without_when_the_decay_is_allowed(bases, tmp_path):
    config, _, _, options = bases('adamw')
    options = (*options, "optimizer.paramwise_options={'bias': {'weight_decay': 0.}, 'conv1': {'lr_mult': 2}}")
    first = train(config, tmp_path / 'first', *options, stop_after=STOP, curves=False)
    found = resume(
        config,
        first / f'iter_{STOP}.pth',
        tmp_path / 'on',
        *options,
        'optimizer.weight_decay=0.3',
        allow_changed=['optimizer.weight_decay'],
    )
    groups = {group['param_names'][0]: group for group in found['optimizer']['param_groups']}
    assert sorted(group['weight_decay'] for group in groups.values()) == [0.0, 0.3, 0.3]
    assert groups['backbone.conv1.weight']['lr'] == pytest.approx(2 * 0.01 * 0.5 + 0.5 * 0.001, abs=1e-12)


def test_a_requeued_job_keeps_its_command_line(bases, tmp_path):
    """The first start has no checkpoint; the second resume has nothing left to allow: the hook is in neither config any more."""
    config, checkpoint, _, options = bases('ema')
    allow = {'allow_changed': ['custom_hooks.EMAHook', 'optimizer.weight_decay'], 'curves': False}
    train(config, tmp_path / 'run', *options, 'custom_hooks=[]', 'total_epochs=1', auto_resume=True, **allow)
    assert '--allow-changed: the work dir holds no checkpoint' in log_of(tmp_path / 'run')
    first = train(
        config,
        tmp_path / 'first',
        *options,
        'custom_hooks=[]',
        resume_from=str(checkpoint),
        stop_after=STOP + STEPS,
        **allow,
    )
    train(
        config,
        tmp_path / 'second',
        *options,
        'custom_hooks=[]',
        resume_from=str(first / f'iter_{STOP + STEPS}.pth'),
        **allow,
    )
    assert '--allow-changed custom_hooks.EMAHook: it has not changed.' in table(tmp_path / 'second')


def test_everything_is_refused_at_once(bases, tmp_path):
    config, checkpoint, _, options = bases('adamw')
    with pytest.raises(CheckpointError) as error:
        resume(
            config,
            checkpoint,
            tmp_path,
            *options,
            'optimizer.weight_decay=0.5',
            'model.head.temperature=0.9',
            'use_fp16=True',
            SGD,
            f'custom_hooks={[EMA]}',
            seed=3,
        )
    for text in (
        'seed was 0 and is 3 (pass --seed 0)',
        'optimizer was AdamW and is SGD',
        'use_fp16',
        'model.head.temperature',
        '--allow-changed custom_hooks.EMAHook',
    ):
        assert text in str(error.value)
    assert 'weight_decay' not in str(error.value)  # another optimizer's


@pytest.mark.parametrize(
    ('option', 'key', 'reason'),
    [
        ('optimizer.amsgrad=True', 'optimizer.amsgrad', 'the state of the optimizer in the checkpoint would not fit'),
        (
            "lr_config=None param_scheduler={'type': 'LinearLR','begin': 0, 'end': 4}",
            'param_scheduler',
            "mmengine's schedulers go on",
        ),
    ],
)
def test_what_cannot_be_allowed_says_why(bases, tmp_path, option, key, reason):
    config, checkpoint, _, options = bases('adamw')
    with pytest.raises(CheckpointError, match=f'{key} was .*set it back: {reason}'):
        resume(
            config,
            checkpoint,
            tmp_path,
            *options,
            *option.split(' ', 1 if 'lr_config' in option else 0),
            allow_changed=['optimizer', 'lr_config', key],
        )


def test_keys_that_are_no_settings_and_keys_that_did_not_change(bases, tmp_path):
    config, checkpoint, unchanged, options = bases('adamw')
    with pytest.raises(
        ConfigError, match=r"optimizer.weigth_decay: no setting has this name. Did you mean 'optimizer.weight_decay'"
    ):
        resume(config, checkpoint, tmp_path / 'a', *options, allow_changed=['optimizer.weigth_decay'])
    with pytest.raises(ConfigError, match='is for a run that is resumed: give --resume_from or --auto_resume'):
        train(config, tmp_path / 'b', *options, allow_changed=['optimizer'])
    # a job that is requeued starts with the same command line each time
    found = resume(
        config,
        checkpoint,
        tmp_path / 'run',
        *options,
        allow_changed=['optimizer.weight_decay', 'data.imgs_per_gpu', 'data'],
    )
    assert '--allow-changed optimizer.weight_decay: it has not changed.' in table(tmp_path / 'run')
    assert '--allow-changed data.imgs_per_gpu: a change of it can never be allowed' in '\n'.join(
        table(tmp_path / 'run')
    )
    assert equal(found, unchanged)


def test_a_checkpoint_of_an_earlier_version(bases, tmp_path):
    config, checkpoint, unchanged, options = bases('adamw')
    old = by_hand(checkpoint, tmp_path / 'old.pth')
    found = resume(config, old, tmp_path / 'run', *options)
    assert table(tmp_path / 'run') == [
        f'{old} was written by an earlier version: whether the settings and the images are the same cannot be compared.'
    ]
    assert equal(found, unchanged)
    assert found['meta']['compiled']['optim_wrapper']['optimizer']['weight_decay'] == 0.01
    found = resume(
        config,
        old,
        tmp_path / 'named',
        *options,
        'optimizer.weight_decay=0.5',
        allow_changed=['optimizer.weight_decay'],
    )
    truth = resume(config, by_hand(checkpoint, tmp_path / 'edited.pth', weight_decay=0.5), tmp_path / 'truth', *options)
    assert equal(found, truth) and not equal(found, unchanged)


@pytest.mark.parametrize(('name', 'value'), [('compiled', [1]), ('data', 'images')])
def test_a_damaged_description_of_the_run(bases, tmp_path, name, value):
    config, checkpoint, _, options = bases('adamw')
    content = torch.load(checkpoint, weights_only=True)
    content['meta'][name] = value
    torch.save(content, tmp_path / 'damaged.pth')
    with pytest.raises(CheckpointError, match=rf"its meta\['{name}'\] is a .*, not a dict: the file is damaged"):
        resume(config, tmp_path / 'damaged.pth', tmp_path / 'run', *options)
