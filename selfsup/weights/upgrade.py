"""Bring checkpoint files of OpenSelfSup into our form: whole models, backbones alone, and flat dicts without any frame."""

from __future__ import annotations

import os
from pathlib import Path

from torch import Tensor

from ..errors import CheckpointError
from .frame import entries
from .layouts.openselfsup import upgrade
from .publish import described
from .read import check_finite, read_checkpoint
from .write import AUTHOR, check_target, write_checkpoint_atomic


def upgrade_checkpoint(checkpoint: dict, source: str, keep_head: bool = True) -> dict:
    """`{'state_dict', 'author', 'meta'}` under our names, without optimizer: such a run cannot be resumed exactly.

    Args:
        checkpoint: what `read_checkpoint` gave: a `state_dict` inside, or the weights themselves.
        source: the file, for messages.
        keep_head: False leaves out what begins with `head`, and the weights of its classes.

    Raises:
        CheckpointError: there are no weights.
    """
    inner = checkpoint.get('state_dict')
    frame = inner if isinstance(inner, dict) else checkpoint
    weights = {
        name: value
        for name, value in upgrade({name: value for name, value in frame.items() if isinstance(value, Tensor)}).items()
        if keep_head or not name.startswith(('head', 'loss_weight'))
    }
    if not weights:
        raise CheckpointError(f'{source} holds no weights; its entries are {entries(checkpoint)}.')
    check_finite(weights, source)
    return {'state_dict': weights, 'author': AUTHOR, 'meta': {**described(checkpoint), 'source': Path(source).name}}


def upgrade_file(
    source: str | os.PathLike, target: str | os.PathLike, keep_head: bool | None = None, force: bool = False
) -> tuple[Path, int]:
    """Write checkpoint `source` in our form to `target`.

    Args:
        source: file of OpenSelfSup; left as it is.
        target: file to write.
        keep_head: None: a file with a `state_dict` keeps its head, a flat dict loses it, as OpenSelfSup's own tool did.
        force: replace `target` if it exists.

    Returns:
        The file and the number of tensors in it.

    Raises:
        CheckpointError: `source` cannot be read or holds no weights, or `target` exists and not `force`, or is `source`.
    """
    target = Path(target)
    check_target(target, force, source)
    checkpoint = read_checkpoint(source)
    keep = isinstance(checkpoint.get('state_dict'), dict) if keep_head is None else keep_head
    content = upgrade_checkpoint(checkpoint, str(source), keep)
    return write_checkpoint_atomic(content, target), len(content['state_dict'])
