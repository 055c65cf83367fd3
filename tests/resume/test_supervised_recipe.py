"""Exact resume of the supervised recipe: draws for a batch follow from (seed, rank, iteration), those for an image from its own seed."""

from __future__ import annotations

from pprint import pformat

import pytest
import torch

from selfsup.errors import ConfigError
from tests.distributed.helpers import run_ranks

from .runs import differences, train, write_images

SETTINGS = {
    'model': {
        'type': 'Classification',
        'backbone': {'type': 'ConvNeXtV2', 'depths': (1, 1), 'dims': (4, 8), 'drop_path_rate': 0.3},
        'head': {
            'type': 'ClsHead',
            'with_avg_pool': True,
            'in_channels': 8,
            'num_classes': 5,
            'norm_cfg': {'type': 'LN', 'eps': 1e-6},
        },
        'mixup': {'type': 'Mixup', 'prob': 0.8},
    },
    'optimizer': {
        'type': 'AdamW',
        'lr': 0.01,
        'weight_decay': 0.05,
        'layer_decay': {'rate': 0.8},
        'paramwise_options': {'': {'max_ndim': 1, 'weight_decay': 0.0}},
    },
    'optimizer_config': {'update_interval': 1},
    'lr_config': {
        'policy': 'WarmupCosine',
        'min_lr': 1e-4,
        'warmup': 'linear',
        'warmup_iters': 1,
        'warmup_by_epoch': True,
        'warmup_ratio': 0.0,
        'reach_peak': True,
    },
    'custom_hooks': [{'type': 'EMAHook', 'momentum': 0.9, 'evaluate': True}],
    'checkpoint_config': {'interval': 1, 'by_epoch': False},
    'log_config': {'interval': 2},
    'total_epochs': 3,
}
PIPELINE = [
    {'type': 'RandomResizedCrop', 'size': 16, 'interpolation': 3},
    {'type': 'RandomHorizontalFlip'},
    {'type': 'TIMMAutoAugment', 'policy': 'rand-m9-mstd0.5-inc1', 'size': 16},
    {'type': 'ToTensor'},
    {'type': 'Normalize', 'mean': [0.5] * 3, 'std': [0.3] * 3},
    {'type': 'RandomErasing', 'p': 0.5, 'scale': (0.02, 1 / 3), 'ratio': (0.3, 1 / 0.3), 'value': 'random'},
]


@pytest.fixture
def config(tmp_path):
    """A config over 12 digits: three iterations per epoch with batches of 4."""
    images = write_images(tmp_path / 'images', 12)
    (images / 'labels.txt').write_text(''.join(f'{i:03d}.jpg {i % 5}\n' for i in range(12)))
    source = {'type': 'ImageList', 'root': str(images), 'list_file': str(images / 'labels.txt')}
    data = {
        'imgs_per_gpu': 4,
        'workers_per_gpu': 0,
        'drop_last': True,
        'train': {'type': 'ClassificationDataset', 'data_source': source, 'pipeline': PIPELINE},
    }
    path = tmp_path / 'recipe.py'
    path.write_text(
        '"""The recipe."""\n'
        + ''.join(f'{key} = {pformat(value)}\n' for key, value in {**SETTINGS, 'data': data}.items())
    )
    return path


def both_ways(config, folder, *options, launcher='none'):
    """Straight through, and stopped after five of nine iterations."""
    train(config, folder / f'{folder.name}-straight', *options, launcher=launcher, curves=False)
    train(
        config,
        folder / f'{folder.name}-stopped',
        *options,
        stop_after=5 if 'update' not in str(options) else 6,
        launcher=launcher,
        curves=False,
    )
    train(
        config,
        folder / f'{folder.name}-resumed',
        *options,
        launcher=launcher,
        curves=False,
        resume_from=str(folder / f'{folder.name}-stopped' / 'latest.pth'),
    )


def check(folder):
    straight, resumed = (folder / f'{folder.name}-{part}' / 'iter_9.pth' for part in ('straight', 'resumed'))
    assert differences(straight, resumed) == []
    return torch.load(straight, weights_only=True)


@pytest.mark.parametrize(
    'options', [(), ('use_fp16=True',), ('optimizer_config.update_interval=2',), ('data.workers_per_gpu=1',)], ids=str
)
def test_one_process(config, tmp_path, options):
    both_ways(config, tmp_path / 'one', *options)
    groups = check(tmp_path / 'one')['optimizer']['param_groups']
    assert {round(group.get('lr_scale', 1.0), 6) for group in groups} == {0.64, 0.8, 1.0}
    rates = {group['lr'] / group.get('lr_scale', 1.0) for group in groups}
    assert max(rates) == pytest.approx(min(rates), rel=1e-12)


def test_the_mixing_is_another_in_every_iteration_and_part_of_the_seed(config, tmp_path):
    """Without it, or with another seed, a run ends elsewhere; workers do not matter."""
    ends = [
        torch.load(
            train(config, tmp_path / str(i), *options, curves=False, seed=seed) / 'iter_9.pth', weights_only=True
        )['state_dict']
        for i, (seed, options) in enumerate(
            [
                (0, ()),
                (0, ('data.workers_per_gpu=2',)),
                (1, ()),
                (0, ('model.mixup=None',)),
                (0, ('model.mixup.prob=1.0',)),
            ]
        )
    ]
    key = 'head.fc_cls.weight'
    assert torch.equal(ends[0][key], ends[1][key])
    assert not any(torch.equal(ends[0][key], other[key]) for other in ends[2:])


@pytest.mark.dist
def test_two_processes(config, tmp_path):
    """Each mixes its own half of the batch, and a resumed run goes on as a straight one. Without mixing, two end where one ends."""
    run_ranks(two, 2, config, tmp_path / 'two', timeout=120)
    assert check(tmp_path / 'two')['meta']['fingerprint']['world_size'] == 2
    train(config, tmp_path / 'plain', *PLAIN, curves=False)
    one, other = (
        torch.load(folder / 'iter_9.pth', weights_only=True)
        for folder in (tmp_path / 'plain', tmp_path / 'two' / 'plain')
    )
    for key, value in one['state_dict'].items():
        torch.testing.assert_close(other['state_dict'][key], value, rtol=1e-4, atol=1e-6)


PLAIN = ('model.mixup=None', 'model.head.label_smoothing=0.1', 'model.backbone.drop_path_rate=0.', 'optimizer.type=SGD')


def two(config, folder):
    both_ways(config, folder, 'data.imgs_per_gpu=2', launcher='pytorch')
    train(config, folder / 'plain', 'data.imgs_per_gpu=2', *PLAIN, launcher='pytorch', curves=False)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('data.imgs_per_gpu=3',), 'data.imgs_per_gpu=3 must be even'),
        (
            ('data.imgs_per_gpu=10', 'data.drop_last=False', 'data.train.data_source.list_file=ODD'),
            'has 1 per process: set data.drop_last',
        ),
    ],
)
def test_odd_batches_are_refused_before_training(config, tmp_path, options, message):
    (tmp_path / 'odd.txt').write_text(''.join(f'{i:03d}.jpg {i % 5}\n' for i in range(11)))
    with pytest.raises(ConfigError, match=message):
        train(
            config,
            tmp_path / 'odd',
            *(option.replace('ODD', str(tmp_path / 'odd.txt')) for option in options),
            curves=False,
        )
