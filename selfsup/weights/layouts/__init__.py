"""Whose layout a file has, and where in it the backbone stands: the query encoder of MoCo, `backbone.` of many, children of a Sequential.

Known layouts: OpenSelfSup (old and ours), MoCo v1/v2 and v3, SimSiam, Barlow Twins, VICReg, DenseCL, SparK, FCMAE, CNN-JEPA, ConvNeXt,
ConvNeXt V2, SLaK (authors' code), DINO, solo-learn, lightly, VISSL, SwAV, MMPretrain and MMSelfSup, timm, torchvision, and any other code
that has one known network in its file.

To read: `translate`, then `place`. To add a code: where its backbone stands behind a prefix of its own, a line in `_OTHER_PREFIXES`; where
its training model is one of ours under other names, a file like `spark.py` which `translate` asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from torch import Tensor

from ...errors import CheckpointError
from ..families import is_known, is_transformer, known, prefixes
from . import fcmae, spark
from .openselfsup import RENAMED

Weights = dict[str, Tensor]
# Where the backbone is found, the first that matches: ours, and OpenSelfSup's (MoCo's query encoder, BYOL's online network).
_PREFIXES = ('backbone.', *(old for old, ours in RENAMED if ours == 'backbone.'))
# The same of other code, taken where a known network follows. What is longer comes first.
_OTHER_PREFIXES = (
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
OUTSIDE, COPY, SECOND = (
    'no part of the backbone',
    'a slowly moving copy of the network',
    'a second copy of the backbone',
)
ONLINE, STUDENT = (
    'the online network, of which the momentum network is the one that is evaluated',
    'the student, of which the teacher is the one that is evaluated',
)
CNN_JEPA, SWAV = "CNN-JEPA's momentum network", 'SwAV'
_MOMENTUM = 'backbone_momentum.'  # of CNN-JEPA and lightly
# fmt: off
_COPIES = (
    'encoder_k.', 'key_', 'target_', 'momentum_', 'backbone_momentum.', 'projection_head_momentum.', 'teacher_', 'ema_',
)
_COPIED = ('encoder_k', 'key', 'target', 'momentum', 'teacher', 'ema')  # parts of the names of such copies
# Of whole training models, whose files have every tensor of the backbone: where one is missing, the file is cut or of another network.
_COMPLETE = (CNN_JEPA, SWAV, 'DINO', 'DenseCL', "MoCo v3's code", "an encoder, as in SimSiam's code", 'solo-learn, Barlow Twins or VICReg')
# of SwAV and others, beside bare weights
_BESIDE_BARE = ('projection_head.', 'prototypes.', 'projector.', 'predictor.', 'n_averaged')
# fmt: on
# what the rest of a file with `backbone.` says about the code that wrote it: beginning -> name
_MARKS = (
    ('encoder_q.1.mlp2.', 'DenseCL'),
    ('encoder_k.module.', 'MMPretrain'),
    ('target_net.module.', 'MMPretrain'),
    ('head.fc.', 'MMPretrain'),
    ('momentum_backbone.', 'solo-learn'),
    ('projector.', 'solo-learn, Barlow Twins or VICReg'),
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


def translate(weights: Mapping[str, Tensor]) -> tuple[Weights, str, dict[str, str]]:
    """Give the weights of official training models our names, `backbone.*` and those of the other parts. Other names stay.

    Args:
        weights: name -> tensor, without a frame around them.

    Returns:
        The weights; which code wrote the file, or '' if no name was changed; and, by name in the file, why a tensor is left out.
    """
    if spark.is_official(weights):
        constants = dict.fromkeys(filter(weights.__contains__, spark.CONSTANTS), 'a constant of the official code')
        return spark.to_ours(weights), spark.TITLE, constants
    if fcmae.is_official(weights):
        return fcmae.to_ours(weights), fcmae.TITLE, {}
    return dict(weights), '', {}


def place(
    weights: Mapping[str, Tensor], source: str, expected: Collection[str]
) -> tuple[str, str, Weights, Weights, dict[str, str]]:
    """Where the backbone stands among the weights of a file.

    Args:
        weights: of the file.
        source: the file, for messages.
        expected: names in the backbone that is to take the weights; () where it is not known.

    Returns:
        The prefix of the backbone's names; whose layout that is, '' for bare weights; the weights of the backbone, without the prefix; the
        other weights; and for the name of each of these why it is not part of the backbone.

    Raises:
        CheckpointError: there is no place for a backbone, and it is no bare network that is known; or there are several.
    """
    if is_cnn_jepa(weights):
        prefix, layout = _MOMENTUM, CNN_JEPA
    else:
        prefix, layout = _prefix(weights, source, expected)
    inside = {name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)}
    beside = {name: value for name, value in weights.items() if not name.startswith(prefix)}
    if not prefix:
        beside = {name: inside.pop(name) for name in list(inside) if name.startswith(_BESIDE_BARE)}
        layout = SWAV if any(name.startswith('prototypes.') for name in beside) else layout
    elif not layout:
        marks = (title for mark, title in _MARKS if any(name.startswith(mark) for name in beside))
        layout = next(marks, '') if prefix == 'backbone.' else 'OpenSelfSup'
    online = ('backbone.', 'backbone_sparse.') if layout == CNN_JEPA else ()
    return prefix, layout, inside, beside, {n: ONLINE if n.startswith(online) else _reason(n) for n in beside}


def is_cnn_jepa(names: Collection[str]) -> bool:
    """True for names of a training model of CNN-JEPA: its momentum network beside a mask token."""
    return 'mask_token' in names and any(name.startswith(_MOMENTUM) for name in names)


def is_complete(origin: str) -> bool:
    """True where a file of this origin (`Found.layout`) has every tensor of its backbone, unless it is cut or of another network."""
    return origin.startswith(_COMPLETE)


def _prefix(weights: Mapping[str, Tensor], source: str, expected: Collection[str]) -> tuple[str, str]:
    """What stands before the names of the backbone, and whose layout that is, where the prefix alone tells."""

    def fits(names: Collection[str]) -> bool:
        return is_known(names) or any(name in expected or f'model.{name}' in expected for name in names)

    if 2 * sum(name in expected for name in weights) > len(expected):
        return '', ''
    for prefix, layout in (*((prefix, '') for prefix in _PREFIXES), *_OTHER_PREFIXES):
        inside = [name[len(prefix) :] for name in weights if name.startswith(prefix)]
        if inside and (not layout or fits(inside)):
            return prefix, layout
    if fits(weights):
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
            f'{source} holds a vision transformer without a prefix; what is known by its weights is {known("and")}. For '
            'another network give the config of its run.'
        )
    raise CheckpointError(
        f'{source} has no backbone: its {len(weights)} tensors begin with {_beginnings(weights)}; expected one of '
        f'{", ".join([*_PREFIXES, *(prefix for prefix, _ in _OTHER_PREFIXES)])}, or the bare weights of a {known("or")}.'
    )


def _reason(name: str) -> str:
    if name.startswith(_COPIES):
        return COPY
    return SECOND if name.startswith(_PREFIXES[1:]) else OUTSIDE


def _beginnings(names: Iterable[str]) -> str:
    """First parts of dotted names, the most common first."""
    counts = Counter(name.split('.')[0] + ('.' if '.' in name else '') for name in names)
    shown = ', '.join(f"'{first}'" for first, _ in counts.most_common(8))
    return shown + (', ...' if len(counts) > 8 else '') or 'nothing'
