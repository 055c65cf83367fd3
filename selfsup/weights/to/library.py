"""What timm and torchvision load, a state dict, and detectron2 as `MODEL.WEIGHTS`, a pickle of numpy arrays."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from ...errors import CheckpointError, ConfigError
from ..families import of_type
from ..families.family import Library, absent
from ..network import Network
from ..write import AUTHOR, check_target, write_checkpoint_atomic
from .form import Form, Target


def _form(
    name: str,
    read: Callable[[Path], Mapping[str, Tensor]] = lambda path: torch.load(path, weights_only=True),
    write: Callable[[Path, dict[str, Any]], object] = lambda path, weights: write_checkpoint_atomic(weights, path),
    **kwargs: Any,
) -> Form:
    def make(network: Network, size: tuple[int, int], maps: bool) -> Target:
        library = _library(network, name)

        @torch.no_grad()
        def run(path: Path, images: Tensor) -> dict[str, Tensor]:
            weights, model = read(path), library.build().eval()
            weights = {ours: weights[theirs] for ours, theirs in library.names.items()} or weights
            missing, unexpected = model.load_state_dict(weights, strict=False)
            needed = [name for name in missing if name not in library.optional]
            if needed or unexpected:
                raise CheckpointError(
                    f'{type(model).__name__} does not take {path.name}: it misses {needed[:5]}, and does not know '
                    f'{unexpected[:5]}.'
                )
            logits = {'logits': model(images)} if network.classifier else {}
            return {'last map': library.last_map(model, images), **logits}

        return Target(len(library.weights), lambda path: write(path, library.weights), run, library.usage)

    return Form(make, **kwargs)


def _library(network: Network, name: str) -> Library:
    """The model of a library that takes over a network.

    Raises:
        ConfigError: the library has none, or none with this classifier.
    """
    family, head, kind = of_type(network.config['type']), network.classifier, network.config['type']
    if family is None or name not in family.libraries:
        raise absent(network, name, family.instead if family else 'safetensors')
    if head and family.normed is not None and head.normed != family.normed:
        raise ConfigError(
            f'{name} has no {kind} with {"a" if head.normed else "no"} layer norm before its classifier, as this file has. Leave '
            'it out with --no-classifier, or use --to safetensors or onnx.'
        )
    return family.libraries[name](network)


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


TIMM, TORCHVISION = _form('timm'), _form('torchvision')
# a detector has no classifier; as detectron2 need not be installed, what was written is read back by its list of names
DETECTRON2 = _form('detectron2', read_detectron2, write_detectron2, ending='.pkl', classifier=False)
