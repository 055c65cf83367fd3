"""Take the weights out of what stands around them in a checkpoint: optimizer, description, averages of other weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import CheckpointError, listed
from .read import check_finite

# names of the backbone of a momentum network in a training model: ours, lightly's (and CNN-JEPA's), solo-learn's; MMSelfSup's and
# OpenSelfSup's, where it is the first part of a Sequential; MoCo's codes. What is longer comes first.
FOLLOWERS = (
    *('target_backbone.', 'key_backbone.', 'teacher_backbone.', 'backbone_momentum.', 'momentum_backbone.'),
    *('encoder_k.module.0.', 'target_net.module.0.', 'momentum_encoder.module.0.'),
    *('encoder_k.0.', 'target_net.0.'),
    *('encoder_k.', 'momentum_encoder.'),
)
# entries of a checkpoint that hold the weights; DINO's teacher is what is evaluated
FRAMES = ('state_dict', 'model', 'module', 'teacher', 'model_state_dict')
VISSL = ('classy_state_dict', 'base_model', 'model')  # one in the other; in the last are `trunk` and `heads`
AVERAGE = 'ema'  # entry of a checkpoint that holds the moving average of the model: EMAHook, and SparK's fine-tuning
# the same in ConvNeXt, ConvNeXt V2, SLaK and torchvision, and in timm
OFFICIAL_AVERAGES = ('model_ema', 'state_dict_ema')


def meta_of(checkpoint: Mapping) -> Mapping[str, Any]:
    """What a run has written about itself, `meta`; {} in files of others."""
    meta = checkpoint.get('meta')
    return meta if isinstance(meta, Mapping) else {}


def averaged(checkpoint: dict, path: str | os.PathLike) -> dict:
    """The checkpoint with the moving average of its run in the place of the weights: that of `EMAHook`, or of official files.

    Raises:
        CheckpointError: there is none.
    """
    rest = {key: value for key, value in checkpoint.items() if key not in OFFICIAL_AVERAGES}
    average = next((checkpoint[key] for key in OFFICIAL_AVERAGES if isinstance(checkpoint.get(key), dict)), None)
    if average is None:
        average = checkpoint.get(AVERAGE)
        if isinstance(average, dict) and not any(isinstance(value, Tensor) for value in average.values()):
            average = average.get('state_dict', ())  # of EMAHook
    if not isinstance(average, dict):
        raise CheckpointError(
            f'{path} holds no moving average of the weights: its run had no EMAHook. Leave out --ema.'
        )
    return {**rest, 'state_dict': average}


def followed(checkpoint: dict, path: str | os.PathLike) -> dict:
    """The checkpoint with the backbone of the momentum network, under `backbone.`, in the place of the weights.

    Raises:
        CheckpointError: there is none.
    """
    if isinstance(checkpoint.get('teacher'), Mapping):
        raise CheckpointError(
            f"{path} is of DINO's code: its teacher, the momentum network, is what is taken without --momentum. Leave it out."
        )
    weights = flat_weights(checkpoint, str(path))
    for prefix in FOLLOWERS:
        found = {f'backbone.{name[len(prefix) :]}': value for name, value in weights.items() if name.startswith(prefix)}
        if found:
            return {**{key: value for key, value in checkpoint.items() if key not in FRAMES}, 'state_dict': found}
    raise CheckpointError(
        f'{path} holds no momentum network, under none of {", ".join(FOLLOWERS)}: its method has none. Leave out --momentum.'
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
    return ascii(listed(names, 20))[1:-1] if names else 'none'


def _check_names(frame: Mapping, source: str) -> None:
    """Every entry beside weights is a weight too: one of another type, or two of the same name, would be lost without a word."""
    for name, value in frame.items():
        if not isinstance(name, str):
            raise CheckpointError(f'{source} holds a weight under {name!r:.80}, which is no name.')
        # SparK keeps its 'config' there
        if not isinstance(value, Tensor) and '.' in name and not name.endswith('_extra_state'):
            raise CheckpointError(
                f"{source} holds a {type(value).__name__} under '{name[:80]!s}', where a tensor should be."
            )
        if name.startswith('module.') and name.removeprefix('module.') in frame:
            raise CheckpointError(
                f"{source} holds '{name}' with and without 'module.': which of the two counts cannot be told."
            )
