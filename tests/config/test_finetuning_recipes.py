"""The fine-tuning configs: their published numbers, and their parameter groups against those of the authors' codes."""

from __future__ import annotations

import json
import re
import warnings
from functools import cache
from pathlib import Path

import pytest
import torch

from selfsup.config import compile_config, load
from selfsup.errors import SelfSupWarning
from selfsup.optim.base_lr import scaled_lr
from selfsup.optim.paramwise import param_groups
from selfsup.registry import MODELS, SAMPLERS

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / 'configs' / 'benchmarks' / 'finetuning' / 'imagenet'
IMAGENET = {'type': 'Normalize', 'mean': [0.485, 0.456, 0.406], 'std': [0.229, 0.224, 0.225]}
GOLDEN = json.loads((ROOT / 'tests' / 'golden' / 'param_groups.json').read_text())
# base_lr, epochs, warm-up, layer decay, weight decay, drop path, alpha of Mixup, alpha of CutMix, smoothing; parameters
SMALL = (2e-4, 600, 0, (0.9, 'single'))
CONVNEXT_V2 = {
    'atto': (*SMALL, 0.3, 0.1, 0, 0, 0.2, 3_708_400),
    'femto': (*SMALL, 0.05, 0.0, 0.3, 0.3, 0.2, 5_233_240),
    'pico': (*SMALL, 0.3, 0.0, 0.3, 0.3, 0.2, 9_066_280),
    'nano': (*SMALL, 0.3, 0.1, 0.5, 0.5, 0.2, 15_623_800),
    'tiny': (8e-4, 300, 40, (0.9, 'single'), 0.05, 0.2, 0.8, 1.0, 0.1, 28_635_496),
    'base': (6.25e-4, 100, 20, (0.6, 'group'), 0.05, 0.1, 0.8, 1.0, 0.1, 88_717_800),
    'large': (6.25e-4, 100, 20, (0.6, 'group'), 0.05, 0.2, 0.8, 1.0, 0.1, 197_956_840),
    'huge': (1.25e-3, 50, 10, (0.75, 'single'), 0.05, 0.3, 0.8, 1.0, 0.1, 660_289_640),
}
# pixels, epochs, layer decay, drop path, average; parameters. Table 13 of the paper
NT, BL, H = (90, (0.9, 'single'), 0.1, 0.9999), (30, (0.8, 'group')), (30, (0.85, 'single'), 0.5, None, 660_289_640)
AFTER_22K = {
    'nano_after22k': (224, *NT, 15_623_800),
    'nano_after22k_384': (384, *NT, 15_623_800),
    'tiny_after22k': (224, *NT, 28_635_496),
    'tiny_after22k_384': (384, *NT, 28_635_496),
    'base_after22k': (224, *BL, 0.2, 0.9999, 88_717_800),
    'base_after22k_384': (384, *BL, 0.2, 0.9999, 88_717_800),
    'large_after22k': (224, *BL, 0.3, 0.9999, 197_956_840),
    'large_after22k_384': (384, *BL, 0.3, 0.9999, 197_956_840),
    'huge_after22k_384': (384, *H),
    'huge_after22k_512': (512, *H),
}
# batch, epochs, warm-up, peak rate, rate of layer decay, weight decay, alpha of Mixup, views per image, drop path, average; parameters
SPARK = {
    'convnext_s': (4096, 400, 20, 3.2e-3, 0.7, 0.01, 0.8, 3, 0.3, 0.9999, 50_223_688),
    'convnext_b': (4096, 400, 20, 1.6e-3, 0.7, 0.01, 0.8, 3, 0.4, 0.9999, 88_591_464),
    'convnext_l': (4096, 200, 10, 1.6e-3, 0.7, 0.02, 0.8, 3, 0.5, 0.9999, 197_767_336),
    'convnext_l_384': (1024, 200, 20, 2.4e-4, 0.7, 0.01, 0.8, 3, 0.5, 0.99995, 197_767_336),
    'r50': (2048, 300, 5, 1.6e-2, 0.7, 0.02, 0.1, 1, 0.05, 0.9999, 25_557_032),
    'r101': (2048, 300, 5, 8e-3, 0.8, 0.02, 0.1, 1, 0.2, 0.9999, 44_549_160),
    'r152': (2048, 300, 5, 8e-3, 0.8, 0.02, 0.1, 1, 0.2, 0.9999, 60_192_808),
    'r200': (2048, 300, 5, 8e-3, 0.8, 0.02, 0.1, 1, 0.2, 0.9999, 64_673_832),
}
ALL = {
    **{f'convnextv2_{name}': row for name, row in (CONVNEXT_V2 | AFTER_22K).items()},
    **{f'spark_{name}': row for name, row in SPARK.items()},
}


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@cache
def compiled(name, *options):
    return compile_config(load(str((FOLDER / f'{name}.py').relative_to(ROOT)), list(options)))


