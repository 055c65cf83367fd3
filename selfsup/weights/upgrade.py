"""Bring checkpoint files of OpenSelfSup into our form: whole models, backbones alone, and flat dicts without any frame."""

from __future__ import annotations

import os
from pathlib import Path

from torch import Tensor

from ..errors import CheckpointError
from .frame import entries
from .layouts.openselfsup import upgrade
from .publish import write_described
from .read import check_finite, read_checkpoint
from .write import check_target


def upgrade_file(
    source: str | os.PathLike, target: str | os.PathLike, keep_head: bool | None = None, force: bool = False
) -> tuple[Path, int]:
    """Write checkpoint `source` to `target`: `{'state_dict', 'author', 'meta'}` under our names.

    The optimizer is left out: such a run cannot be resumed exactly.

    Args:
        source: file of OpenSelfSup; left as it is.
        target: file to write.
        keep_head: False leaves out what begins with `head`, and the weights of its classes.
            None: a file with a `state_dict` keeps its head, a flat dict loses it, as OpenSelfSup's own tool did.
        force: replace `target` if it exists.

    Returns:
        The file and the number of tensors in it.

    Raises:
        CheckpointError: `source` cannot be read or holds no weights, or `target` exists and not `force`, or is `source`.
    """
    target = Path(target)
    check_target(target, force, source)
    checkpoint = read_checkpoint(source)
    inner = checkpoint.get('state_dict')
    keep = isinstance(inner, dict) if keep_head is None else keep_head
    frame = inner if isinstance(inner, dict) else checkpoint
    weights = {
        name: value
        for name, value in upgrade({name: value for name, value in frame.items() if isinstance(value, Tensor)}).items()
        if keep or not name.startswith(('head', 'loss_weight'))
    }
    if not weights:
        raise CheckpointError(f'{source} holds no weights; its entries are {entries(checkpoint)}.')
    check_finite(weights, source)
    return write_described(weights, checkpoint, source, target), len(weights)
