"""ResNet (arXiv:1512.03385), with ResNeXt (arXiv:1611.05431) and wide ResNet. Our names are torchvision's, which are timm's too.

detectron2 says `stem.conv1`, `res2` to `res5` for `layer1` to `layer4`, `conv1.norm` for `bn1`, `shortcut` and `shortcut.norm` for
`downsample.0` and `downsample.1`. A ResNet-50 has 318 entries: 53 convolutions and 53 batch norms of five, `num_batches_tracked` among
them. It only logs which weights it could not place, and trains on from random ones, so everything is checked here, before a file exists.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import CheckpointError, ConfigError, listed
from ...models.backbones.resnet import ARCHITECTURES, ResNet
from ...registry import BACKBONES
from ..network import Network
from .family import Family, Library, Spelling, blocks, timm_model, unpublished

_BLOCK = re.compile(r'layer(\d+)\.(\d+)\.')
_CHILD = re.compile(r'([2-7])\.\d+\.conv1\.weight$')  # a stage of a ResNet that was cut into a Sequential
# (convolutions of a block, blocks per stage) -> depth
_DEPTHS: Mapping[tuple[int, tuple[int, ...]], Any] = MappingProxyType(
    {(3 if block.expansion > 1 else 2, sizes): depth for depth, (block, sizes) in ARCHITECTURES.items()}
)
# (depth, groups, width per group) -> name in torchvision and timm
_MODELS = MappingProxyType(
    {
        **{(depth, 1, 64): f'resnet{depth}' for depth in ARCHITECTURES},
        (50, 32, 4): 'resnext50_32x4d',
        (101, 32, 4): 'resnext101_32x4d',
        (101, 32, 8): 'resnext101_32x8d',
        (101, 64, 4): 'resnext101_64x4d',
        (50, 1, 128): 'wide_resnet50_2',
        (101, 1, 128): 'wide_resnet101_2',
    }
)
_DEFAULTS = MappingProxyType({'stem': 'imagenet', 'in_channels': 3, 'base_channels': 64})
# settings of our ResNets that other libraries do not have, and the value that they do have
_OURS_ONLY = MappingProxyType(
    {
        'style': 'pytorch',
        'strides': (1, 2, 2, 2),
        'dilations': (1, 1, 1, 1),
        'num_stages': 4,
        'conv_cfg': None,
        'base_channels': 64,
    }
)


# ---- names ----------------------------------------------------------------------------------------------------------


def lacks_stem_relu(names: Collection[str]) -> bool:
    """True for children of a Sequential whose first stage follows the stem's norm at once: no number is left for a ReLU between them.

    So it is where the network calls its ReLU as a function, as lightly's ResNet does: what was trained has none there.
    """
    stem, stages = _children([name.removeprefix('model.') for name in names])
    return bool(stem and stages) and int(stages[0]) == int(stem[-1]) + 1


def _children(names: Collection[str]) -> tuple[list[str], list[str]]:
    """Numbers of the layers with weights before the first stage, and of the stages, of a ResNet that was cut into a Sequential."""
    stages = sorted({match[1] for match in map(_CHILD.match, names) if match})
    firsts = {name.split('.')[0] for name in names}
    return sorted(first for first in firsts if stages and first.isdigit() and first < stages[0]), stages


def _of_children(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's names for those in such a Sequential: convolution and norm, then four stages. What stands beside keeps its name."""
    stem, stages = _children(weights)
    places = dict(zip(stages, ('layer1', 'layer2', 'layer3', 'layer4'), strict=False))
    if len(stem) == 2:
        places.update(zip(stem, ('conv1', 'bn1'), strict=True))
    parts = {name: name.partition('.') for name in weights}
    return _of_lightly(
        {
            f'{places[number]}.{rest}' if number in places else name: weights[name]
            for name, (number, _, rest) in parts.items()
        }
    )


