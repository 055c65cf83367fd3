"""The form that detectron2 reads as `MODEL.WEIGHTS`: a pickle of numpy arrays under its names."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from ...errors import CheckpointError
from ..write import AUTHOR, check_target, write_checkpoint_atomic


def write_detectron2(path: str | os.PathLike, arrays: Mapping[str, np.ndarray], force: bool = False) -> Path:
    """Write arrays under detectron2's names: a pickled dict of `model`, `__author__` and `matching_heuristics`.

    Args:
        path: file to write; detectron2 takes it for a pickle when its name ends in `.pkl`.
        arrays: name -> array.
        force: replace `path` if it exists.

    Raises:
        CheckpointError: another ending, `path` exists and not `force`, or it cannot be written.
    """
    path = Path(path)
    if path.suffix != '.pkl':
        raise CheckpointError(
            f'{path} must end in .pkl: by that detectron2 knows its own format from a torch checkpoint.'
        )
    check_target(path, force)
    content = {'model': dict(arrays), '__author__': AUTHOR, 'matching_heuristics': True}
    return write_checkpoint_atomic(content, path, save=_dump)


class _Pickler(pickle.Pickler):
    """Arrays as calls of `numpy.ndarray`, a name that every numpy has: numpy 2 would write `numpy._core`, which the numpy 1 that
    detectron2 0.6 needs cannot import."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, np.ndarray):
            return np.ndarray, (obj.shape, obj.dtype.str, bytearray(obj.tobytes()))
        return NotImplemented


def read_detectron2(path: Path) -> dict[str, Tensor]:
    """What `write_detectron2` wrote: unpickled, so only of a file of our own."""
    return {name: torch.from_numpy(array) for name, array in pickle.loads(path.read_bytes())['model'].items()}


def _dump(content: dict, file: BinaryIO) -> None:
    _Pickler(file, protocol=4).dump(content)
