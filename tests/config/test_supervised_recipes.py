"""The supervised recipes of SLaK and ConvNeXt: their published numbers, and what a config may get wrong."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
import torch

from selfsup.config import compile_config, load, to_text
from selfsup.errors import ConfigError, SelfSupWarning
from selfsup.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
FOLDER = 'configs/classification/imagenet'
# epochs, images per GPU, update interval, drop path, steps between exchanges, prune rate, kernels
SLAK = {
    'slak_tiny': (300, 128, 8, 0.1, 2000, 0.5, (51, 49, 47, 13, 5)),
    'slak_small': (300, 64, 8, 0.4, 100, 0.3, (51, 49, 47, 13, 5)),
    'slak_base': (300, 32, 8, 0.5, 100, 0.3, (51, 49, 47, 13, 5)),
    'slak_tiny_120e': (120, 128, 8, 0.1, 2000, 0.5, (51, 49, 47, 13, 5)),
    'slak_tiny_120e_k31': (120, 128, 8, 0.1, 2000, 0.5, (31, 29, 27, 13, 5)),
    'slak_tiny_120e_k61': (120, 128, 8, 0.1, 2000, 0.5, (61, 59, 57, 13, 5)),
}
SCHEDULE = {
    'type': 'PolicyLR',
    'policy': 'WarmupCosine',
    'min_lr': 1e-6,
    'warmup': 'linear',
    'warmup_iters': 20,
    'warmup_by_epoch': True,
    'warmup_ratio': 0.0,
    'reach_peak': True,
    'by_epoch': True,
}
MIXUP = {
    'type': 'Mixup',
    'mixup_alpha': 0.8,
    'cutmix_alpha': 1.0,
    'prob': 1.0,
    'switch_prob': 0.5,
    'mode': 'batch',
    'label_smoothing': 0.1,
}
TRAIN = ['RandomResizedCrop', 'RandomHorizontalFlip', 'TIMMAutoAugment', 'ToTensor', 'Normalize', 'RandomErasing']


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def compiled(name):
    return compile_config(load(f'{FOLDER}/{name}.py'))


def global_batch(name, cfg):
    gpus = int(re.search(rf'{name}\.py (\d+)', (ROOT / FOLDER / f'{name}.py').read_text())[1])
    return gpus * cfg['train_dataloader']['batch_size'] * cfg['optim_wrapper']['accumulative_counts']


@pytest.mark.parametrize('name', [*SLAK, 'convnext_tiny'])
def test_what_all_recipes_share(name):
    cfg = compiled(name)
    assert cfg['model']['mixup'] == MIXUP and cfg['train_dataloader']['drop_last']
    pipeline = cfg['train_dataloader']['dataset']['pipeline']
    assert [step['type'] for step in pipeline] == TRAIN
    assert pipeline[0]['interpolation'] == 3 and pipeline[2]['policy'] == 'rand-m9-mstd0.5-inc1'
    assert (pipeline[-1]['p'], pipeline[-1]['value']) == (0.25, 'random')
    hooks = {hook['type']: hook for hook in cfg['custom_hooks']}
    assert hooks['EMAHook'] == {'type': 'EMAHook', 'momentum': 0.9999, 'evaluate': True}
    assert [step.get('size') for step in hooks['ValidateHook']['dataset']['pipeline'][:2]] == [256, 224]
    optimizer = cfg['optim_wrapper']['optimizer']
    assert (optimizer['type'], optimizer['weight_decay']) == ('AdamW', 0.05)
    options = cfg['optim_wrapper']['paramwise_options']
    assert options[''] == {'max_ndim': 1, 'weight_decay': 0.0} and len(options) == 2


@pytest.mark.parametrize('name', [*SLAK, 'convnext_tiny'])
def test_training_from_scratch(name):
    cfg = compiled(name)
    assert cfg['param_scheduler'] == [SCHEDULE] and cfg['optim_wrapper']['optimizer']['lr'] == 4e-3
    assert cfg['optim_wrapper']['optimizer']['betas'] == (0.9, 0.999) and cfg['optim_wrapper']['type'] == 'OptimWrapper'
    assert global_batch(name, cfg) == 4096


@pytest.mark.parametrize('name', SLAK)
def test_slak(name):
    cfg = compiled(name)
    backbone, sparse = cfg['model']['backbone'], cfg['custom_hooks'][0]
    found = (
        cfg['train_cfg']['max_epochs'],
        cfg['train_dataloader']['batch_size'],
        cfg['optim_wrapper']['accumulative_counts'],
        backbone['drop_path_rate'],
        sparse['update_interval'],
        sparse['prune_rate'],
        backbone['kernel_size'],
    )
    assert found == SLAK[name]
    assert backbone['width_factor'] == 1.3 and backbone['norm_cfg'] == {'type': 'SyncBN'}
    assert {key: sparse[key] for key in ('sparsity', 'init', 'growth')} == {
        'sparsity': 0.4,
        'init': 'snip',
        'growth': 'random',
    }
    assert cfg['model']['head']['in_channels'] == (1331 if 'base' in name else 998)


@pytest.mark.parametrize(
    ('name', 'parameters'),
    [('slak_tiny', 50_703_838), ('slak_small', 91_131_820), ('slak_base', 157_950_792), ('convnext_tiny', 28_589_128)],
)
def test_parameters_are_as_many_as_in_the_authors_networks(name, parameters):
    with torch.device('meta'), warnings.catch_warnings():
        warnings.simplefilter('ignore', SelfSupWarning)  # SyncBN
        model = MODELS.build(compiled(name)['model'])
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_layer_decay_in_either_form(tmp_path):
    short = load(f'{FOLDER}/convnext_tiny.py', ["optimizer.layer_decay={'rate': 0.7, 'groups': 'spark'}"])
    cfg = compile_config(short)
    assert cfg['optim_wrapper']['layer_decay'] == {'rate': 0.7, 'groups': 'spark'}
    assert 'layer_decay' not in cfg['optim_wrapper']['optimizer']
    again = tmp_path / 'own.py'
    again.write_text(to_text(cfg))
    assert compile_config(load(again)) == cfg
    assert 'layer_decay' not in compiled('convnext_tiny')['optim_wrapper']


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        (
            "optimizer.layer_decay={'rate': 1.1}",
            'optimizer.layer_decay.rate=1.1 (--cfg-options) must be a number in (0, 1].',
        ),
        (
            "optimizer.layer_decay={'rate': 0}",
            'optimizer.layer_decay.rate=0 (--cfg-options) must be a number in (0, 1].',
        ),
        ('optimizer.layer_decay=0.9', 'optimizer.layer_decay=0.9 (--cfg-options) must be a dict or None.'),
        (
            "optimizer.layer_decay={'groups': 'single'}",
            "optimizer.layer_decay (--cfg-options) lacks 'rate', for example rate=0.9.",
        ),
        (
            "optimizer.layer_decay={'rate': .9, 'groups': 'singel'}",
            "must be 'single', 'group' or 'spark'. Did you mean 'single'?",
        ),
        ('optimizer.layer_decy=0.9', "is not an argument of AdamW. Did you mean 'layer_decay'"),
        (
            'model.mixup.mixup_alhpa=1',
            "model.mixup.mixup_alhpa (--cfg-options) is not an argument of Mixup. Did you mean 'mixup_alpha'",
        ),
        (
            "model.mixup={'type': 'MixUp'}",
            "model.mixup.type='MixUp' (--cfg-options) is not a batch augmentation. Did you mean 'Mixup'",
        ),
        ('lr_config.reach_peak=1', 'lr_config.reach_peak=1 (--cfg-options) must be True or False.'),
        ("data.train.pipeline.2.polcy='rand'", "is not an argument of TIMMAutoAugment. Did you mean 'policy'"),
    ],
)
def test_misspelt_keys(option, message):
    with pytest.raises(ConfigError) as error:
        load(f'{FOLDER}/convnext_tiny.py', [option])
    assert message in str(error.value)
