"""Parameter groups with layer-wise decay for detectron2's ResNets; torch only, so that it can be tested without detectron2.

As SparK's detectors (arXiv:2301.03580) are trained: a parameter of layer i of N has LR_DECAY ** (N + 1 - i) times the base rate; pyramid
and heads are layer N + 1.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from selfsup.errors import ConfigError, did_you_mean

OPTIMIZERS = ('sgd', 'adam', 'adamw')  # adam is AdamW, as documented
BLOCKS_OF_RES4 = {18: 2, 34: 6, 50: 6, 101: 23}
_BLOCK = re.compile(r'(?:^|\.)res([2-5])\.(\d+)\.')
_NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LocalResponseNorm,
)


def lr_factor(name: str, decay: float, depth: int = 50) -> float:
    """Factor of the learning rate of a parameter.

    Args:
        name: as in the detectron2 model: `backbone.bottom_up.res4.3.conv1.weight`, `roi_heads.res5.0.conv1.weight`.
        decay: per layer, in (0, 1]; 0 stands for 1, as documented.
        depth: of the ResNet: 18, 34, 50 (6 layers with the stem) or 101 (12).

    Raises:
        ConfigError: `decay` outside of the above, or a `depth` for which there is no table.
    """
    if not 0 <= decay <= 1:
        raise ConfigError(f'SOLVER.LR_DECAY={decay!r} must lie in (0, 1], or be 0 for none.')
    if decay in (0, 1):
        return 1.0
    if depth not in BLOCKS_OF_RES4:
        raise ConfigError(
            f'SOLVER.LR_DECAY={decay} has no layers for MODEL.RESNETS.DEPTH={depth}: use {sorted(BLOCKS_OF_RES4)}, or '
            'LR_DECAY 1.0.'
        )
    last = 5 if depth <= 50 else 11
    block = _BLOCK.search(name)
    if block is None:
        layer = 0 if re.search(r'(^|\.)stem\.', name) else last + 1
    else:
        stage = int(block[1])
        layer = {2: 1, 3: 2, 4: 3 + int(block[2]) // 3, 5: last}[stage]
    return decay ** (last + 1 - layer)


def param_groups(
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    weight_decay_norm: float,
    weight_decay_bias: float | None = None,
    bias_lr_factor: float = 1.0,
    decay: float = 1.0,
    depth: int = 50,
) -> list[dict[str, Any]]:
    """One group per learning rate and weight decay; every trainable parameter once.

    Args:
        model: the detector.
        lr: SOLVER.BASE_LR.
        weight_decay: SOLVER.WEIGHT_DECAY.
        weight_decay_norm: SOLVER.WEIGHT_DECAY_NORM, of all norm layers.
        weight_decay_bias: SOLVER.WEIGHT_DECAY_BIAS; None: as other weights.
        bias_lr_factor: SOLVER.BIAS_LR_FACTOR.
        decay: SOLVER.LR_DECAY, see `lr_factor`.
        depth: MODEL.RESNETS.DEPTH.
    """
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    seen: set[nn.Parameter] = set()
    for path, module in model.named_modules():
        for name, value in module.named_parameters(recurse=False):
            if not value.requires_grad or value in seen:
                continue
            seen.add(value)
            bias, norm = name == 'bias', isinstance(module, _NORMS)
            rate = lr * lr_factor(f'{path}.{name}', decay, depth) * (bias_lr_factor if bias else 1.0)
            regular = weight_decay if weight_decay_bias is None or not bias else weight_decay_bias
            key = (rate, weight_decay_norm if norm else regular)
            group = groups.setdefault(key, {'params': [], 'param_names': [], 'lr': key[0], 'weight_decay': key[1]})
            group['params'].append(value)
            group['param_names'].append(f'{path}.{name}')
    return list(groups.values())


def optimizer_class(name: str) -> type[torch.optim.Optimizer]:
    """What SOLVER.OPTIMIZER names, in upper or lower case.

    Raises:
        ConfigError: none of `OPTIMIZERS`.
    """
    if str(name).lower() not in OPTIMIZERS:
        raise ConfigError(f'SOLVER.OPTIMIZER={name!r} is unknown.{did_you_mean(str(name), OPTIMIZERS)}')
    return torch.optim.SGD if name.lower() == 'sgd' else torch.optim.AdamW
