"""Take the backbone out of a checkpoint, and put a checkpoint into the form in which it is published."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

from torch import Tensor

from ..checkpoint_io import (
    OFFICIAL_AVERAGES,
    averaged,
    check_apart,
    check_finite,
    read_checkpoint,
    write_checkpoint_atomic,
)
from ..errors import CheckpointError, ConfigError, SelfSupWarning
from ..provenance import sha256
from . import convnext
from .description import described, public, public_name
from .families import in_our_names
from .layouts import FRAMES, VISSL, find_backbone, flat_weights

AUTHOR = 'selfsup'
NAMINGS = ('own', 'official', 'timm')


def backbone_weights(checkpoint: dict, source: str, naming: str = 'own') -> dict[str, Tensor]:
    """Weights of the backbone under plain names, without those that its run has never trained, of which a warning tells.

    Args:
        checkpoint: what `read_checkpoint` gave, in any of the layouts that `find_backbone` knows.
        source: the file, for messages.
        naming: see `renamed`.

    Raises:
        CheckpointError: see `find_backbone`.
        ConfigError: see `renamed`.
    """
    found = find_backbone(checkpoint, source)
    if found.untrained:
        reason = next(why for name, why in found.unused.items() if name.endswith(tuple(found.untrained)))
        first = ', '.join(list(found.untrained)[:3])
        warnings.warn(
            f'{source}: {len(found.untrained)} tensors of the backbone are left out, as they are {reason}: {first}, ...',
            SelfSupWarning,
            stacklevel=2,
        )
    return renamed(found.weights, naming)


def renamed(weights: dict[str, Tensor], naming: str) -> dict[str, Tensor]:
    """A backbone's weights under the names that other code knows; the values are the same.

    Args:
        weights: of a backbone alone.
        naming: 'own' leaves them as they are (those of a `TIMMBackbone` begin with `model.`). 'timm' and 'official' drop that
            beginning and give a ConvNeXt or ConvNeXt V2 the names of timm or of its authors, a ResNet those of torchvision.

    Raises:
        ConfigError: another `naming`.
    """
    if naming not in NAMINGS:
        raise ConfigError(f'naming={naming!r}: use {", ".join(map(repr, NAMINGS))}.')
    if naming == 'own':
        return weights
    plain = in_our_names({name.removeprefix('model.'): value for name, value in weights.items()})
    return convnext.to_timm(plain) if naming == 'timm' and convnext.is_official(plain) else plain


def extract_backbone(
    source: str | os.PathLike,
    target: str | os.PathLike,
    force: bool = False,
    naming: str = 'own',
    average: bool = False,
) -> tuple[Path, int]:
    """Write the backbone of checkpoint `source` to `target`: `{'state_dict', 'author', 'meta'}`.

    Args:
        source: see `backbone_weights`.
        target: file to write.
        force: replace `target` if it exists.
        naming: see `renamed`.
        average: take the moving average instead of the weights, see `averaged`.

    Returns:
        The file and the number of tensors in it.

    Raises:
        CheckpointError: `source` cannot be read or has no backbone, or no `average`, or `target` exists and not `force`, or is `source`.
    """
    target = Path(target)
    if target.exists() and not force:
        raise CheckpointError(f'{target} exists; give --force to replace it, or another name.')
    check_apart(source, target)
    checkpoint = read_checkpoint(source)
    if average:
        checkpoint = averaged(checkpoint, source)
    weights = backbone_weights(checkpoint, str(source), naming)
    content = {'state_dict': weights, 'author': AUTHOR, 'meta': {**described(checkpoint), 'source': Path(source).name}}
    return write_checkpoint_atomic(content, target), len(weights)


def publish(source: str | os.PathLike, out_dir: str | os.PathLike | None = None) -> tuple[Path, list[str]]:
    """Write `{name}-{first 8 hex digits of its SHA-256}.pth`: weights and description, nothing that only training needs.

    Kept are the weights (of the files of other code their averages too) and of `meta` what a user needs who does not resume: epoch, iter,
    algorithm, class names and the config, in which absolute paths become their last part. Left out are optimizer, schedules and
    averages of ours, and all that says where and by whom it was trained: host, versions, time, command line, digests for a resume.

    The name is that of the file; `latest.pth` is published under the name of its run (its folder) and its epoch. The digits are those
    of the finished file, read back from the disk; the file is then loaded once more.

    Args:
        source: checkpoint; left as it is.
        out_dir: folder of the result; None takes that of `source`.

    Returns:
        The file, and the entries that were left out.

    Raises:
        CheckpointError: `source` cannot be read, has no weights or weights that are not finite, or the result cannot be written.
    """
    source = Path(source)
    checkpoint = read_checkpoint(source)
    kept = _published(checkpoint, str(source))
    folder = Path(out_dir) if out_dir is not None else source.parent
    stem = re.sub(
        r'-[0-9a-f]{8}$', '', public_name(source, checkpoint)
    )  # publishing a published file does not lengthen its name
    unnamed = write_checkpoint_atomic(kept, folder / f'.{stem}.{os.getpid()}.tmp')
    target = folder / f'{stem}-{sha256(unnamed)[:8]}.pth'
    os.replace(unnamed, target)
    if sha256(target)[:8] != target.stem[-8:] or set(_weights(read_checkpoint(target))) != set(_weights(kept)):
        raise CheckpointError(f'{target} did not read back as it was written; the disk may be failing.')
    return target, [str(key)[:80] for key in checkpoint if key not in kept]


def _published(checkpoint: dict, source: str) -> dict:
    """What of a checkpoint is published.

    Raises:
        CheckpointError: weights that are not finite, or something else in their place.
    """
    flat_weights(checkpoint, source)
    frames = {key: checkpoint[key] for key in (*FRAMES, *OFFICIAL_AVERAGES) if isinstance(checkpoint.get(key), dict)}
    if 'state_dict' in frames:
        frames = {'state_dict': frames['state_dict']}
    for key, weights in frames.items():
        check_finite(weights, source, f'weights under {key}')
        frames[key] = {name: value for name, value in weights.items() if isinstance(value, Tensor)}
    kept = frames or {key: value for key, value in checkpoint.items() if isinstance(value, Tensor) or key == VISSL[0]}
    if VISSL[0] in kept:
        kept[VISSL[0]] = {VISSL[1]: {VISSL[2]: kept[VISSL[0]][VISSL[1]][VISSL[2]]}}
    if isinstance(checkpoint.get('author'), str):
        kept['author'] = checkpoint['author']
    return {**kept, 'meta': public(described(checkpoint))} if isinstance(checkpoint.get('meta'), dict) else kept


def _weights(checkpoint: dict) -> dict:
    inner = checkpoint.get('state_dict')
    return inner if isinstance(inner, dict) else checkpoint
