"""Load weights into a module and say what did and what did not fit."""

from __future__ import annotations

import logging

from torch import Tensor, nn

from .. import checkpoint_keys
from ..checkpoint_io import read_checkpoint
from ..errors import CheckpointError
from .state import unwrap

logger = logging.getLogger('selfsup')


def state_dict_of(checkpoint: dict, path: str) -> dict[str, Tensor]:
    """The weights in a checkpoint (under `state_dict`, `model`, `module` or at the top), without a DDP prefix.

    Names of OpenSelfSup become ours (`encoder_q.0.` is `backbone.`).

    Raises:
        CheckpointError: there are none.
    """
    weights = next((checkpoint[k] for k in ('state_dict', 'model', 'module') if isinstance(checkpoint.get(k), dict)), checkpoint)
    weights = checkpoint_keys.upgrade({k: v for k, v in weights.items() if isinstance(v, Tensor)})
    if not weights:
        raise CheckpointError(f"{path} holds no weights; its entries are {', '.join(map(str, checkpoint)) or 'none'}.")
    return weights


def _shown(names: list[str]) -> str:
    return ', '.join(names[:5]) + (f', ... ({len(names)} in all)' if len(names) > 5 else '')


def load_matching(module: nn.Module, weights: dict[str, Tensor], path: str, what: str, *, strict: bool = False) -> None:
    """Copy `weights` into `module`; log what is left over on either side.

    Args:
        what: the module's name for messages ("the backbone").
        strict: a key missing on either side is an error too.

    Raises:
        CheckpointError: nothing matches, a tensor has another shape, or `strict` and something is left over.
    """
    own = module.state_dict()
    shared = [k for k in weights if k in own]
    wrong = [f'{k}: {tuple(weights[k].shape)} in the file, {tuple(own[k].shape)} in the model'
             for k in shared if weights[k].shape != own[k].shape]
    missing, extra = [k for k in own if k not in weights], [k for k in weights if k not in own]
    if not shared or wrong or (strict and (missing or extra)):
        found = (f'{len(wrong)} tensors have another shape ({_shown(wrong)})' if wrong else
                 f'{len(shared)} of its {len(weights)} tensors match the {len(own)} of {what}')
        rest = ''.join(f'; {label}: {_shown(names)}' for label, names in
                       (('missing in the file', missing), ('only in the file', extra)) if names)
        raise CheckpointError(f'{path} is not a checkpoint of {what} as configured: {found}{rest}. '
                              'Use the config it was trained with, or extract its backbone with tools/extract_backbone_weights.py.')
    module.load_state_dict(weights, strict=False)
    note = ''.join(f'; {label}: {_shown(names)}' for label, names in
                   (('kept their initial values', missing), ('not used from the file', extra)) if names)
    logger.info('Loaded %d of %d tensors of %s from %s%s', len(shared), len(own), what, path, note)


def load_backbone(model: nn.Module, path: str) -> None:
    """Load `path` into `model.backbone` and let momentum copies follow (`model.pretrained`, `--pretrained`).

    The file holds backbone weights under plain names (what tools/extract_backbone_weights.py writes, torchvision, timm)
    or a whole model's under `backbone.`.

    Raises:
        CheckpointError: no key matches, or shapes differ.
    """
    algorithm = unwrap(model)
    weights = state_dict_of(read_checkpoint(path), path)
    inner = {k.removeprefix('backbone.'): v for k, v in weights.items() if k.startswith('backbone.')}
    load_matching(algorithm.backbone, inner or weights, path, 'the backbone')
    algorithm.after_load_backbone()


def load_model(model: nn.Module, path: str, *, strict: bool = False) -> None:
    """Load a whole model's weights (`load_from`, tools/test.py).

    Raises:
        CheckpointError: no key matches, shapes differ, or `strict` and something is left over.
    """
    algorithm = unwrap(model)
    load_matching(algorithm, state_dict_of(read_checkpoint(path), path), path, type(algorithm).__name__, strict=strict)
