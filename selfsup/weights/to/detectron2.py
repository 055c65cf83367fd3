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
from ...registry import BACKBONES
from ..families import no_such, of_type
from ..network import Network
from ..write import AUTHOR, check_target, write_checkpoint_atomic
from .form import Form, Target


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


def _dump(content: dict, file: BinaryIO) -> None:
    _Pickler(file, protocol=4).dump(content)


def _make(network: Network, size: tuple[int, int], maps: bool) -> Target:
    """As detectron2 need not be installed, what was written is read back by its list of names."""
    family = of_type(network.config['type'])
    if family is None or family.detectron2 is None:
        raise no_such(network, 'detectron2')
    theirs = family.detectron2(network)

    @torch.no_grad()
    def run(path: Path, images: Tensor) -> dict[str, Tensor]:
        content = pickle.loads(path.read_bytes())['model']  # just written by us
        backbone = BACKBONES.build(dict(network.config)).eval()
        backbone.load_state_dict({name: torch.from_numpy(content[their]) for name, their in theirs.names.items()})
        return {'last map': backbone(images)[-1]}

    usage = (
        'MODEL:',
        '  WEIGHTS: {path}',
        f'  RESNETS: {{{", ".join(f"{key}: {value}" for key, value in theirs.settings.items())}}}',
        '  PIXEL_MEAN: [123.675, 116.28, 103.53]  # of ImageNet, where the run had it',
        '  PIXEL_STD: [58.395, 57.12, 57.375]',
        'INPUT: {FORMAT: RGB}',
    )
    return Target(len(theirs.arrays), lambda path: write_detectron2(path, theirs.arrays), run, usage)


DETECTRON2 = Form(_make, '.pkl', classifier=False)  # a detector has none
