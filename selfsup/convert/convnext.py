"""ConvNeXt weights under the official names and under timm's: the same tensors, other names, some other shapes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

# official beginning and what timm has in its place; timm's beginning and the official one. The first that fits a name is replaced.
_PLACES = (
    (r'^downsample_layers\.0\.', 'stem.', r'^stem\.', 'downsample_layers.0.'),
    (
        r'^downsample_layers\.(\d+)\.',
        r'stages.\1.downsample.',
        r'^stages\.(\d+)\.downsample\.',
        r'downsample_layers.\1.',
    ),
    (r'^stages\.(\d+)\.(\d+)\.', r'stages.\1.blocks.\2.', r'^stages\.(\d+)\.blocks\.(\d+)\.', r'stages.\1.\2.'),
    (r'^norm\.', 'head.norm.', r'^head\.norm\.', 'norm.'),
    (r'^head\.(weight|bias)$', r'head.fc.\1', r'^head\.fc\.', 'head.'),
)
# official and timm's names of the layers of a block
_LAYERS = (
    ('dwconv.', 'conv_dw.'),
    ('pwconv1.', 'mlp.fc1.'),
    ('pwconv2.', 'mlp.fc2.'),
    ('grn.gamma', 'mlp.grn.weight'),
    ('grn.beta', 'mlp.grn.bias'),
)
# official and torchvision's names of the layers of a block
_TORCHVISION_LAYERS = (
    ('.dwconv.', '.block.0.'),
    ('.norm.', '.block.2.'),
    ('.pwconv1.', '.block.3.'),
    ('.pwconv2.', '.block.5.'),
    ('.gamma', '.layer_scale'),
)
_TORCHVISION_CLASSIFIER = (('norm.', 'classifier.0.'), ('head.', 'classifier.2.'))
_MMPRETRAIN_LAYERS = (
    ('.dwconv.', '.depthwise_conv.'),
    ('.pwconv1.', '.pointwise_conv1.'),
    ('.pwconv2.', '.pointwise_conv2.'),
)
# timm's models that are narrower than this have 1x1 convolutions for linear layers
NARROW = 96


def is_official(names: Iterable[str]) -> bool:
    """True for names of an official (dense) ConvNeXt or ConvNeXt V2."""
    return {'downsample_layers.0.0.weight', 'stages.0.0.dwconv.weight'} <= set(names)


def is_timm(names: Iterable[str]) -> bool:
    """True for names of timm's convnext and convnextv2 models."""
    return {'stem.0.weight', 'stages.0.blocks.0.conv_dw.weight'} <= set(names)


def is_slak(names: Iterable[str]) -> bool:
    """True for names of a SLaK (arXiv:2207.03620), a ConvNeXt with other depthwise units; ours are the official ones, timm has none."""
    return any(name.startswith('stages.0.0.large_kernel.') for name in names)


def to_torchvision(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights` of an official ConvNeXt (not V2) under torchvision's names: stem and downsampling layers count as stages of `features`."""
    return {
        _torchvision_name(name): value[:, None, None] if name.endswith('.gamma') else value
        for name, value in weights.items()
    }


def from_torchvision(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `to_torchvision` turned around."""
    return {
        _from_torchvision_name(name): value.flatten() if name.endswith('.layer_scale') else value
        for name, value in weights.items()
    }


def _torchvision_name(name: str) -> str:
    part = re.match(r'(downsample_layers|stages)\.(\d+)\.', name)
    if part is None:
        return _first_replaced(name, _TORCHVISION_CLASSIFIER)
    number = 2 * int(part[2]) + (part[1] == 'stages')
    name = f'features.{number}.{name[part.end() :]}'
    for official, theirs in _TORCHVISION_LAYERS if part[1] == 'stages' else ():
        name = name.replace(official, theirs)
    return name


def _from_torchvision_name(name: str) -> str:
    part = re.match(r'features\.(\d+)\.', name)
    if part is None:
        return _first_replaced(name, [(theirs, official) for official, theirs in _TORCHVISION_CLASSIFIER])
    stage, odd = divmod(int(part[1]), 2)
    name = f'{"stages" if odd else "downsample_layers"}.{stage}.{name[part.end() :]}'
    for official, theirs in _TORCHVISION_LAYERS if odd else ():
        name = name.replace(theirs, official)
    return name


def _first_replaced(name: str, pairs: Iterable[tuple[str, str]]) -> str:
    """`name` with the first beginning of `pairs` (old, new) that it has replaced."""
    return next((new + name[len(old) :] for old, new in pairs if name.startswith(old)), name)


def from_mmpretrain(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights` of MMPretrain's ConvNeXt, V2 included, under official names and in official shapes.

    Its norm after the last stage alone, `norm3`, is the one before the classifier; copies for dense tasks have one after every stage.
    """
    alone = not any(name.startswith('norm0.') for name in weights)
    renamed = {}
    for name, value in weights.items():
        for official, theirs in _MMPRETRAIN_LAYERS:
            name = name.replace(theirs, official)
        renamed[re.sub(r'^norm3\.', 'norm.', name) if alone else name] = _official_shape(name, value)
    return renamed


def official_name(name: str) -> str:
    """The official name of a tensor that timm calls `name`."""
    for _, _, timm, official in _PLACES:
        name, changed = re.subn(timm, official, name)
        if changed:
            break
    for official, timm in _LAYERS:
        name = name.replace(f'.{timm}', f'.{official}')
    return name


def timm_name(name: str) -> str:
    """timm's name of a tensor that is officially called `name`."""
    for official, timm, _, _ in _PLACES:
        name, changed = re.subn(official, timm, name)
        if changed:
            break
    for official, timm in _LAYERS:
        name = name.replace(f'.{official}', f'.{timm}')
    return name


def to_official(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights` of a timm ConvNeXt under official names and in official shapes; official ones stay as they are."""
    return {(official := official_name(name)): _official_shape(official, value) for name, value in weights.items()}


def _official_shape(name: str, value: Tensor) -> Tensor:
    if '.pwconv' in name and value.dim() == 4:  # 1x1 convolutions for linear layers
        return value.flatten(1)
    return value.reshape(1, 1, 1, -1) if '.grn.' in name else value


def to_timm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights` of an official ConvNeXt under timm's names, in the shapes of the timm model of this size; timm's own stay as they are."""
    stem = weights.get('downsample_layers.0.0.weight')
    convolutions = stem is not None and stem.dim() > 0 and len(stem) < NARROW
    renamed = {}
    for name, value in weights.items():
        name = timm_name(name)
        if convolutions and value.dim() == 2 and '.mlp.fc' in name:
            value = value[:, :, None, None]
        elif '.mlp.grn.' in name:
            value = value.flatten()
        renamed[name] = value
    return renamed
