"""Networks that are known by the names of their weights, in the spellings of the libraries that write them.

Our names are torchvision's for ResNet and the authors' for ConvNeXt, ConvNeXt V2 and SLaK.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from torch import Tensor

from . import convnext

_CHILD = re.compile(r'([2-7])\.\d+\.conv1\.weight$')  # a stage of a ResNet that was cut into a Sequential
# a name that only such a network has -> network and spelling; the first that matches
_FAMILIES = (
    (re.compile(r'layer[1-4]\.\d+\.shortcut\.[01]\.'), "ResNet, lightly's names"),
    (re.compile(r'layer[1-4]\.\d+\.conv1\.weight$'), 'ResNet, names of torchvision and timm'),
    (_CHILD, 'ResNet, children of a Sequential'),
    (re.compile(r'stages\.\d+\.\d+\.large_kernel\.'), "SLaK, authors' names"),
    (re.compile(r'stages\.\d+\.\d+\.dwconv\.'), "ConvNeXt, authors' names"),
    (re.compile(r'stages\.\d+\.\d+\.depthwise_conv\.'), "ConvNeXt, MMPretrain's names"),
    (re.compile(r'stages\.\d+\.blocks\.\d+\.conv_dw\.'), "ConvNeXt, timm's names"),
    (re.compile(r'features\.\d+\.\d+\.block\.'), "ConvNeXt, torchvision's names"),
)
_MARK = re.compile('|'.join(rf'(?:{pattern.pattern})' for pattern, _ in _FAMILIES))


def family(names: Iterable[str]) -> str:
    """Which network, under whose names, plain `names` belong to; '' where none is known. `model.` may stand before them."""
    names = [name.removeprefix('model.') for name in names]
    return next((title for pattern, title in _FAMILIES if any(map(pattern.match, names))), '')


def prefixes(names: Iterable[str]) -> list[str]:
    """What stands before known networks in `names`: `trunk.` of `trunk.layer1.0.conv1.weight`."""
    found: dict[str, None] = {}
    for name in names:
        starts = [0, *(dot.end() for dot in re.finditer(r'\.', name))]
        start = next((start for start in starts if _MARK.match(name, start)), None)
        if start is not None:
            found[name[:start]] = None
    return list(found)


def is_transformer(names: Iterable[str]) -> bool:
    """True for names of a vision transformer or a Swin."""
    return any('.attn.' in name or '.self_attention.' in name for name in names)


def in_our_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of one of the networks that `family` knows, under the names of our backbones; others as they are.

    A classifier among them is `fc.` in a ResNet, `norm.` and `head.` in a ConvNeXt or SLaK.
    """
    plain = {name.removeprefix('model.'): value for name, value in weights.items()}
    title = family(plain)
    if title.endswith('Sequential'):
        plain = {_of_children(name, plain): value for name, value in plain.items()}
    if title.startswith('ResNet'):
        return {_lightly(name): value for name, value in plain.items()}
    if title.endswith("timm's names"):
        return convnext.to_official(plain)
    if title.endswith("torchvision's names"):
        return convnext.from_torchvision(plain)
    if title.endswith("MMPretrain's names"):
        return convnext.from_mmpretrain(plain)
    return plain if title else dict(weights)


def lacks_stem_relu(names: Collection[str]) -> bool:
    """True for children of a Sequential whose first stage follows the stem's norm at once: no number is left for a ReLU between them.

    So it is where the network calls its ReLU as a function, as lightly's ResNet does: what was trained has none there.
    """
    stem, stages = _children([name.removeprefix('model.') for name in names])
    return bool(stem and stages) and int(stages[0]) == int(stem[-1]) + 1


def _children(names: Collection[str]) -> tuple[list[str], list[str]]:
    """Numbers of the layers with weights before the first stage, and of the stages, of a ResNet that was cut into a Sequential."""
    stages = sorted({found[1] for found in map(_CHILD.match, names) if found})
    return sorted(
        {first for first in (name.split('.')[0] for name in names) if stages and first.isdigit() and first < stages[0]}
    ), stages


def _of_children(name: str, names: Collection[str]) -> str:
    """torchvision's name of a tensor in such a Sequential: convolution and norm, then four stages. What stands beside keeps its name."""
    stem, stages = _children(names)
    number, _, rest = name.partition('.')
    places = dict(zip(stages, ('layer1', 'layer2', 'layer3', 'layer4'), strict=False))
    if len(stem) == 2:
        places.update(zip(stem, ('conv1', 'bn1'), strict=True))
    return f'{places[number]}.{rest}' if number in places else name


def _lightly(name: str) -> str:
    """torchvision's name of a tensor that lightly's ResNet has under another one."""
    name = name.replace('.shortcut.', '.downsample.')
    return f'fc.{name.removeprefix("linear.")}' if name.startswith('linear.') else name
