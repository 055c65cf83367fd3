"""Take the backbone out of a checkpoint or a model, under the names that other code knows."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from torch import Tensor, nn

from ..errors import ConfigError, SelfSupWarning
from .backbone import find_backbone
from .families import recognise
from .frame import averaged, followed
from .publish import write_described
from .read import read_checkpoint
from .write import check_target, write_checkpoint_atomic

NAMINGS = ('own', 'official', 'timm')


def extract_backbone(
    source: str | os.PathLike,
    target: str | os.PathLike,
    force: bool = False,
    naming: str = 'own',
    average: bool = False,
    momentum: bool = False,
) -> tuple[Path, int]:
    """Write the backbone of checkpoint `source` to `target`: `{'state_dict', 'author', 'meta'}`.

    Args:
        source: see `backbone_weights`.
        target: file to write.
        force: replace `target` if it exists.
        naming: see `renamed`.
        average: take the moving average instead of the weights, see `averaged`.
        momentum: take the backbone of the momentum network, see `followed`.

    Returns:
        The file and the number of tensors in it.

    Raises:
        CheckpointError: `source` cannot be read or has no backbone, or no `average` or `momentum` network, or `target` exists and not
            `force`, or is `source`.
    """
    target = Path(target)
    check_target(target, force, source)
    checkpoint = read_checkpoint(source)
    if average:
        checkpoint = averaged(checkpoint, source)
    if momentum:
        checkpoint = followed(checkpoint, source)
    weights = backbone_weights(checkpoint, str(source), naming)
    return write_described(weights, checkpoint, source, target), len(weights)


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
    in_file = find_backbone(checkpoint, source)
    if in_file.untrained:
        reason = next(why for name, why in in_file.unused.items() if name.endswith(tuple(in_file.untrained)))
        first = ', '.join(list(in_file.untrained)[:3])
        warnings.warn(
            f'{source}: {len(in_file.untrained)} tensors of the backbone are left out, as they are {reason}: {first}, ...',
            SelfSupWarning,
            stacklevel=2,
        )
    return renamed(in_file.weights, naming)


def export_backbone(model: nn.Module, path: str | os.PathLike, naming: str) -> Path:
    """Write the weights of `model.backbone` alone, as `name -> tensor`, with no gap in time in which the file is incomplete.

    Args:
        model: an algorithm.
        path: file; one that is there is replaced.
        naming: see `renamed`.

    Raises:
        CheckpointError: it cannot be written.
    """
    backbone = model.get_submodule('backbone')
    weights = {name: value.detach().cpu() for name, value in backbone.state_dict().items()}
    return write_checkpoint_atomic(renamed(weights, naming), path)


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
    named = recognise({name.removeprefix('model.'): value for name, value in weights.items()})
    return named.family.timm_names(named.ours) if naming == 'timm' and named.family else named.ours
