"""What networks of other libraries have in common: names of ResNets, stems for small images, and what a conversion must know of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from ..errors import ConfigError
from ..models.backbones import convnext as convnexts
from ..models.backbones import resnet as resnets
from .network import OWN, Network

# (depth, groups, width per group) -> name in torchvision and timm
RESNETS = MappingProxyType(
    {
        **{(depth, 1, 64): f'resnet{depth}' for depth in resnets.ARCHITECTURES},
        (50, 32, 4): 'resnext50_32x4d',
        (101, 32, 4): 'resnext101_32x4d',
        (101, 32, 8): 'resnext101_32x8d',
        (101, 64, 4): 'resnext101_64x4d',
        (50, 1, 128): 'wide_resnet50_2',
        (101, 1, 128): 'wide_resnet101_2',
    }
)
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


@dataclass(frozen=True)
class Library:
    """A network of another library that takes over ours.

    Attributes:
        weights: ours, under its names.
        build: makes it, with a classifier where `weights` have one.
        last_map: (network, images (B, C, H, W)) -> its last map (B, D, h, w).
        usage: lines of Python that load the file `{path}`; () where only a network of other sizes than the published can.
        optional: names that it has beyond `weights`, which its last map does not pass.
    """

    weights: dict[str, Tensor]
    build: Callable[[], nn.Module]
    last_map: Callable[[nn.Module, Tensor], Tensor]
    usage: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


def resnet_key(network: Network, library: str) -> tuple[int, int, int]:
    """(depth, groups, width per group) of a ResNet or ResNeXt that `library` has too.

    Raises:
        ConfigError: another network, or a setting that the library does not have.
    """
    config = network.config
    if config['type'] not in ('ResNet', 'ResNeXt'):
        others = {
            'TIMMBackbone': 'timm (or leave out --config: ResNets and ConvNeXts are known by their weights)',
            'SLaK': 'safetensors',
        }
        other = others.get(config['type'], 'timm' if config['type'] in OWN else 'safetensors')
        raise ConfigError(f'{library} has no {network.title}. Use --to onnx or {other}.')
    other = [
        f'{key}={config[key]!r}' for key, value in _OURS_ONLY.items() if key in config and _plain(config[key]) != value
    ]
    norm = config.get('norm_cfg') or {}
    if norm.get('type', 'BN') not in ('BN', 'SyncBN') or norm.get('eps', 1e-5) != 1e-5:
        other.append(f'norm_cfg={norm!r}')
    if other:
        raise ConfigError(f'{library} has no ResNet with {", ".join(other)}. Use --to safetensors or onnx.')
    grouped = config['type'] == 'ResNeXt'
    width = config.get('width_per_group') or config.get('base_width') or (4 if grouped else 64)
    return config['depth'], config.get('groups', 32 if grouped else 1), width


def check_classifier(network: Network, library: str) -> None:
    """Raise a ConfigError where `library` has the network, but not with this classifier."""
    kind, head = network.config['type'], network.classifier
    rest = 'Leave it out with --no-classifier, or use --to safetensors or onnx.'
    if head and kind == 'TIMMBackbone':
        raise ConfigError(
            f'The classifier in this file reads averages of the last map, which those of timm need not do. {rest}'
        )
    normed = {'ResNet': False, 'ResNeXt': False, 'ConvNeXt': True, 'ConvNeXtV2': True}
    if head and head.normed is not normed.get(kind, head.normed):
        given = 'a layer norm' if head.normed else 'no layer norm'
        raise ConfigError(f'{library} has no {kind} with {given} before its classifier, as this file has. {rest}')


def convnext_sizes(config: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Blocks and channels of the stages of a ConvNeXt of ours."""
    depths, dims = convnexts.ARCHITECTURES.get(config.get('arch'), (None, None))
    return tuple(config.get('depths') or depths), tuple(config.get('dims') or dims)


def published_arch(config: Mapping[str, Any]) -> str | None:
    """The name of the size of a ConvNeXt of ours; None where its sizes are its own."""
    return config.get('arch') if config.get('depths') is None and config.get('dims') is None else None


def small_stem(model: nn.Module, in_channels: int) -> nn.Module:
    """A ResNet of torchvision or timm with the stem for small images: 3x3 convolution of stride 1, no pooling."""
    model.conv1, model.maxpool = nn.Conv2d(in_channels, 64, 3, 1, 1, bias=False), nn.Identity()
    return model


def small_stem_usage(in_channels: int) -> tuple[str, ...]:
    """`small_stem` as lines of Python."""
    return (
        f'model.conv1 = torch.nn.Conv2d({in_channels}, 64, 3, 1, 1, bias=False)',
        'model.maxpool = torch.nn.Identity()',
    )


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
