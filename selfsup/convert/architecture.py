"""Which of our backbones some weights belong to, read off their names and shapes.

What shapes do not tell is taken as published: the strides, the norms' epsilon, and that a bottleneck strides in its 3x3 convolution.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from ..errors import CheckpointError
from ..models.backbones import convnext as convnexts
from ..models.backbones import resnet as resnets
from .families import family, is_transformer


def infer(weights: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    """The config of the backbone that `weights` fit.

    Args:
        weights: of a backbone alone, under our names (`in_our_names`).
        source: the file, for messages.

    Raises:
        CheckpointError: no network that is known, a tensor that tells the shape is missing, or numbers of blocks that no published
            network has.
    """
    title = family(weights)
    try:
        if title.startswith('ResNet'):
            return _resnet(weights, source)
        if title:
            return _convnext(weights, source)
    except KeyError as error:
        raise CheckpointError(
            f'{source} lacks {error.args[0]}, without which its {title.split(",")[0]} cannot be told. If it '
            'is complete, give --config, a config with its network (TIMMBackbone for those of timm).'
        ) from None
    except (
        IndexError,
        TypeError,
        ValueError,
        ZeroDivisionError,
        RuntimeError,
    ):  # shapes of other axes, numbers of no stage
        raise CheckpointError(
            f'{source} has tensors whose shapes are those of no {title.split(",")[0]}. If it is complete, give --config, '
            'a config with its network.'
        ) from None
    what = (
        'a vision transformer'
        if is_transformer(weights)
        else f'{len(weights)} tensors such as {", ".join(list(weights)[:3])}'
    )
    raise CheckpointError(
        f'{source} holds {what}: the network is known by its weights for ResNet, ResNeXt, ConvNeXt, ConvNeXt V2 and SLaK '
        'only. For another one give --config, the config of its run.'
    )


def _resnet(weights: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    blocks = _blocks(weights, r'layer(\d+)\.(\d+)\.')
    bottleneck = any(name.endswith('.conv3.weight') for name in weights)
    depths = {depth: (block.expansion > 1, sizes) for depth, (block, sizes) in resnets.ARCHITECTURES.items()}
    depth = next((depth for depth, sizes in depths.items() if sizes == (bottleneck, blocks)), None)
    if depth is None:
        kind = 'bottleneck' if bottleneck else 'basic'
        raise _unpublished(
            source, f'{kind} blocks {blocks}', 'ResNet', [f'{depth}: {sizes}' for depth, (_, sizes) in depths.items()]
        )
    stem = weights['conv1.weight']
    found = {'type': 'ResNet', 'depth': depth}
    if stem.shape[-1] == 3:
        found['stem'] = 'cifar'
    if stem.shape[1] != 3:
        found['in_channels'] = stem.shape[1]
    if stem.shape[0] != 64:
        found['base_channels'] = stem.shape[0]
    if bottleneck:
        width, per_group = weights['layer1.0.conv2.weight'].shape[:2]
        groups = width // per_group
        found.update({'type': 'ResNeXt', 'groups': groups, 'width_per_group': per_group} if groups > 1 else {})
        found.update({'width_per_group': width} if groups == 1 and width != stem.shape[0] else {})
    return found


def _convnext(weights: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    depths = _blocks(weights, r'stages\.(\d+)\.(\d+)\.')
    dims = tuple(len(weights[f'downsample_layers.{stage}.{1 if stage else 0}.bias']) for stage in range(len(depths)))
    large = any('.large_kernel.' in name for name in weights)
    found = {'type': 'SLaK' if large else 'ConvNeXtV2' if any('.grn.' in name for name in weights) else 'ConvNeXt'}
    known = {sizes for sizes, _ in convnexts.ARCHITECTURES.values()}
    if depths not in known:
        raise _unpublished(source, f'blocks {depths}', found['type'], sorted(map(str, known)))
    arch = next((arch for arch, sizes in convnexts.ARCHITECTURES.items() if sizes == (depths, dims)), None)
    found.update({'arch': arch} if arch and not large else {'depths': depths, 'dims': dims})
    if found['type'] != 'ConvNeXtV2' and 'stages.0.0.gamma' not in weights:
        found['layer_scale_init_value'] = None
    channels = weights['downsample_layers.0.0.weight'].shape[1]
    if channels != 3:
        found['in_channels'] = channels
    if large:
        return {**found, **_large_kernels(weights, len(depths))}
    edge = weights['stages.0.0.dwconv.weight'].shape[-1]
    return found if edge == 7 else {**found, 'kernel_size': edge}


def _large_kernels(weights: Mapping[str, Tensor], stages: int) -> dict[str, Any]:
    """Kernel sizes and kind of the units of a SLaK, trained or merged."""
    units = [
        {
            name.removeprefix(f'stages.{stage}.0.large_kernel.'): value
            for name, value in weights.items()
            if name.startswith(f'stages.{stage}.0.large_kernel.')
        }
        for stage in range(stages)
    ]
    merged = any('_reparam' in name for name in units[0])
    decom = any(name.startswith('LoRA1') for name in units[0])
    main = {
        (True, True): 'LoRA1_reparam.weight',
        (True, False): 'lkb_reparam.weight',
        (False, True): 'LoRA1.conv.weight',
        (False, False): 'lkb_origin.conv.weight',
    }[merged, decom]
    for stage, unit in enumerate(units):
        if main not in unit:
            raise KeyError(f'stages.{stage}.0.large_kernel.{main}')
    large, small = tuple(unit[main].shape[-2] for unit in units), units[0][main].shape[-1]
    if not decom:  # a short edge above all long ones says that there is no small kernel
        edges = [unit['small_conv.conv.weight'].shape[-1] for unit in units if 'small_conv.conv.weight' in unit]
        small = max(edges, default=max(large) + 1)
    found = {'kernel_size': (*large, small), 'decom': decom}
    if merged:
        return {**found, 'merged': True}
    return found if any('.bn.' in name for name in units[0]) else {**found, 'norm_cfg': None}


def _blocks(names: Iterable[str], pattern: str) -> tuple[int, ...]:
    """Blocks per stage, from the highest number of each."""
    last: dict[int, int] = {}
    for found in (re.match(pattern, name) for name in names):
        if found:
            last[int(found[1])] = max(last.get(int(found[1]), -1), int(found[2]))
    return tuple(last[stage] + 1 for stage in sorted(last))


def _unpublished(source: str, blocks: str, network: str, known: Iterable[str]) -> CheckpointError:
    return CheckpointError(
        f'{source} holds a {network} of {blocks}; published are {", ".join(known)}. If it is a network of your own, '
        'give --config, the config of its run; if not, the file is not complete.'
    )
