"""A ResNet's weights in the form that detectron2 reads as `MODEL.WEIGHTS`: a pickle of numpy arrays under its names.

`stem.conv1`, `res2` to `res5` for `layer1` to `layer4`, `conv1.norm` for `bn1`, `shortcut` and `shortcut.norm` for `downsample.0` and
`downsample.1`. A ResNet-50 has 318 entries: 53 convolutions and 53 batch norms of five, `num_batches_tracked` among them.

detectron2 only logs which weights it could not place, and trains on from random ones. So everything is checked here, before a file exists.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from torch import Tensor

from ..checkpoint_io import write_checkpoint_atomic
from ..errors import CheckpointError

AUTHOR = 'selfsup'
NORM = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')
# what detectron2 builds from RESNETS.DEPTH: (convolutions of a block, blocks per stage) -> depth
DEPTHS = {
    (2, (2, 2, 2, 2)): 18,
    (2, (3, 4, 6, 3)): 34,
    (3, (3, 4, 6, 3)): 50,
    (3, (3, 4, 23, 3)): 101,
    (3, (3, 8, 36, 3)): 152,
}
_BLOCK = re.compile(r'layer([1-4])\.(\d+)\.')


def to_detectron2(state_dict: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """A ResNet's weights under detectron2's names.

    Args:
        state_dict: of the bare backbone, under torchvision's names, perhaps with `model.` before each (a `TIMMBackbone`). Its
            classifier (`fc.`) is left out: a detector has none. Files from which every `num_batches_tracked` was dropped are taken
            as they are.

    Returns:
        Name -> array; float32, `num_batches_tracked` int64.

    Raises:
        CheckpointError: a name that such a ResNet does not have, one that is missing, or a network that detectron2 does not build:
            another stem than 7x7, another number of blocks.
    """
    weights = {name.removeprefix('model.'): value for name, value in state_dict.items()}
    weights = {name: value for name, value in weights.items() if not name.startswith('fc.')}
    expected = _names(weights)
    if not any(name.endswith('.num_batches_tracked') for name in weights):
        expected = [name for name in expected if not name.endswith('.num_batches_tracked')]
    unknown, missing = sorted(weights.keys() - set(expected)), [name for name in expected if name not in weights]
    if unknown or missing:
        raise CheckpointError(
            'These are not the weights of a plain ResNet, which is what detectron2 reads.'
            f'{_list("Unknown", unknown)}{_list("Missing", missing)}'
        )
    if weights['conv1.weight'].shape[-2:] != (7, 7):
        raise CheckpointError(
            f"The stem is a convolution {tuple(weights['conv1.weight'].shape)}; detectron2's has 7x7 kernels "
            "(stem='imagenet')."
        )
    return {detectron2_name(name): _array(weights[name]) for name in expected}


def detectron2_name(name: str) -> str:
    """detectron2's name of a tensor of torchvision's ResNet: `layer1.0.bn1.bias` is `res2.0.conv1.norm.bias`."""
    block = _BLOCK.match(name)
    name = f'res{int(block[1]) + 1}{name[len("layer1") :]}' if block else f'stem.{name}'
    name = re.sub(r'\bbn(\d)\.', r'conv\1.norm.', name)
    return name.replace('downsample.0.', 'shortcut.').replace('downsample.1.', 'shortcut.norm.')


def write_detectron2(path: str | os.PathLike, weights: Mapping[str, np.ndarray], force: bool = False) -> Path:
    """Write what `to_detectron2` gave: a pickled dict of `model`, `__author__` and `matching_heuristics`.

    Args:
        path: file to write; detectron2 takes it for a pickle when its name ends in `.pkl`.
        weights: name -> array.
        force: replace `path` if it exists.

    Raises:
        CheckpointError: another ending, `path` exists and not `force`, or it cannot be written.
    """
    path = Path(path)
    if path.suffix != '.pkl':
        raise CheckpointError(
            f'{path} must end in .pkl: by that detectron2 knows its own format from a torch checkpoint.'
        )
    if path.exists() and not force:
        raise CheckpointError(f'{path} exists; give --force to replace it, or another name.')
    content = {'model': dict(weights), '__author__': AUTHOR, 'matching_heuristics': True}
    return write_checkpoint_atomic(content, path, save=_dump)


class _Pickler(pickle.Pickler):
    """Arrays as calls of `numpy.ndarray`, a name that every numpy has: numpy 2 would write `numpy._core`, which the numpy 1 that
    detectron2 0.6 needs cannot import."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, np.ndarray):
            return np.ndarray, (obj.shape, obj.dtype.str, bytearray(obj.tobytes()))
        return NotImplemented


def _dump(content: dict, file: BinaryIO) -> None:
    _Pickler(file, protocol=4).dump(content)


def _names(weights: Mapping[str, Tensor]) -> list[str]:
    """All names of the ResNet that `weights` seem to come from, judged by its first block, its blocks and its shortcuts.

    Raises:
        CheckpointError: it has no such blocks, or not as many as a ResNet of detectron2.
    """
    found = {(int(block[1]), int(block[2])) for block in map(_BLOCK.match, weights) if block}
    stages = tuple(sum(stage == number for stage, _ in found) for number in (1, 2, 3, 4))
    convs = 3 if 'layer1.0.conv3.weight' in weights else 2
    if (convs, stages) not in DEPTHS:
        known = ', '.join(f'ResNet-{depth} {blocks}' for (_, blocks), depth in DEPTHS.items())
        raise CheckpointError(
            f'The {len(weights)} tensors have {stages} residual blocks in layer1 to layer4. detectron2 builds {known}. '
            "ResNets of other code and prefixes such as 'backbone.' must be converted first "
            f'(tools/extract_backbone_weights.py).{_list("The first names are", list(weights))}'
        )
    names = _unit('conv1', 'bn1')
    for stage, blocks in enumerate(stages, 1):
        for block in range(blocks):
            prefix = f'layer{stage}.{block}.'
            if block == 0 and (stage > 1 or convs == 3):
                names += _unit(f'{prefix}downsample.0', f'{prefix}downsample.1')
            for number in range(1, convs + 1):
                names += _unit(f'{prefix}conv{number}', f'{prefix}bn{number}')
    return names


def _unit(conv: str, norm: str) -> list[str]:
    return [f'{conv}.weight', *(f'{norm}.{part}' for part in NORM)]


def _array(value: Tensor) -> np.ndarray:
    value = value.detach().cpu()
    return (value.float() if value.is_floating_point() else value).contiguous().numpy()


def _list(title: str, names: list[str]) -> str:
    if not names:
        return ''
    return f' {title}: {", ".join(names[:5])}{f", ... ({len(names)} in all)" if len(names) > 5 else ""}.'