def on_no_device(cfg):
    with torch.device('meta'), warnings.catch_warnings():
        warnings.simplefilter('ignore', SelfSupWarning)  # SyncBN
        return MODELS.build(cfg['model'])


def gpus_of(name):
    return int(re.search(rf'{name}\.py (\d+) --pretrained WEIGHTS', (FOLDER / f'{name}.py').read_text())[1])


def images_per_step(name, cfg):
    return gpus_of(name) * cfg['train_dataloader']['batch_size'] * cfg['optim_wrapper']['accumulative_counts']


def hook(cfg, kind):
    (found,) = [hook for hook in cfg['custom_hooks'] if hook['type'] == kind]
    return found


def test_every_config_stands_in_the_tables():
    """That of this file and that of the documentation, which names the top-1 of the docstring."""
    assert {path.stem for path in FOLDER.glob('*.py')} == set(ALL)
    rows = {
        row.split(']')[0].removeprefix('| ['): row
        for row in (ROOT / 'docs' / 'benchmarks' / 'finetuning.md').read_text().splitlines()
    }
    for name in ALL:
        top1 = re.search(r'top-1 ([\d.]+)\.', (FOLDER / f'{name}.py').read_text())[1]
        assert f'/{name}.py)' in rows[name] and rows[name].endswith(f'| {top1} |')
        assert ('**assumed**' in rows[name]) == ('Assumed' in (FOLDER / f'{name}.py').read_text())


@pytest.mark.parametrize('name', ALL)
def test_what_all_recipes_share(name):
    cfg = compiled(name)
    spark, resnet = name.startswith('spark'), name.startswith('spark_r')
    head, optimizer, schedule = cfg['model']['head'], cfg['optim_wrapper']['optimizer'], dict(cfg['param_scheduler'][0])
    assert optimizer['betas'] == (0.9, 0.999) and 'eps' not in optimizer  # 1e-8 for AdamW, 1e-6 for LAMB
    assert head.get('norm_cfg') == (None if resnet else {'type': 'LN', 'eps': 1e-6}) and head['num_classes'] == 1000
    for key in ('warmup_iters', 'type'):
        schedule.pop(key, None)
    warm = {'warmup': 'linear', 'warmup_by_epoch': True, 'warmup_ratio': 0.005 if spark else 0.0}
    assert schedule == {
        'policy': 'WarmupCosine',
        'by_epoch': True,
        **(warm if 'warmup' in schedule else {}),
        **({'min_lr_ratio': 0.001, 'reach_end': True} if spark else {'min_lr': 1e-6}),
    }
    mixup = cfg['model']['mixup']
    assert mixup is None or {
        key: mixup.get(key, default) for key, default in (('prob', 1.0), ('switch_prob', 0.5), ('mode', 'batch'))
    } == {'prob': 1.0, 'switch_prob': 0.5, 'mode': 'batch'}
    loader = cfg['train_dataloader']
    crop, flip, augment, *normalise, erasing = loader['dataset']['pipeline']
    assert crop == {'type': 'RandomResizedCrop', 'size': augment.get('size', 224), 'interpolation': 3}
    assert loader['drop_last'] == (not resnet)
    assert flip == {'type': 'RandomHorizontalFlip'} and normalise == [{'type': 'ToTensor'}, IMAGENET]
    assert erasing == {
        'type': 'RandomErasing',
        'p': 0.25,
        'scale': (0.02, 1 / 3),
        'ratio': (0.3, 1 / 0.3),
        'value': 'random',
    }
    resize, *rest = hook(cfg, 'ValidateHook')['dataset']['pipeline']
    assert (resize['type'], resize['interpolation']) == ('Resize', 3) and rest[-2:] == normalise


