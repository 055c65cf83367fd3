"""Layer decay: learning rates that shrink from the head to the stem (ELECTRA, arXiv:2003.10555, appendix A; for fine-tuning
image models BEiT, arXiv:2106.08254).

A parameter of layer i of N has the rate decay ** (N + 1 - i) times that of the head, which is layer N + 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

from torch import nn

from ..arguments import require
from ..errors import ConfigError
from .options import LayerDecay

AFTER = -1  # stage of what comes after the last block
# Blocks per layer in the second and third stage of SparK's ResNets, by the depths of all stages.
SPARK_RESNETS: Mapping[tuple[int, ...], tuple[int, int]] = MappingProxyType(
    {(3, 4, 6, 3): (2, 3), (3, 4, 23, 3): (2, 3), (3, 8, 36, 3): (4, 4), (3, 24, 36, 3): (4, 4), (3, 30, 48, 8): (5, 6)}
)
# What the names of a backbone say: stage (counted from `first`) and block; without a block, what comes before the stage.
PATTERNS = MappingProxyType(
    {
        'resnet': (r'(?P<stem>conv1|(bn|gn|ln|in)1)\.', r'layer(?P<stage>\d+)\.(?P<block>\d+)\.', r'(?P<after>fc)\.'),
        'convnext': (
            r'(?P<stem>stem)\.',
            r'downsample_layers\.(?P<stage>\d+)\.',
            r'stages\.(?P<stage>\d+)\.downsample\.',
            r'stages\.(?P<stage>\d+)\.(blocks\.)?(?P<block>\d+)\.',
            r'(?P<after>norm\d?|head|norm_pre)\.',
        ),
    }
)


class Place(NamedTuple):
    """Where a parameter lies: in a block of a stage, before a stage (block None), or after all (stage AFTER)."""

    stage: int
    block: int | None = None


def lr_scales(model: nn.Module, rate: float, groups: str = 'single') -> dict[str, float]:
    """Factor of the learning rate of every parameter, by name: rate ** (N + 1 - layer), 1 for all that is not in `model.backbone`.

    Args:
        model: with a `backbone`: a ResNet, ConvNeXt, ConvNeXtV2 or SLaK, or timm's; for 'single' any timm model that can
            group its layers.
        rate: decay per layer in (0, 1].
        groups: 'single': every block is a layer; what stands before a block (stem, downsampling) belongs to it, and a norm that stands
            alone in a stage to the convolution before it. 'group':
            12 layers, three blocks of the third stage in each, made for 27 (ConvNeXt S and B, ConvNeXt V2, SLaK). 'spark': SparK's:
            as 'group', but 6 layers where the third stage has at most 9 blocks; for ResNet-50 and larger a table.

    Raises:
        ConfigError: a `rate` or `groups` outside of the above, a model without backbone, or a backbone whose parameters have
            no known order.
    """
    require(LayerDecay, {'rate': rate, 'groups': groups}, 'layer_decay')
    backbone = getattr(model, 'backbone', None)
    names = {name: p.dim() for name, p in backbone.named_parameters()} if isinstance(backbone, nn.Module) else {}
    if not isinstance(backbone, nn.Module) or not names:
        raise ConfigError(f'layer_decay: {type(model).__name__} has no backbone with parameters.')
    layers, head = _layers(backbone, names, groups)
    if rate ** (head - min(layers)) == 0:
        raise ConfigError(
            f'layer_decay: rate={rate!r} leaves nothing of the learning rate of the first of {head - 1} layers; '
            'use a larger one.'
        )
    rates = {f'backbone.{name}': rate ** (head - layer) for name, layer in zip(names, layers, strict=True)}
    return {name: rates.get(name, 1.0) for name in (n.removeprefix('module.') for n, _ in model.named_parameters())}


def _layers(backbone: nn.Module, names: dict[str, int], groups: str) -> tuple[list[int], int]:
    """Layer of each parameter, and that of the head; `names` with the number of axes of each."""
    bare = [name.removeprefix('model.') for name in names]  # TIMMBackbone holds its network as `model`
    family, places = _family(bare)
    timm_model: Any = getattr(backbone, 'model', None)
    if None in places and groups == 'single' and hasattr(timm_model, 'group_matcher'):
        return _timm_layers(timm_model, bare)
    if None in places:
        unknown = [name for name, place in zip(names, places, strict=True) if place is None]
        raise ConfigError(
            f'layer_decay: no layer is known for {len(unknown)} of {len(names)} parameters of {type(backbone).__name__}, '
            f"such as 'backbone.{unknown[0]}'. It works for ResNet, ConvNeXt, ConvNeXtV2, SLaK and, with "
            "groups='single', for models of timm that group their layers."
        )
    counted = _by_block([place for place in places if place is not None], bare, list(names.values()))
    depths = _depths(counted)
    if groups == 'single':
        head = sum(depths) + 1
        return [head if p.stage == AFTER else sum(depths[: p.stage]) + (p.block or 0) + 1 for p in counted], head
    layer, head = _resnet_layer(depths, groups) if family == 'resnet' else _convnext_layer(depths, groups)
    return [head if p.stage == AFTER else layer(p) for p in counted], head


def _family(names: list[str]) -> tuple[str, list[Place | None]]:
    """The family whose patterns know the most names, and a place for each name, None for an unknown one."""
    places = {
        family: [_place(name, patterns, 1 if family == 'resnet' else 0) for name in names]
        for family, patterns in PATTERNS.items()
    }
    return min(places.items(), key=lambda item: item[1].count(None))


def _place(name: str, patterns: tuple[str, ...], first: int) -> Place | None:
    for pattern in patterns:
        match = re.match(pattern, name)
        if match:
            part: dict[str, Any] = match.groupdict()
            if 'stage' not in part:
                return Place(0) if 'stem' in part else Place(AFTER)
            return Place(int(part['stage']) - first, None if part.get('block') is None else int(part['block']))
    return None


def _by_block(places: list[Place], names: list[str], axes: list[int]) -> list[Place]:
    """`places` with the blocks of each stage counted without gaps, where what stands in a stage may be single layers.

    In a stage that is a row of convolutions and norms, `stages.0.0`, `stages.0.1`, ..., a layer without a matrix or kernel is no
    block: it belongs to what stands before it; the first one to what follows.
    """
    members: dict[Place, list[tuple[bool, int]]] = {}  # of each numbered child: is it a layer of its own, axes
    for place, name, number in zip(places, names, axes, strict=True):
        if place.block is not None:
            members.setdefault(place, []).append((re.search(r'\.\d+\.\w+$', name) is not None, number))
    numbers: dict[Place, int] = {}
    for stage in {place.stage for place in members}:
        block, open_ = -1, False  # the current block, and whether it still waits for its first kernel
        for place in sorted(place for place in members if place.stage == stage):
            norm = all(alone and number < 2 for alone, number in members[place])
            if block < 0 or not (norm or open_):
                block, open_ = block + 1, norm
            elif not norm:
                open_ = False
            numbers[place] = block
    return [place._replace(block=numbers.get(place)) for place in places]


def _depths(places: list[Place]) -> tuple[int, ...]:
    """Blocks per stage."""
    last: dict[int, int] = {}
    for place in places:
        if place.block is not None:
            last[place.stage] = max(last.get(place.stage, 0), place.block + 1)
    return tuple(last[stage] for stage in sorted(last))


def _convnext_layer(depths: tuple[int, ...], groups: str) -> tuple[Any, int]:
    """A function that gives the layer of a place in a ConvNeXt of 12 layers (6 for a small one with 'spark'); and the layer of the head."""
    if len(depths) != 4 or depths[2] > 27:
        raise ConfigError(
            f"layer_decay: groups='{groups}' is made for four stages with at most 27 blocks in the third; this backbone has "
            f"{depths}: use groups='single'."
        )
    number = 12 if groups == 'group' or depths[2] > 9 else 6

    def layer(place: Place) -> int:
        if place.stage == 2:
            return 3 + (place.block or 0) // 3
        return number if place.stage == 3 else place.stage + (place.stage == 1 or place.block is not None)

    return layer, number + 1


def _resnet_layer(depths: tuple[int, ...], groups: str) -> tuple[Any, int]:
    """A function that gives the layer of a place in one of SparK's ResNets; and the layer of the head."""
    if groups == 'group':
        raise ConfigError("layer_decay: groups='group' is made for ConvNeXts; for a ResNet use 'spark' or 'single'.")
    if depths not in SPARK_RESNETS:
        raise ConfigError(
            f"layer_decay: groups='spark' has no table for a ResNet of {depths} blocks: use groups='single'."
        )
    (second, third), last = SPARK_RESNETS[depths], len(depths) - 1
    third_starts = 2 + -(-depths[1] // second)
    number = third_starts + -(-depths[2] // third)

    def layer(place: Place) -> int:
        block = place.block or 0
        return (1 if place.block is not None else 0, 2 + block // second, third_starts + block // third, number)[
            min(place.stage, last)
        ]

    return layer, number + 1


def _timm_layers(model: Any, names: list[str]) -> tuple[list[int], int]:
    """timm's own order of layers; its classifier, which was left away, tells which layer the head is."""
    from timm.models import group_parameters

    head = 'head.weight'
    with_head: Any = SimpleNamespace(named_parameters=lambda: ((name, None) for name in [*names, head]))
    layers = group_parameters(with_head, model.group_matcher(coarse=False), reverse=True)
    if layers[head] != max(layers.values()):
        raise ConfigError(f'layer_decay: timm gives no order of the layers of {type(model).__name__}.')
    return [layers[name] for name in names], layers[head]
