"""SLaK (arXiv:2207.03620), a ConvNeXt with other depthwise units. Our names are the authors'; timm and torchvision have none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from ...models.backbones.slak import SLaK
from .convnext import BLOCK, cut, infer_sizes
from .family import Family, Spelling


def _infer(weights: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    """Sizes, and kernel sizes and kind of the units, trained or merged."""
    config = infer_sizes(weights, source, 'SLaK')
    beginnings = [f'stages.{stage}.0.large_kernel.' for stage in range(len(config['depths']))]
    units = [
        {name.removeprefix(beginning): value for name, value in weights.items() if name.startswith(beginning)}
        for beginning in beginnings
    ]
    merged = any('_reparam' in name for name in units[0])
    decom = any(name.startswith('LoRA1') for name in units[0])
    main = {
        (True, True): 'LoRA1_reparam.weight',
        (True, False): 'lkb_reparam.weight',
        (False, True): 'LoRA1.conv.weight',
        (False, False): 'lkb_origin.conv.weight',
    }[merged, decom]
    for beginning, unit in zip(beginnings, units, strict=True):
        if main not in unit:
            raise KeyError(f'{beginning}{main}')
    large, small = tuple(unit[main].shape[-2] for unit in units), units[0][main].shape[-1]
    if not decom:  # a short edge above all long ones says that there is no small kernel
        edges = [unit['small_conv.conv.weight'].shape[-1] for unit in units if 'small_conv.conv.weight' in unit]
        small = max(edges, default=max(large) + 1)
    config = {**config, 'kernel_size': (*large, small), 'decom': decom}
    if merged:
        return {**config, 'merged': True}
    return config if any('.bn.' in name for name in units[0]) else {**config, 'norm_cfg': None}


def _cut(config: Mapping[str, Any], stages: int) -> dict[str, Any]:
    return {**cut(config, stages), 'kernel_size': (*config['kernel_size'][:stages], config['kernel_size'][-1])}


def _merge(backbone: nn.Module) -> nn.Module:
    return cast(SLaK, backbone).merge()


SLAK = Family(
    name='SLaK',
    networks=('SLaK',),
    types=('SLaK',),
    spellings=(Spelling("authors' names", re.compile(r'stages\.\d+\.\d+\.large_kernel\.')),),
    block=BLOCK,
    infer=_infer,
    cut=_cut,
    merge=_merge,
)