@pytest.mark.parametrize('name', CONVNEXT_V2)
def test_convnext_v2(name):
    cfg = compiled(f'convnextv2_{name}')
    wrapper, schedule, head, mixup = (
        cfg['optim_wrapper'],
        cfg['param_scheduler'][0],
        cfg['model']['head'],
        cfg['model']['mixup'],
    )
    mixed = (
        (mixup['mixup_alpha'], mixup['cutmix_alpha'], mixup['label_smoothing'])
        if mixup
        else (0, 0, head['label_smoothing'])
    )
    found = (
        wrapper['optimizer']['base_lr'],
        cfg['train_cfg']['max_epochs'],
        schedule.get('warmup_iters', 0),
        (wrapper['layer_decay']['rate'], wrapper['layer_decay']['groups']),
        wrapper['optimizer']['weight_decay'],
        cfg['model']['backbone']['drop_path_rate'],
        *mixed,
    )
    assert found == CONVNEXT_V2[name][:-1]
    assert (wrapper['type'], wrapper['optimizer']['type'], wrapper['clip_grad']) == ('AmpOptimWrapper', 'AdamW', None)
    assert (schedule['policy'], schedule['min_lr'], schedule.get('reach_peak')) == ('WarmupCosine', 1e-6, None)
    assert (
        images_per_step(f'convnextv2_{name}', cfg) == 1024
        and head['init_std'] == 2e-5
        and head.get('criterion', 'ce') == 'ce'
    )
    assert hook(cfg, 'EMAHook') == {'type': 'EMAHook', 'momentum': 0.9999, 'evaluate': True}
    assert [step.get('policy') for step in cfg['train_dataloader']['dataset']['pipeline']].count(
        'rand-m9-mstd0.5-inc1'
    ) == 1
    assert [step.get('size') for step in hook(cfg, 'ValidateHook')['dataset']['pipeline'][:2]] == [256, 224]


@pytest.mark.parametrize('name', AFTER_22K)
def test_convnext_v2_after_imagenet_22k(name):
    cfg = compiled(f'convnextv2_{name}')
    wrapper, head, pipeline = cfg['optim_wrapper'], cfg['model']['head'], cfg['train_dataloader']['dataset']['pipeline']
    averages = [hook['momentum'] for hook in cfg['custom_hooks'] if hook['type'] == 'EMAHook']
    size, *rest, _ = AFTER_22K[name]
    assert rest == [
        cfg['train_cfg']['max_epochs'],
        (wrapper['layer_decay']['rate'], wrapper['layer_decay']['groups']),
        cfg['model']['backbone']['drop_path_rate'],
        averages[0] if averages else None,
    ]
    assert (
        wrapper['type'],
        wrapper['optimizer']['type'],
        wrapper['optimizer']['base_lr'],
        wrapper['optimizer']['weight_decay'],
    ) == ('AmpOptimWrapper', 'AdamW', 2.5e-5, 1e-8)
    # No warm-up
    assert cfg['param_scheduler'] == [{'type': 'PolicyLR', 'policy': 'WarmupCosine', 'min_lr': 1e-6, 'by_epoch': True}]
    assert images_per_step(f'convnextv2_{name}', cfg) == 512
    assert (cfg['model']['mixup'], head['label_smoothing'], head['init_std']) == (None, 0.1, 2e-5)
    assert [step['type'] for step in pipeline] == [
        'RandomResizedCrop',
        'RandomHorizontalFlip',
        'TIMMAutoAugment',
        'ToTensor',
        'Normalize',
        'RandomErasing',
    ]
    assert [step.get('size') for step in pipeline[:3]] == [size, None, size]
    for dataset in (hook(cfg, 'ValidateHook')['dataset'], cfg['val_dataloader']['dataset']):
        assert [step['size'] for step in dataset['pipeline'] if 'size' in step] == (
            [256, 224] if size == 224 else [(size, size)]
        )


