"""What a resume allows, says and refuses beyond a single changed setting; see `test_resume_matrix.py`."""

import math

import pytest
import torch

from selfsup.errors import CheckpointError, ConfigError

from .changed_runs import EMA, HALF, SGD, STEPS, STOP, by_hand, equal, log_of, resume, table
from .runs import train


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
