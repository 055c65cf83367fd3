"""Where a file keeps its backbone, and whose layout that is: the query encoder of MoCo, `backbone.` of many, children of a Sequential.

Known layouts: OpenSelfSup (old and ours), MoCo v1/v2 and v3, SimSiam, SparK, FCMAE, ConvNeXt, ConvNeXt V2, SLaK (authors' code), DINO,
solo-learn, lightly, timm, torchvision, and any other code that writes `backbone.`, `encoder.` or `model.` before a known network.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from ..errors import CheckpointError
from . import convnext
from .incoming import OUTSIDE, translate

FRAMES = ('state_dict', 'model', 'module', 'teacher')  # entries of a checkpoint that hold the weights; DINO's teacher is what is evaluated
# Where the backbone is found, the first that matches: ours and OpenSelfSup's, MoCo's query encoder, BYOL's online network.
PREFIXES = ('backbone.', 'encoder_q.0.', 'online_net.0.')
# The same of other code, taken where a known network follows. What is longer comes first.
OTHER_PREFIXES = (
    ('online_backbone.', 'an online network'), ('student_backbone.', 'a student network'), ('teacher_backbone.', 'a teacher network'),
    ('encoder_q.', "MoCo's code"), ('base_encoder.', "MoCo v3's code"), ('online_encoder.net.', 'byol-pytorch'),
    ('encoder.', "an encoder, as in SimSiam's code"), ('model.', 'timm in a wrapper'), ('net.', 'a wrapped network'),
)
COPY, SECOND = 'a slowly moving copy of the network', 'a second copy of the backbone'
_COPIES = ('encoder_k.', 'key_', 'target_', 'momentum_', 'backbone_momentum.', 'projection_head_momentum.', 'teacher_', 'ema_')
# what the rest of a file with `backbone.` says about the code that wrote it: beginning -> name
_MARKS = (
    ('momentum_backbone.', 'solo-learn'), ('projector.', 'solo-learn or Barlow Twins'), ('classifier.', 'solo-learn'),
    ('backbone_momentum.', 'lightly'), ('projection_head', 'lightly'), ('prediction_head', 'lightly'), ('head.mlp.', 'DINO'),
    ('key_', 'selfsup'), ('target_', 'selfsup'), ('neck.', 'selfsup or OpenSelfSup'), ('head.', 'selfsup or OpenSelfSup'),
)
_FAMILIES = (
    (re.compile(r'layer[1-4]\.\d+\.conv1\.weight$'), 'ResNet, names of torchvision and timm'),
    (re.compile(r'[4-7]\.\d+\.conv1\.weight$'), 'ResNet, children of torchvision in a Sequential'),
    (re.compile(r'stages\.\d+\.\d+\.large_kernel\.'), "SLaK, authors' names"),
    (re.compile(r'stages\.\d+\.\d+\.dwconv\.'), "ConvNeXt, authors' names"),
    (re.compile(r'stages\.\d+\.blocks\.\d+\.conv_dw\.'), "ConvNeXt, timm's names"),
    (re.compile(r'features\.\d+\.\d+\.block\.'), "ConvNeXt, torchvision's names"),
)
_CHILDREN = {'0': 'conv1', '1': 'bn1', '4': 'layer1', '5': 'layer2', '6': 'layer3', '7': 'layer4'}.items()


@dataclass(frozen=True)
class Found:
    """A backbone in a file.

    Attributes:
        layout: what the file was recognised as.
        weights: of the backbone, under plain names, as in the file otherwise.
        unused: name in the file -> why it is not part of the backbone.
    """

    layout: str
    weights: dict[str, Tensor]
    unused: dict[str, str]


def find_backbone(checkpoint: Mapping, source: str) -> Found:
    """The backbone in what `read_checkpoint` gave.

    Args:
        checkpoint: weights under one of `FRAMES`, or the weights themselves.
        source: the file, for messages.

    Raises:
        CheckpointError: there is no place for a backbone, and it is no bare network that is known.
    """
    frame = next((checkpoint[key] for key in FRAMES if isinstance(checkpoint.get(key), Mapping)), checkpoint)
    given = {name.removeprefix('module.'): value for name, value in frame.items() if isinstance(value, Tensor)}
    incoming = translate(given)
    weights, origin = incoming.weights, incoming.origin
    for prefix, layout in (*((prefix, '') for prefix in PREFIXES), *OTHER_PREFIXES):
        found = {name[len(prefix):]: value for name, value in weights.items() if name.startswith(prefix)}
        if found and (not layout or family(found)):
            rest = [name for name in weights if not name.startswith(prefix)]
            title = origin or layout or _writer(prefix, rest)
            parts = (title, '' if origin else f"under '{prefix}'", family(found))
            return Found(', '.join(part for part in parts if part), found, {**incoming.unused, **{name: _reason(name) for name in rest}})
    if family(weights):
        return Found(', '.join(part for part in (origin, f'bare {family(weights)}') if part), weights, incoming.unused)
    if is_transformer(weights):
        raise CheckpointError(f'{source} holds a vision transformer without a prefix; what is known by its weights is ResNet, ConvNeXt and '
                              "SLaK. Checkpoints of our own runs, where it stands under 'backbone.', can be read.")
    raise CheckpointError(f'{source} has no backbone: its {len(weights)} tensors begin with {_beginnings(weights)}; '
                          f"expected one of {', '.join([*PREFIXES, *(prefix for prefix, _ in OTHER_PREFIXES)])}, or the bare weights of a "
                          'ResNet, ConvNeXt or SLaK.')


def family(names: Iterable[str]) -> str:
    """Which network, under whose names, plain `names` belong to; '' where none is known. `model.` may stand before them."""
    names = [name.removeprefix('model.') for name in names]
    return next((title for pattern, title in _FAMILIES if any(map(pattern.match, names))), '')


def is_transformer(names: Iterable[str]) -> bool:
    """True for names of a vision transformer or a Swin."""
    return any('.attn.' in name or '.self_attention.' in name for name in names)


def in_our_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of one of the networks that `family` knows, under the names of our backbones; others as they are."""
    plain = {name.removeprefix('model.'): value for name, value in weights.items()}
    title = family(plain)
    if title.endswith('Sequential'):
        return {_of_children(name): value for name, value in plain.items()}
    if title.endswith("timm's names"):
        return convnext.to_official(plain)
    if title.endswith("torchvision's names"):
        return convnext.from_torchvision(plain)
    return plain if title else dict(weights)


def _of_children(name: str) -> str:
    number, _, rest = name.partition('.')
    return next((f'{child}.{rest}' for position, child in _CHILDREN if position == number), name)


def _writer(prefix: str, rest: list[str]) -> str:
    """Name of the code that wrote a file with `prefix`, judged by its other tensors."""
    if prefix != 'backbone.':
        return 'OpenSelfSup'
    return next((title for mark, title in _MARKS if any(name.startswith(mark) for name in rest)), '')


def _reason(name: str) -> str:
    if name.startswith(_COPIES):
        return COPY
    return SECOND if name.startswith(PREFIXES[1:]) else OUTSIDE


def _beginnings(names: Iterable[str]) -> str:
    """First parts of dotted names, the most common first."""
    counts: dict[str, int] = {}
    for name in names:
        first = name.split('.')[0] + ('.' if '.' in name else '')
        counts[first] = counts.get(first, 0) + 1
    ordered = sorted(counts, key=lambda first: -counts[first])
    return ', '.join(f"'{first}'" for first in ordered[:8]) + (', ...' if len(ordered) > 8 else '') if ordered else 'nothing'