@pytest.mark.parametrize('name', ALL)
def test_steps_of_an_epoch_of_imagenet(name):
    """SparK's code keeps a smaller last batch, ConvNeXt V2's leaves it out; a step of fewer iterations may end an epoch."""
    cfg = compiled(name)
    loader = cfg['train_dataloader']
    sampler = SAMPLERS.build(
        {
            **loader['sampler'],
            'dataset': 1_281_167,
            'world_size': gpus_of(name),
            'batch_size': loader['batch_size'],
            'drop_last': loader['drop_last'],
        }
    )
    steps = -(-sampler.num_batches // cfg['optim_wrapper']['accumulative_counts'])
    assert steps == {2048: 626, 4096: 313, 1024: 1251, 512: 2503 if '512' in name else 2502}[images_per_step(name, cfg)]
    assert len(sampler) % loader['batch_size'] % 2 == 0, 'mixing pairs the images'


@pytest.mark.parametrize('name', SPARK)
def test_spark(name):
    cfg = compiled(f'spark_{name}')
    wrapper, schedule, mixup = cfg['optim_wrapper'], cfg['param_scheduler'][0], cfg['model']['mixup']
    batch = images_per_step(f'spark_{name}', cfg)
    found = (
        batch,
        cfg['train_cfg']['max_epochs'],
        schedule['warmup_iters'],
        pytest.approx(wrapper['optimizer']['base_lr'] * batch / 256),
        wrapper['layer_decay']['rate'],
        wrapper['optimizer']['weight_decay'],
        mixup['mixup_alpha'],
        cfg['train_dataloader']['sampler'].get('num_repeats', 1),
        cfg['model']['backbone']['drop_path_rate'],
        hook(cfg, 'EMAHook')['momentum'],
    )
    assert found == SPARK[name][:-1]
    assert {**mixup, 'mixup_alpha': 0} == {
        'type': 'Mixup',
        'mixup_alpha': 0,
        'cutmix_alpha': 1.0,
        'prob': 1.0,
        'switch_prob': 0.5,
        'mode': 'batch',
        'label_smoothing': 0.1,
    }
    assert (
        wrapper['layer_decay']['groups'] == 'spark'
        and wrapper['type'] == 'OptimWrapper'
        and wrapper['clip_grad'] is None
    )
    if name.startswith('r'):
        assert {k: wrapper['optimizer'][k] for k in ('type', 'max_grad_norm', 'always_adapt', 'bias_correction')} == {
            'type': 'LAMB',
            'max_grad_norm': 1e7,
            'always_adapt': True,
            'bias_correction': False,
        }
        assert cfg['model']['head']['criterion'] == 'bce' and cfg['model']['backbone']['sync_bn']
    else:
        assert wrapper['optimizer']['type'] == 'AdamW' and cfg['model']['head']['init_std'] == 0.02


@pytest.mark.parametrize(
    ('name', 'train', 'test'),
    [
        ('spark_r50', {'type': 'TrivialAugmentWide', 'num_magnitude_bins': 31, 'interpolation': 3}, [235, 224]),
        ('spark_convnext_l', {'type': 'TrivialAugmentWide', 'num_magnitude_bins': 31, 'interpolation': 3}, [235, 224]),
        ('spark_convnext_l_384', {'type': 'TIMMAutoAugment', 'policy': 'v0', 'size': 384}, [(384, 384)]),
    ],
)
def test_images_of_spark(name, train, test):
    cfg = compiled(name)
    pipeline = cfg['train_dataloader']['dataset']['pipeline']
    assert pipeline[2] == train and pipeline[0]['size'] == (384 if '384' in name else 224)
    assert (pipeline[-1]['type'], pipeline[-1]['p'], pipeline[-1]['value']) == ('RandomErasing', 0.25, 'random')
    for dataset in (hook(cfg, 'ValidateHook')['dataset'], cfg['val_dataloader']['dataset']):
        assert [step['size'] for step in dataset['pipeline'] if 'size' in step] == test


@pytest.mark.parametrize('name', ALL)
def test_parameters_are_as_many_as_in_the_authors_networks(name):
    assert sum(p.numel() for p in on_no_device(compiled(name)).parameters()) == ALL[name][-1]


# ---- against the authors' codes ----


def official(name):
    """The authors' name of a parameter."""
    for ours, theirs in (('backbone.model.', ''), ('backbone.', ''), ('head.norm.', 'norm.')):
        name = name.replace(ours, theirs, 1) if name.startswith(ours) else name
    return name


def groups_of(name, *options):
    """(factor of the rate, weight decay) of every parameter, and the groups, as the runner makes them."""
    cfg = compiled(name, *options)
    wrapper = cfg['optim_wrapper']
    optimizer = scaled_lr(wrapper['optimizer'], images_per_step(name, cfg))
    groups = param_groups(on_no_device(cfg), optimizer, wrapper['paramwise_options'], wrapper['layer_decay'])
    for group in groups:
        assert group.get('lr', optimizer['lr']) == pytest.approx(
            optimizer['lr'] * group.get('lr_scale', 1.0), rel=1e-12
        )
    return groups, {
        official(n): (g.get('lr_scale', 1.0), g.get('weight_decay', optimizer['weight_decay']))
        for g in groups
        for n in g['param_names']
    }


@pytest.mark.parametrize(
    ('golden', 'name'),
    [
        ('convnextv2_tiny/single', 'convnextv2_tiny'),
        ('convnextv2_tiny/group', 'convnextv2_tiny'),
        ('convnextv2_base/single', 'convnextv2_base'),
        ('convnextv2_base/group', 'convnextv2_base'),
    ],
)
def test_groups_of_convnext_v2(golden, name):
    """Every parameter, and the groups themselves. The release was run with other rates than the recipe of Base has."""
    expected = GOLDEN[golden]
    layer_decay = {'rate': expected['layer_decay'], 'groups': golden.split('/')[1]}
    if golden == 'convnextv2_tiny/single':  # nothing to change
        groups, found = groups_of(name)
    else:
        groups, found = groups_of(name, f'optimizer.layer_decay={layer_decay}')
    names = {**{n: n for n in found}, 'head.fc_cls.weight': 'head.weight', 'head.fc_cls.bias': 'head.bias'}
    assert {names[n]: row for n, row in found.items()} == {
        n: (scale, decay) for n, (_, scale, decay) in expected['params'].items()
    }
    sizes = [[group.get('lr_scale', 1.0), group.get('weight_decay', 0.05), len(group['params'])] for group in groups]
    assert sizes == expected['groups']


@pytest.mark.parametrize(
    ('golden', 'name', 'decay', 'head'),
    [('resnet50', 'spark_r50', 0.02, 'fc'), ('convnext_small', 'spark_convnext_s', 0.01, 'head')],
)
def test_groups_of_spark(golden, name, decay, head):
    expected = GOLDEN[f'spark_imagenet/{golden}']['params']
    _, found = groups_of(name)
    found = {n.replace('head.fc_cls.', f'{head}.'): row for n, row in found.items()}
    assert set(found) == set(expected)
    for n, (_, _, scale, factor) in expected.items():
        assert found[n] == (pytest.approx(scale, rel=1e-12), decay * factor), n