def _of_lightly(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's names for the few that lightly's ResNet calls otherwise."""
    names = {name: name.replace('.shortcut.', '.downsample.') for name in weights}
    return {re.sub(r'^linear\.', 'fc.', ours): weights[name] for name, ours in names.items()}


# ---- its size -------------------------------------------------------------------------------------------------------


def _infer(weights: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    sizes = blocks(weights, _BLOCK)
    convs = 3 if any(name.endswith('.conv3.weight') for name in weights) else 2
    if (convs, sizes) not in _DEPTHS:
        known = [f'{depth}: {published}' for (_, published), depth in _DEPTHS.items()]
        raise unpublished(source, f'{"bottleneck" if convs == 3 else "basic"} blocks {sizes}', 'ResNet', known)
    stem = weights['conv1.weight']
    kind, (width, channels) = 'cifar' if stem.shape[-1] == 3 else 'imagenet', stem.shape[:2]
    settings: dict[str, Any] = {'stem': kind, 'in_channels': channels, 'base_channels': width}
    changed = {key: value for key, value in settings.items() if value != _DEFAULTS[key]}
    config = {'type': 'ResNet', 'depth': _DEPTHS[convs, sizes], **changed}
    if convs == 3:
        block_width, per_group = weights['layer1.0.conv2.weight'].shape[:2]
        groups = block_width // per_group
        if groups > 1:
            config.update({'type': 'ResNeXt', 'groups': groups, 'width_per_group': per_group})
        if groups == 1 and block_width != width:
            config['width_per_group'] = block_width
    return config


# ---- timm and torchvision -------------------------------------------------------------------------------------------


def _published(network: Network, library: str) -> tuple[int, int, int]:
    """(depth, groups, width per group) of a network that `library` has too.

    Raises:
        ConfigError: a setting that the library does not have.
    """
    config = network.config
    lacking = [
        f'{key}={config[key]!r}'
        for key, value in _OURS_ONLY.items()
        if key in config and (tuple(config[key]) if isinstance(config[key], list) else config[key]) != value
    ]
    norm = config.get('norm_cfg') or {}
    if norm.get('type', 'BN') not in ('BN', 'SyncBN') or norm.get('eps', 1e-5) != 1e-5:
        lacking.append(f'norm_cfg={norm!r}')
    if lacking:
        raise ConfigError(f'{library} has no ResNet with {", ".join(lacking)}. Use --to safetensors or onnx.')
    grouped = config['type'] == 'ResNeXt'
    width = config.get('width_per_group') or config.get('base_width') or (4 if grouped else 64)
    return config['depth'], config.get('groups', 32 if grouped else 1), width


def _small_stem(model: Any, in_channels: int) -> nn.Module:
    """A ResNet of torchvision or timm with the stem for small images: 3x3 convolution of stride 1, no pooling."""
    model.conv1, model.maxpool = nn.Conv2d(in_channels, 64, 3, 1, 1, bias=False), nn.Identity()
    return model


def _small_stem_usage(in_channels: int) -> tuple[str, ...]:
    """`_small_stem` as lines of Python."""
    return (
        f'model.conv1 = torch.nn.Conv2d({in_channels}, 64, 3, 1, 1, bias=False)',
        'model.maxpool = torch.nn.Identity()',
    )


def _timm(network: Network) -> Library:
    depth, groups, width = key = _published(network, 'timm')
    kwargs: dict[str, Any] = {} if key in _MODELS else {'cardinality': groups, 'base_width': width}
    if network.config.get('stage_blocks'):
        kwargs['layers'] = tuple(network.config['stage_blocks'])
    name, weights, channels = (
        _MODELS.get(key, f'resnet{depth}'),
        network.with_classifier('', 'fc.'),
        network.in_channels,
    )
    if network.config.get('stem') != 'cifar':
        return timm_model(network, name, kwargs, weights)
    usage = _small_stem_usage(channels)
    return timm_model(
        network, name, kwargs, weights, change=lambda model: _small_stem(model, channels), change_usage=usage
    )


def _torchvision(network: Network) -> Library:
    from torchvision import models

    depth, groups, width = key = _published(network, 'torchvision')
    head, config, channels = network.classifier, network.config, network.in_channels
    small, name = config.get('stem') == 'cifar', _MODELS.get(key, '')
    published = config.get('stage_blocks') is None and name in models.list_models()

    def build() -> nn.Module:
        kind = models.resnet.BasicBlock if depth < 50 else models.resnet.Bottleneck
        sizes = list(config.get('stage_blocks') or ARCHITECTURES[depth][1])
        model: Any = (
            models.get_model(name) if published else models.ResNet(kind, sizes, groups=groups, width_per_group=width)
        )
        model.fc = nn.Linear(head.channels, head.classes) if head else nn.Identity()
        if small:
            return _small_stem(model, channels)
        if channels != 3:
            model.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        return model

    def last_map(model: nn.Module, images: Tensor) -> Tensor:
        return nn.Sequential(*list(model.children())[:-2])(images)  # all but the pooling and the classifier

    stem = (f'model.conv1 = torch.nn.Conv2d({channels}, 64, 7, 2, 3, bias=False)',) if channels != 3 else ()
    layer = f'Linear({head.channels}, {head.classes})' if head else 'Identity()'
    usage = (
        'import torch, torchvision',
        f'model = torchvision.models.{name}()',
        f'model.fc = torch.nn.{layer}',
        *(_small_stem_usage(channels) if small else stem),
        "model.load_state_dict(torch.load('{path}'))",
    )
    return Library(network.with_classifier('', 'fc.'), build, last_map, usage if published else ())


# ---- detectron2 -----------------------------------------------------------------------------------------------------


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
    expected = _expected(weights)
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
    return {_detectron2_name(name): _array(weights[name]) for name in expected}


def _detectron2(network: Network) -> Library:
    depth, groups, width = _published(network, 'detectron2')
    settings: dict[str, Any] = {'DEPTH': depth, 'STRIDE_IN_1X1': False}
    if (groups, width) != (1, 64):
        settings.update(NUM_GROUPS=groups, WIDTH_PER_GROUP=width)
    if depth < 50:
        settings['RES2_OUT_CHANNELS'] = 64
    if network.in_channels != 3:
        raise ConfigError(
            f'detectron2 has no {network.title}: its ResNets take three channels. Use --to safetensors or onnx.'
        )
    usage = (
        'MODEL:',
        '  WEIGHTS: {path}',
        f'  RESNETS: {{{", ".join(f"{key}: {value}" for key, value in settings.items())}}}',
        '  PIXEL_MEAN: [123.675, 116.28, 103.53]  # of ImageNet, where the run had it',
        '  PIXEL_STD: [58.395, 57.12, 57.375]',
        'INPUT: {FORMAT: RGB}',
    )
    weights, config = network.weights(), dict(network.config)
    names = {name: _detectron2_name(name) for name in weights}
    return Library(
        to_detectron2(weights),
        lambda: BACKBONES.build(config),
        lambda model, images: model(images)[-1],
        usage,
        names=names,
    )


def _detectron2_name(name: str) -> str:
    """detectron2's name of a tensor of ours: `layer1.0.bn1.bias` is `res2.0.conv1.norm.bias`."""
    block = _BLOCK.match(name)
    name = f'res{int(block[1]) + 1}{name[len("layer1") :]}' if block else f'stem.{name}'
    name = re.sub(r'\bbn(\d)\.', r'conv\1.norm.', name)
    return name.replace('downsample.0.', 'shortcut.').replace('downsample.1.', 'shortcut.norm.')


def _expected(weights: Mapping[str, Tensor]) -> list[str]:
    """All names of the ResNet that `weights` seem to come from, judged by its first block and its blocks.

    Raises:
        CheckpointError: it has no such blocks, or not as many as a ResNet of detectron2.
    """
    present = {match[0] for match in map(_BLOCK.match, weights) if match}
    stages = tuple(sum(block.startswith(f'layer{stage}.') for block in present) for stage in (1, 2, 3, 4))
    convs = 3 if 'layer1.0.conv3.weight' in weights else 2
    if (convs, stages) not in _DEPTHS:
        known = ', '.join(f'ResNet-{depth} {sizes}' for (_, sizes), depth in _DEPTHS.items())
        raise CheckpointError(
            f'The {len(weights)} tensors have {stages} residual blocks in layer1 to layer4. detectron2 builds {known}. '
            "ResNets of other code and prefixes such as 'backbone.' must be converted first "
            f'(tools/extract_backbone_weights.py).{_list("The first names are", list(weights))}'
        )
    with torch.device('meta'):
        return list(ResNet(_DEPTHS[convs, stages]).state_dict())


def _array(value: Tensor) -> np.ndarray:
    value = value.detach().cpu()
    return (value.float() if value.is_floating_point() else value).contiguous().numpy()


def _list(title: str, names: list[str]) -> str:
    return f' {title}: {listed(names)}.' if names else ''


RESNET = Family(
    name='ResNet',
    networks=('ResNet', 'ResNeXt'),
    types=('ResNet', 'ResNeXt'),
    spellings=(
        Spelling("lightly's names", re.compile(r'layer[1-4]\.\d+\.shortcut\.[01]\.'), _of_lightly),
        Spelling('names of torchvision and timm', re.compile(r'layer[1-4]\.\d+\.conv1\.weight$'), _of_lightly),
        Spelling('children of a Sequential', _CHILD, _of_children),
    ),
    block=_BLOCK,
    infer=_infer,
    cut=lambda config, stages: {**config, 'num_stages': stages},
    lacks=lambda names: 'ReLU after its first norm' if lacks_stem_relu(names) else '',
    normed=False,
    libraries={'timm': _timm, 'torchvision': _torchvision, 'detectron2': _detectron2},
    instead='timm',
)
