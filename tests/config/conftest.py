"""A few registered types of known arguments, so that messages can be compared letter by letter."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pytest
import torch
from torch import nn

from selfsup.arguments import Layer, Part
from selfsup.config import typed
from selfsup.registry import Registry

NAMES = {
    'MODELS': 'algorithm',
    'BACKBONES': 'backbone',
    'NECKS': 'neck',
    'HEADS': 'head',
    'DATASETS': 'dataset',
    'DATA_SOURCES': 'data source',
    'PIPELINES': 'pipeline step',
    'OPTIMIZERS': 'optimizer',
    'HOOKS': 'hook',
    'PARAM_SCHEDULERS': 'parameter scheduler',
    'SAMPLERS': 'sampler',
}
TABLES = {key: Registry(name, scope=f'test_{key}') for key, name in NAMES.items()}
Steps = Sequence[Annotated[dict, Part(TABLES['PIPELINES'])]]
NORMS = ('BN', 'BN1d', 'BN2d', 'BN3d', 'SyncBN', 'GN', 'LN', 'LN2d', 'IN', 'IN1d', 'IN2d', 'IN3d')


class MOCO(nn.Module):
    def __init__(
        self,
        backbone: Annotated[dict, Part(TABLES['BACKBONES'])],
        neck: Annotated[dict | None, Part(TABLES['NECKS'])] = None,
        head: Annotated[dict | None, Part(TABLES['HEADS'])] = None,
        queue_len=65536,
    ):
        super().__init__()


class Base:
    def __init__(self, root, list_file, memcached=False):
        pass


class ImageNet(Base):
    def __init__(self, *args, split='train', **kwargs):
        super().__init__(*args, **kwargs)


class ResNet(nn.Module):
    def __init__(self, depth, norm_cfg: Annotated[dict | None, Layer(NORMS)] = None, conv_cfg=None):
        super().__init__()


class AnyBackbone(nn.Module):
    def __init__(self, name, **kwargs):
        super().__init__()


class LinearNeck:
    def __init__(self, in_channels, out_channels):
        pass


class Dataset:
    def __init__(self, data_source: Annotated[dict, Part(TABLES['DATA_SOURCES'])], pipeline: Steps, prefetch=False):
        pass


class ToTensor:
    pass


class Resize:
    def __init__(self, size):
        pass


class RandomAppliedTrans:
    def __init__(self, transforms: Steps, p=0.5):
        pass


class CheckpointHook:
    def __init__(self, interval=1, by_epoch=True, max_keep_ckpts=-1, save_last=True):
        pass


class LoggerHook:
    def __init__(self, interval=50):
        pass


class ValidateHook:
    def __init__(self, dataset: Annotated[dict, Part(TABLES['DATASETS'])], interval=1):
        pass


class PolicyLR:
    def __init__(self, optimizer, iters_per_epoch, max_iters, **policy):
        pass


class CosineWeightDecay:
    def __init__(self, optimizer, end, max_iters, reach_end=True):
        pass


class EpochSampler:
    def __init__(self, dataset, shuffle=True, replace=False):
        pass


class DefaultSampler:
    def __init__(self, dataset, shuffle=True, seed=None, round_up=True):
        pass


class CollapseHook:
    pass


class RuntimeInfoHook:
    pass


class IterTimerHook:
    pass


class ParamSchedulerHook:
    pass


CLASSES = {
    'MODELS': [MOCO],
    'BACKBONES': [ResNet, AnyBackbone],
    'NECKS': [LinearNeck],
    'DATASETS': [Dataset],
    'DATA_SOURCES': [ImageNet],
    'PIPELINES': [ToTensor, Resize, RandomAppliedTrans],
    'HOOKS': [
        CheckpointHook,
        LoggerHook,
        ValidateHook,
        CollapseHook,
        RuntimeInfoHook,
        IterTimerHook,
        ParamSchedulerHook,
    ],
    'PARAM_SCHEDULERS': [PolicyLR, CosineWeightDecay],
    'SAMPLERS': [EpochSampler, DefaultSampler],
}
for key, classes in CLASSES.items():
    for cls in classes:
        TABLES[key].register_module()(cls)
for cls in (torch.optim.SGD, torch.optim.AdamW):
    TABLES['OPTIMIZERS'].register_module(module=cls)
SMALL = """
model = dict(type='MOCO', backbone=dict(type='ResNet', depth=50), neck=dict(type='LinearNeck', in_channels=8, out_channels=4))
data = dict(imgs_per_gpu=32, workers_per_gpu=4, train=dict(
    type='Dataset', data_source=dict(type='ImageNet', root='r', list_file='l'), pipeline=STEPS))
optimizer = dict(type='SGD', lr=0.03, momentum=0.9)
lr_config = dict(policy='CosineAnnealing', min_lr=0.)
total_epochs = 200
""".lstrip().replace('STEPS', "[dict(type='Resize', size=8), dict(type='ToTensor')]")  # lines 1 to 6


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Registries of the types above, the working directory in `tmp_path`; returns a function that writes a
    file there; its `text` is a small config without mistakes."""
    monkeypatch.setattr(typed, 'registry_of', TABLES.__getitem__)
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = 'x.py') -> str:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(textwrap.dedent(text))
        return name

    write.text = SMALL
    return write
