"""Backbones of ours that are models of timm. Only a config tells which one: their names are those of timm, with `model.` before them."""

from __future__ import annotations

from torch import Tensor, nn

from ...errors import ConfigError
from ...registry import BACKBONES
from ..network import Network
from .convnext import HEAD_NORM, is_timm
from .family import Family, Library, timm_model


def _timm(network: Network) -> Library:
    if network.classifier:
        raise ConfigError(
            'The classifier in this file reads averages of the last map, which those of timm need not do. Leave it out with '
            '--no-classifier, or use --to safetensors or onnx.'
        )
    config, weights = network.config, network.weights()

    def last_map(model: nn.Module, images: Tensor) -> Tensor:
        around = BACKBONES.build(dict(config)).eval()  # it turns tokens into a map
        around.model = model
        return around(images)[-1]

    kwargs = {key: value for key, value in config.items() if key not in ('type', 'model_name', 'in_channels')}
    optional = HEAD_NORM if is_timm(weights) else ()
    return timm_model(network, config['model_name'], kwargs, weights, last_map=last_map, optional=optional)


TIMM_BACKBONE = Family(
    name='timm',
    networks=(),
    types=('TIMMBackbone',),
    libraries={'timm': _timm},
    instead='timm (or leave out --config: ResNets and ConvNeXts are known by their weights)',
)
