"""Our backbones as models of torchvision: ResNet, ResNeXt and the first ConvNeXt."""

from __future__ import annotations

from torch import Tensor, nn

from ..errors import ConfigError
from ..models.backbones import resnet as resnets
from . import convnext
from .library import (
    RESNETS,
    Library,
    check_classifier,
    convnext_sizes,
    published_arch,
    resnet_key,
    small_stem,
    small_stem_usage,
)
from .network import Network

IMPORTS, LOAD = 'import torch, torchvision', "model.load_state_dict(torch.load('{path}'))"


def in_torchvision(network: Network) -> Library:
    """`network` as a model of torchvision, with the classifier that it has, or none.

    Raises:
        ConfigError: torchvision has no such model.
    """
    check_classifier(network, 'torchvision')
    return _convnext(network) if network.config['type'] == 'ConvNeXt' else _resnet(network)


def _resnet(network: Network) -> Library:
    from torchvision import models

    depth, groups, width = key = resnet_key(network, 'torchvision')
    head, weights = network.classifier, network.weights()
    config, channels, small = network.config, network.in_channels, network.config.get('stem') == 'cifar'
    name = RESNETS.get(key) if config.get('stage_blocks') is None and RESNETS.get(key) in models.list_models() else None

    def build() -> nn.Module:
        kind = models.resnet.BasicBlock if depth < 50 else models.resnet.Bottleneck
        blocks = list(config.get('stage_blocks') or resnets.ARCHITECTURES[depth][1])
        model = models.get_model(name) if name else models.ResNet(kind, blocks, groups=groups, width_per_group=width)
        model.fc = nn.Linear(head.channels, head.classes) if head else nn.Identity()
        if small:
            return small_stem(model, channels)
        if channels != 3:
            model.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        return model

    def last_map(model: nn.Module, images: Tensor) -> Tensor:
        return nn.Sequential(*list(model.children())[:-2])(images)  # all but the pooling and the classifier

    stem = (
        small_stem_usage(channels)
        if small
        else (f'model.conv1 = torch.nn.Conv2d({channels}, 64, 7, 2, 3, bias=False)',)
    )
    layer = f'Linear({head.channels}, {head.classes})' if head else 'Identity()'
    changes = (f'model.fc = torch.nn.{layer}', *(stem if small or channels != 3 else ()))
    usage = (IMPORTS, f'model = torchvision.models.{name}()', *changes, LOAD)
    return Library({**weights, **(head.named('', 'fc.') if head else {})}, build, last_map, usage if name else ())


def _convnext(network: Network) -> Library:
    from torchvision import models

    config, head = network.config, network.classifier
    if (
        config.get('kernel_size', 7) != 7
        or config.get('layer_scale_init_value', 1e-6) is None
        or network.in_channels != 3
    ):
        raise ConfigError(
            f'torchvision has no {network.title}: its ConvNeXt has 7x7 kernels, layer scale and three input channels. '
            'Use --to timm, safetensors or onnx.'
        )
    name = f'convnext_{published_arch(config)}'
    published = name in models.list_models()

    def build() -> nn.Module:
        depths, dims = convnext_sizes(config)
        blocks = [models.convnext.CNBlockConfig(*sizes) for sizes in zip(dims, (*dims[1:], None), depths, strict=True)]
        classes = {'num_classes': head.classes} if head else {}
        model = models.get_model(name, **classes) if published else models.ConvNeXt(blocks, **classes)
        if not head:
            model.classifier = nn.Identity()
        return model

    make = (
        (f'model = torchvision.models.{name}(num_classes={head.classes})',)
        if head
        else (f'model = torchvision.models.{name}()', 'model.classifier = torch.nn.Identity()')
    )
    usage = (IMPORTS, *make, LOAD)
    weights = convnext.to_torchvision({**network.weights(), **(head.named('norm.', 'head.') if head else {})})
    return Library(weights, build, lambda model, images: model.features(images), usage if published else ())
