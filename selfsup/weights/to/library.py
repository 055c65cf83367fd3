"""What timm and torchvision load, a state dict, and detectron2, a pickle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import CheckpointError, ConfigError
from ..families import of_type
from ..families.family import Library, absent
from ..network import Network
from ..write import write_checkpoint_atomic
from .detectron2 import read_detectron2, write_detectron2
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


TIMM, TORCHVISION = _form('timm'), _form('torchvision')
# a detector has no classifier; as detectron2 need not be installed, what was written is read back by its list of names
DETECTRON2 = _form('detectron2', read_detectron2, write_detectron2, ending='.pkl', classifier=False)
