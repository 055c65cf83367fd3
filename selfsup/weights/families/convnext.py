"""ConvNeXt (arXiv:2201.03545) and ConvNeXt V2 (arXiv:2301.00808). Our names are the authors'; timm, torchvision and MMPretrain have the
same tensors under other names, some in other shapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from ...errors import ConfigError
from ...models.backbones.convnext import ARCHITECTURES
from ..network import Network
from .family import Family, Library, Spelling, absent, blocks, timm_model, unpublished

BLOCK = re.compile(r'stages\.(\d+)\.(\d+)\.')
# beginnings of names there and here, the first that fits is replaced; then official names of the layers of a block and those there
_TO_TIMM = (
    (r'^downsample_layers\.0\.', 'stem.'),
    (r'^downsample_layers\.(\d+)\.', r'stages.\1.downsample.'),
    (r'^stages\.(\d+)\.(\d+)\.', r'stages.\1.blocks.\2.'),
    (r'^norm\.', 'head.norm.'),
    (r'^head\.(weight|bias)$', r'head.fc.\1'),
)
_FROM_TIMM = (
    (r'^stem\.', 'downsample_layers.0.'),
    (r'^stages\.(\d+)\.downsample\.', r'downsample_layers.\1.'),
    (r'^stages\.(\d+)\.blocks\.(\d+)\.', r'stages.\1.\2.'),
    (r'^head\.norm\.', 'norm.'),
    (r'^head\.fc\.', 'head.'),
)
_TIMM_LAYERS = (
    ('.dwconv.', '.conv_dw.'),
    ('.pwconv1.', '.mlp.fc1.'),
    ('.pwconv2.', '.mlp.fc2.'),
    ('.grn.gamma', '.mlp.grn.weight'),
    ('.grn.beta', '.mlp.grn.bias'),
)
# torchvision counts stem and downsampling layers as stages of `features`
_TO_TORCHVISION = (
    (r'^downsample_layers\.(\d+)\.', lambda stage: f'features.{2 * int(stage[1])}.'),
    (r'^stages\.(\d+)\.', lambda stage: f'features.{2 * int(stage[1]) + 1}.'),
    (r'^norm\.', 'classifier.0.'),
    (r'^head\.', 'classifier.2.'),
)
_FROM_TORCHVISION = (
    (r'^features\.(\d*[02468])\.', lambda stage: f'downsample_layers.{int(stage[1]) // 2}.'),
    (r'^features\.(\d+)\.', lambda stage: f'stages.{int(stage[1]) // 2}.'),
    (r'^classifier\.0\.', 'norm.'),
    (r'^classifier\.2\.', 'head.'),
)
_TORCHVISION_LAYERS = (
    ('.dwconv.', '.block.0.'),
    ('.norm.', '.block.2.'),
    ('.pwconv1.', '.block.3.'),
    ('.pwconv2.', '.block.5.'),
    ('.gamma', '.layer_scale'),
)
_MMPRETRAIN_LAYERS = (
    ('.dwconv.', '.depthwise_conv.'),
    ('.pwconv1.', '.pointwise_conv1.'),
    ('.pwconv2.', '.pointwise_conv2.'),
)
_NARROW = 96  # timm's models that are narrower than this have 1x1 convolutions for linear layers
HEAD_NORM = ('head.norm.weight', 'head.norm.bias')  # of timm's models, which pretraining does not train


# ---- names ----------------------------------------------------------------------------------------------------------


def is_official(names: Iterable[str]) -> bool:
    """True for names of an official (dense) ConvNeXt or ConvNeXt V2."""
    return {'downsample_layers.0.0.weight', 'stages.0.0.dwconv.weight'} <= set(names)


def is_timm(names: Iterable[str]) -> bool:
    """True for names of timm's convnext and convnextv2 models."""
    return {'stem.0.weight', 'stages.0.blocks.0.conv_dw.weight'} <= set(names)


