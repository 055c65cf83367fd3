"""Our backbones as models of timm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ..errors import ConfigError
from ..registry import BACKBONES
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

HEAD_NORM = ('head.norm.weight', 'head.norm.bias')  # of timm's ConvNeXt, which pretraining does not train


def in_timm(network: Network) -> Library:
    """`network` as a model of timm, made with the number of classes of its classifier, or with `num_classes=0`.

    Raises:
        ConfigError: timm has no such model.
    """
    import timm

    weights, config, head = network.weights(), network.config, network.classifier
    check_classifier(network, 'timm')
    if config['type'] == 'TIMMBackbone':
        name = config['model_name']
        kwargs = {key: value for key, value in config.items() if key not in ('type', 'model_name', 'in_channels')}
    elif config['type'] in ('ConvNeXt', 'ConvNeXtV2'):
        name, kwargs = _convnext(config)
        weights = convnext.to_timm({**weights, **(head.named('norm.', 'head.') if head else {})})
    elif config['type'] == 'SLaK':
        raise ConfigError('timm has no SLaK. Use --to safetensors or onnx.')
    else:
        name, kwargs = _resnet(network)
        weights.update(head.named('', 'fc.') if head else {})
    if network.in_channels != 3:
        kwargs['in_chans'] = network.in_channels
    small = config.get('stem') == 'cifar'
    optional = HEAD_NORM if convnext.is_timm(weights) and not head else ()
    classes = head.classes if head else 0

    def build() -> nn.Module:
        model = timm.create_model(name, num_classes=classes, **kwargs)
        return small_stem(model, network.in_channels) if small else model

    def last_map(model: nn.Module, images: Tensor) -> Tensor:
        if config['type'] != 'TIMMBackbone':
            return model.forward_features(images)
        around = BACKBONES.build(dict(config)).eval()  # it turns tokens into a map
        around.model = model
        return around(images)[-1]

    settings = ''.join(f', {key}={value!r}' for key, value in kwargs.items())
    usage = (
        'import timm, torch',
        f"model = timm.create_model('{name}', num_classes={classes}{settings})",
        *(small_stem_usage(network.in_channels) if small else ()),
        f"model.load_state_dict(torch.load('{{path}}'){', strict=False)  # head.norm is not pretrained' if optional else ')'}",
    )
    return Library(weights, build, last_map, usage, optional)


def _resnet(network: Network) -> tuple[str, dict[str, Any]]:
    depth, groups, width = key = resnet_key(network, 'timm')
    kwargs = {} if key in RESNETS else {'cardinality': groups, 'base_width': width}
    if network.config.get('stage_blocks'):
        kwargs['layers'] = tuple(network.config['stage_blocks'])
    return RESNETS.get(key, f'resnet{depth}'), kwargs


def _convnext(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    import timm

    kind, second = ('convnextv2', True) if config['type'] == 'ConvNeXtV2' else ('convnext', False)
    name, kwargs = f'{kind}_{published_arch(config)}', {}
    if not timm.is_model(name):
        depths, dims = convnext_sizes(config)
        if len(depths) != 4:
            raise ConfigError(
                f'timm has no {config["type"]} of {len(depths)} stages, only of 4. Use --to safetensors or onnx.'
            )
        name, kwargs = f'{kind}_tiny', {'depths': depths, 'dims': dims, 'conv_mlp': dims[0] < convnext.NARROW}
    if config.get('kernel_size', 7) != 7:
        kwargs['kernel_sizes'] = config['kernel_size']
    scaled = config.get('layer_scale_init_value', None if second else 1e-6) is not None
    if second and scaled:
        raise ConfigError(
            "timm's ConvNeXt V2 has no layer scale (layer_scale_init_value). Use --to safetensors or onnx."
        )
    if not second and not scaled:
        kwargs['ls_init_value'] = None
    return name, kwargs
