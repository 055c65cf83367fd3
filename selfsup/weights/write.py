"""Write checkpoint files, so that a kill or a full disk leaves the complete old or the complete new one (`files.write_atomic`)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ..errors import CheckpointError
from ..files import write_atomic

AUTHOR = 'selfsup'


def write_checkpoint_atomic(
    obj: Any, path: str | os.PathLike, save: Callable[[Any, BinaryIO], object] | None = None
) -> Path:
    """Store `obj` under `path` so that, whatever happens, `path` holds the complete old or the complete new file.

    Args:
        obj: what `read_checkpoint` can give back: tensors, numbers, strings, lists, dicts.
        path: the file; its folder is created.
        save: writes `obj` into an open file; None: `torch.save`.

    Returns:
        `path`.

    Raises:
        CheckpointError: it could not be written (disk full, no permission, ...). An older file of this name is unchanged
            and no temporary file is left.
    """
    return write_atomic(path, lambda file: (save or torch.save)(obj, file), CheckpointError)


def check_target(target: Path, force: bool, source: str | os.PathLike | None = None) -> None:
    """Refuse a file to write that exists, unless `force`, or that is `source`: it would be lost, whatever else was in it.

    Raises:
        CheckpointError: it is one of the two.
    """
    if target.exists() and not force:
        raise CheckpointError(f'{target} exists; give --force to replace it, or another name.')
    try:
        same = source is not None and os.path.samefile(source, target)
    except (OSError, ValueError):  # one of them is not there; reading and writing say more
        return
    if same:
        raise CheckpointError(f'{target} is the file that is read: give another name for the result.')