def to_official(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights` of a timm ConvNeXt under official names and in official shapes; official ones stay as they are."""
    renamed = {_renamed(name, _FROM_TIMM, _turned(_TIMM_LAYERS)): value for name, value in weights.items()}
    return {name: _official_shape(name, value) for name, value in renamed.items()}


def to_timm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights` of an official ConvNeXt under timm's names, in the shapes of the timm model of this size; timm's own stay as they are."""
    stem = weights.get('downsample_layers.0.0.weight')
    convolutions = stem is not None and stem.dim() > 0 and len(stem) < _NARROW
    renamed = {_renamed(name, _TO_TIMM, _TIMM_LAYERS): value for name, value in weights.items()}
    for name, value in renamed.items():
        if convolutions and value.dim() == 2 and '.mlp.fc' in name:
            renamed[name] = value[:, :, None, None]
        elif '.mlp.grn.' in name:
            renamed[name] = value.flatten()
    return renamed


def to_torchvision(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights` of an official ConvNeXt (not V2) under torchvision's names."""
    renamed = {_renamed(name, _TO_TORCHVISION, _TORCHVISION_LAYERS): value for name, value in weights.items()}
    return {n: value[:, None, None] if n.endswith('.layer_scale') else value for n, value in renamed.items()}


def from_torchvision(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `to_torchvision` turned around."""
    renamed = {_renamed(n, _FROM_TORCHVISION, _turned(_TORCHVISION_LAYERS)): value for n, value in weights.items()}
    return {name: value.flatten() if name.endswith('.gamma') else value for name, value in renamed.items()}


def _from_mmpretrain(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights` of MMPretrain's ConvNeXt, V2 included, under official names and in official shapes.

    Its norm after the last stage alone, `norm3`, is the one before the classifier; copies for dense tasks have one after every stage.
    """
    places = () if any(name.startswith('norm0.') for name in weights) else ((r'^norm3\.', 'norm.'),)
    renamed = {_renamed(name, places, _turned(_MMPRETRAIN_LAYERS)): value for name, value in weights.items()}
    return {name: _official_shape(name, value) for name, value in renamed.items()}


def _renamed(name: str, places: Iterable[tuple[str, Any]], layers: Iterable[tuple[str, str]]) -> str:
    for beginning, other in places:
        name, changed = re.subn(beginning, other, name)
        if changed:
            break
    for old, new in layers:
        name = name.replace(old, new)
    return name


def _turned(layers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((theirs, official) for official, theirs in layers)


def _official_shape(name: str, value: Tensor) -> Tensor:
    if '.pwconv' in name and value.dim() == 4:  # 1x1 convolutions for linear layers
        return value.flatten(1)
    return value.reshape(1, 1, 1, -1) if '.grn.' in name else value


# ---- its size -------------------------------------------------------------------------------------------------------


def infer_sizes(weights: Mapping[str, Tensor], source: str, kind: str) -> dict[str, Any]:
    """Type, blocks and channels of the stages, layer scale and channels of the images, which a SLaK has too."""
    depths = blocks(weights, BLOCK)
    dims = tuple(len(weights[f'downsample_layers.{stage}.{1 if stage else 0}.bias']) for stage in range(len(depths)))
    known = {sizes for sizes, _ in ARCHITECTURES.values()}
    if depths not in known:
        raise unpublished(source, f'blocks {depths}', kind, sorted(map(str, known)))
    config: dict[str, Any] = {'type': kind, 'depths': depths, 'dims': dims}
    if kind != 'ConvNeXtV2' and 'stages.0.0.gamma' not in weights:
        config['layer_scale_init_value'] = None
    channels = weights['downsample_layers.0.0.weight'].shape[1]
    return {**config, 'in_channels': channels} if channels != 3 else config


def _infer(weights: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    kind = 'ConvNeXtV2' if any('.grn.' in name for name in weights) else 'ConvNeXt'
    config = infer_sizes(weights, source, kind)
    sizes = (config['depths'], config['dims'])
    arch = next((arch for arch, published in ARCHITECTURES.items() if published == sizes), None)
    if arch:
        del config['depths'], config['dims']
        config = {'type': kind, 'arch': arch, **config}
    edge = weights['stages.0.0.dwconv.weight'].shape[-1]
    return config if edge == 7 else {**config, 'kernel_size': edge}


def cut(config: Mapping[str, Any], stages: int) -> dict[str, Any]:
    """The config of the first `stages` stages."""
    depths, dims = _sizes(config)
    rest = {key: value for key, value in config.items() if key != 'arch'}
    return {**rest, 'depths': depths[:stages], 'dims': dims[:stages]}


def _as_used(config: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    if config['type'] != 'ConvNeXtV2':
        return config, ()
    note = "GRN takes its norms over each image (grn_scope='image'), as networks are used after pretraining"
    return {**config, 'grn_scope': 'image'}, (note,)


def _sizes(config: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Blocks and channels of the stages."""
    depths, dims = ARCHITECTURES.get(config.get('arch', ''), ((), ()))
    return tuple(config.get('depths') or depths), tuple(config.get('dims') or dims)


# ---- other libraries ------------------------------------------------------------------------------------------------


def _published(config: Mapping[str, Any]) -> str | None:
    """The name of the size; None where the sizes are the network's own."""
    return config.get('arch') if config.get('depths') is None and config.get('dims') is None else None


def _timm(network: Network) -> Library:
    import timm

    config, second = network.config, network.config['type'] == 'ConvNeXtV2'
    kind = 'convnextv2' if second else 'convnext'
    name, kwargs = f'{kind}_{_published(config)}', {}
    if not timm.is_model(name):
        depths, dims = _sizes(config)
        if len(depths) != 4:
            raise ConfigError(
                f'timm has no {config["type"]} of {len(depths)} stages, only of 4. Use --to safetensors or onnx.'
            )
        name, kwargs = f'{kind}_tiny', {'depths': depths, 'dims': dims, 'conv_mlp': dims[0] < _NARROW}
    if config.get('kernel_size', 7) != 7:
        kwargs['kernel_sizes'] = config['kernel_size']
    scaled = config.get('layer_scale_init_value', None if second else 1e-6) is not None
    if second and scaled:
        raise ConfigError(
            "timm's ConvNeXt V2 has no layer scale (layer_scale_init_value). Use --to safetensors or onnx."
        )
    if not second and not scaled:
        kwargs['ls_init_value'] = None
    optional = () if network.classifier else HEAD_NORM
    return timm_model(network, name, kwargs, to_timm(network.with_classifier('norm.', 'head.')), optional=optional)


def _torchvision(network: Network) -> Library:
    from torchvision import models

    config, head = network.config, network.classifier
    if config['type'] != 'ConvNeXt':
        raise absent(network, 'torchvision', 'timm')
    if (
        config.get('kernel_size', 7) != 7
        or config.get('layer_scale_init_value', 1e-6) is None
        or network.in_channels != 3
    ):
        raise ConfigError(
            f'torchvision has no {network.title}: its ConvNeXt has 7x7 kernels, layer scale and three input channels. '
            'Use --to timm, safetensors or onnx.'
        )
    name = f'convnext_{_published(config)}'
    published = name in models.list_models()

    def build() -> nn.Module:
        depths, dims = _sizes(config)
        sizes = zip(dims, (*dims[1:], None), depths, strict=True)
        stages = [models.convnext.CNBlockConfig(*stage) for stage in sizes]
        classes = {'num_classes': head.classes} if head else {}
        model: Any = models.get_model(name, **classes) if published else models.ConvNeXt(stages, **classes)
        if not head:
            model.classifier = nn.Identity()
        return model

    def last_map(model: Any, images: Tensor) -> Tensor:
        return model.features(images)

    usage = (
        'import torch, torchvision',
        f'model = torchvision.models.{name}({f"num_classes={head.classes}" if head else ""})',
        *(() if head else ('model.classifier = torch.nn.Identity()',)),
        "model.load_state_dict(torch.load('{path}'))",
    )
    return Library(
        to_torchvision(network.with_classifier('norm.', 'head.')), build, last_map, usage if published else ()
    )


CONVNEXT = Family(
    name='ConvNeXt',
    networks=('ConvNeXt', 'ConvNeXt V2'),
    types=('ConvNeXt', 'ConvNeXtV2'),
    spellings=(
        Spelling("authors' names", re.compile(r'stages\.\d+\.\d+\.dwconv\.')),
        Spelling("MMPretrain's names", re.compile(r'stages\.\d+\.\d+\.depthwise_conv\.'), _from_mmpretrain),
        Spelling("timm's names", re.compile(r'stages\.\d+\.blocks\.\d+\.conv_dw\.'), to_official),
        Spelling("torchvision's names", re.compile(r'features\.\d+\.\d+\.block\.'), from_torchvision),
    ),
    block=BLOCK,
    infer=_infer,
    cut=cut,
    as_used=_as_used,
    normed=True,
    timm_names=lambda weights: to_timm(weights) if is_official(weights) else dict(weights),
    libraries={'timm': _timm, 'torchvision': _torchvision},
    instead='timm',
)
