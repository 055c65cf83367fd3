"""Where a file keeps its backbone, and whose layout that is: the query encoder of MoCo, `backbone.` of many, children of a Sequential.

Known layouts: OpenSelfSup (old and ours), MoCo v1/v2 and v3, SimSiam, SparK, FCMAE, ConvNeXt, ConvNeXt V2, SLaK (authors' code), DINO,
solo-learn, lightly, VISSL, SwAV, MMPretrain and MMSelfSup, timm, torchvision, and any other code that has one known network in its file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..checkpoint_io import check_finite
from ..errors import CheckpointError
from .classifier import Classifier, find_classifier
from .families import family, in_our_names, is_transformer, prefixes
from .incoming import OUTSIDE, translate
from .untrained import untrained

# entries of a checkpoint that hold the weights; DINO's teacher is what is evaluated
FRAMES = ('state_dict', 'model', 'module', 'teacher', 'model_state_dict')
VISSL = ('classy_state_dict', 'base_model', 'model')  # one in the other; in the last are `trunk` and `heads`
# Where the backbone is found, the first that matches: ours and OpenSelfSup's, MoCo's query encoder, BYOL's online network.
PREFIXES = ('backbone.', 'encoder_q.0.', 'online_net.0.')
# The same of other code, taken where a known network follows. What is longer comes first.
OTHER_PREFIXES = (
    ('online_backbone.', 'an online network'),
    ('student_backbone.', 'a student network'),
    ('teacher_backbone.', 'a teacher network'),
    ('encoder_q.', "MoCo's code"),
    ('base_encoder.', "MoCo v3's code"),
    ('online_encoder.net.', 'byol-pytorch'),
    ('encoder.', "an encoder, as in SimSiam's code"),
    ('model.', 'timm in a wrapper'),
    ('net.', 'a wrapped network'),
)
COPY, SECOND = 'a slowly moving copy of the network', 'a second copy of the backbone'
_COPIES = (
    'encoder_k.',
    'key_',
    'target_',
    'momentum_',
    'backbone_momentum.',
    'projection_head_momentum.',
    'teacher_',
    'ema_',
)
_COPIED = ('encoder_k', 'key', 'target', 'momentum', 'teacher', 'ema')  # parts of the names of such copies
_BESIDE_BARE = (
    'projection_head.',
    'prototypes.',
    'projector.',
    'predictor.',
    'n_averaged',
)  # of SwAV and others, beside bare weights
# what the rest of a file with `backbone.` says about the code that wrote it: beginning -> name
_MARKS = (
    ('encoder_k.module.', 'MMPretrain'),
    ('target_net.module.', 'MMPretrain'),
    ('head.fc.', 'MMPretrain'),
    ('momentum_backbone.', 'solo-learn'),
    ('projector.', 'solo-learn or Barlow Twins'),
    ('classifier.', 'solo-learn'),
    ('backbone_momentum.', 'lightly'),
    ('projection_head', 'lightly'),
    ('prediction_head', 'lightly'),
    ('head.mlp.', 'DINO'),
    ('key_', 'selfsup'),
    ('target_', 'selfsup'),
    ('neck.', 'selfsup or OpenSelfSup'),
    ('head.', 'selfsup or OpenSelfSup'),
)


@dataclass(frozen=True)
class Found:
    """A backbone in a file.

    Attributes:
        layout: what the file was recognised as.
        weights: of the backbone, under plain names, as in the file otherwise.
        unused: name in the file -> why it is not part of the backbone.
        classifier: the classifier that the file was trained with, or None.
        untrained: tensors of the backbone that its run has never trained, under plain names; they are in `unused`, not in `weights`.
    """

    layout: str
    weights: dict[str, Tensor]
    unused: dict[str, str]
    classifier: Classifier | None = None
    untrained: dict[str, Tensor] = field(default_factory=dict)


def find_backbone(checkpoint: Mapping, source: str, own: Collection[str] = ()) -> Found:
    """The backbone in what `read_checkpoint` gave.

    Args:
        checkpoint: weights in a frame that `flat_weights` knows, or the weights themselves.
        source: the file, for messages.
        own: names in the backbone that is to take the weights; with them a network that is not known by its weights is found too.

    Raises:
        CheckpointError: there is no place for a backbone, and it is no bare network that is known; or there are several.
    """
    incoming = translate(flat_weights(checkpoint, source))
    prefix, layout = _place(incoming.weights, source, own)
    inner = {name[len(prefix) :]: value for name, value in incoming.weights.items() if name.startswith(prefix)}
    beside = {name: value for name, value in incoming.weights.items() if not name.startswith(prefix)}
    if not prefix:
        beside = {name: inner.pop(name) for name in list(inner) if name.startswith(_BESIDE_BARE)}
    names, reason = untrained(checkpoint) if len(inner) > 1 else ((), '')
    left = {name: inner.pop(name) for name in names if name in inner}
    if left and not inner:
        raise CheckpointError(f'{source} has no trained backbone: all of its {len(left)} tensors are {reason}.')
    title = incoming.origin or layout or (_writer(prefix, beside) if prefix else '')
    network = family(inner)
    parts = (
        title,
        f"under '{prefix}'" if prefix and not incoming.origin else '',
        network if prefix else f'bare {network or "weights"}',
    )
    meta = checkpoint.get('meta')
    of_training = isinstance(meta, Mapping) and meta.get('algorithm', 'Classification') != 'Classification'
    unused = {**incoming.unused, **{name: _reason(name) for name in beside}, **{prefix + name: reason for name in left}}
    return Found(
        ', '.join(part for part in parts if part),
        inner,
        unused,
        None if of_training else find_classifier(prefix, in_our_names(inner), beside),
        left,
    )


def flat_weights(checkpoint: Mapping, source: str) -> dict[str, Tensor]:
    """The weights in a checkpoint: those under one of `FRAMES`, VISSL's trunk and heads, or all at the top; without a DDP prefix.

    Raises:
        CheckpointError: there are none, one is no tensor, or one is not finite.
    """
    frame = next((checkpoint[key] for key in FRAMES if isinstance(checkpoint.get(key), Mapping)), checkpoint)
    inner: Any = checkpoint
    for key in VISSL:
        inner = inner.get(key) if isinstance(inner, Mapping) else None
    if isinstance(inner, Mapping):
        frame = {
            f'{part}.{name}': value
            for part, weights in inner.items()
            if isinstance(weights, Mapping)
            for name, value in weights.items()
        }
    weights = {
        name.removeprefix('module.'): value
        for name, value in frame.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if weights and frame is not checkpoint:
        _check_names(frame, source)
    if not weights:
        raise CheckpointError(
            f'{source} holds no weights, neither at the top nor under {", ".join(FRAMES)}; its entries are '
            f'{entries(checkpoint)}.'
        )
    strange = [
        f'{name} ({value.dtype})'
        for name, value in weights.items()
        if value.is_complex() or (name.endswith('.weight') and not value.is_floating_point())
    ]
    if strange:
        more = f' and {len(strange) - 4} more' if strange[4:] else ''
        raise CheckpointError(
            f'{source}: {", ".join(strange[:4])}{more} should be floats, what a network computes with. Save the weights '
            'before they were converted.'
        )
    check_finite(weights, source)
    return weights


def entries(checkpoint: Mapping) -> str:
    """The first names in a checkpoint, for messages."""
    names = [str(name)[:80] for name in checkpoint]
    return (
        ascii(', '.join(names[:20]))[1:-1] + (f', ... ({len(names)} in all)' if len(names) > 20 else '')
        if names
        else 'none'
    )


def _check_names(frame: Mapping, source: str) -> None:
    """Every entry beside weights is a weight too: one of another type, or two of the same name, would be lost without a word."""
    for name, value in frame.items():
        if not isinstance(name, str):
            raise CheckpointError(f'{source} holds a weight under {name!r:.80}, which is no name.')
        if (
            not isinstance(value, Tensor) and '.' in name and not name.endswith('_extra_state')
        ):  # SparK keeps its 'config' there
            raise CheckpointError(
                f"{source} holds a {type(value).__name__} under '{name[:80]!s}', where a tensor should be."
            )
        if name.startswith('module.') and name.removeprefix('module.') in frame:
            raise CheckpointError(
                f"{source} holds '{name}' with and without 'module.': which of the two counts cannot be told."
            )


def _place(weights: Mapping[str, Tensor], source: str, own: Collection[str]) -> tuple[str, str]:
    """What stands before the names of the backbone, and whose layout that is, where the prefix alone tells."""

    def known(names: Collection[str]) -> bool:
        return bool(family(names)) or any(name in own or f'model.{name}' in own for name in names)

    if 2 * sum(name in own for name in weights) > len(own):
        return '', ''
    for prefix, layout in (*((prefix, '') for prefix in PREFIXES), *OTHER_PREFIXES):
        inner = [name[len(prefix) :] for name in weights if name.startswith(prefix)]
        if inner and (not layout or known(inner)):
            return prefix, layout
    if known(weights):
        return '', ''
    others = [prefix for prefix in prefixes(weights) if not any(part.startswith(_COPIED) for part in prefix.split('.'))]
    if len(others) == 1:
        return others[0], 'VISSL' if '_feature_blocks.' in others[0] else 'other code'
    if others:
        raise CheckpointError(
            f'{source} holds several networks, under {", ".join(map(repr, others))}: save the one that you mean alone.'
        )
    if is_transformer(weights):
        raise CheckpointError(
            f'{source} holds a vision transformer without a prefix; what is known by its weights is ResNet, ConvNeXt and '
            'SLaK. For another network give the config of its run.'
        )
    raise CheckpointError(
        f'{source} has no backbone: its {len(weights)} tensors begin with {_beginnings(weights)}; '
        f'expected one of {", ".join([*PREFIXES, *(prefix for prefix, _ in OTHER_PREFIXES)])}, or the bare weights of a '
        'ResNet, ConvNeXt or SLaK.'
    )


def _writer(prefix: str, rest: Iterable[str]) -> str:
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
    return (
        ', '.join(f"'{first}'" for first in ordered[:8]) + (', ...' if len(ordered) > 8 else '')
        if ordered
        else 'nothing'
    )
