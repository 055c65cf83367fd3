"""A few registered types of known arguments, so that messages can be compared letter by letter."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn

from selfsup.config import arguments
from selfsup.registry import Registry


class MOCO(nn.Module):
    def __init__(self, backbone, neck=None, head=None, queue_len=65536):
        super().__init__()


class Base:
    def __init__(self, root, list_file, memcached=False):
        pass


class ImageNet(Base):
    def __init__(self, *args, split='train', **kwargs):
        super().__init__(*args, **kwargs)


class ResNet(nn.Module):
    def __init__(self, depth, norm_cfg=None, conv_cfg=None):
        super().__init__()


class AnyBackbone(nn.Module):
    def __init__(self, name, **kwargs):
        super().__init__()


class LinearNeck:
    def __init__(self, in_channels, out_channels):
        pass


class Dataset:
    def __init__(self, data_source, pipeline, prefetch=False):
        pass


class ToTensor:
    pass


class Resize:
    def __init__(self, size):
        pass


class RandomAppliedTrans:
    def __init__(self, transforms, p=0.5):
        pass


class CheckpointHook:
    def __init__(self, interval=1, by_epoch=True, max_keep_ckpts=-1, save_last=True):
        pass


class LoggerHook:
    def __init__(self, interval=50):
        pass


class ValidateHook:
    def __init__(self, dataset, interval=1):
        pass


class PolicyLR:
    def __init__(self, optimizer, iters_per_epoch, max_iters, **policy):
        pass


class CosineWeightDecay:
    def __init__(self, optimizer, end, max_iters):
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


KINDS = {
    'MODELS': ('algorithm', [MOCO]),
    'BACKBONES': ('backbone', [ResNet, AnyBackbone]),
    'NECKS': ('neck', [LinearNeck]),
    'HEADS': ('head', []),
    'DATASETS': ('dataset', [Dataset]),
    'DATA_SOURCES': ('data source', [ImageNet]),
    'PIPELINES': ('pipeline step', [ToTensor, Resize, RandomAppliedTrans]),
    'OPTIMIZERS': ('optimizer', [torch.optim.SGD, torch.optim.AdamW]),
    'HOOKS': (
        'hook',
        [CheckpointHook, LoggerHook, ValidateHook, CollapseHook, RuntimeInfoHook, IterTimerHook, ParamSchedulerHook],
    ),
    'PARAM_SCHEDULERS': ('parameter scheduler', [PolicyLR, CosineWeightDecay]),
    'SAMPLERS': ('sampler', [EpochSampler, DefaultSampler]),
}
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
    tables = {}
    for key, (name, classes) in KINDS.items():
        tables[key] = Registry(name, scope=f'test_{key}')
        for cls in classes:
            tables[key].register_module(module=cls)
    monkeypatch.setattr(arguments, '_registry', tables.__getitem__)
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = 'x.py') -> str:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(textwrap.dedent(text))
        return name

    write.text = SMALL
    return write
