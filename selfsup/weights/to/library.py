"""State dicts that timm and torchvision load."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ...errors import CheckpointError, ConfigError
from ..families import no_such, of_type
from ..families.family import Family, Library
from ..network import Network
from ..write import write_checkpoint_atomic
from .form import Form, Target


def _form(library: str) -> Form:
    def make(network: Network, size: tuple[int, int], maps: bool) -> Target:
        family = of_type(network.config['type'])
        if family is None or library not in family.libraries:
            raise no_such(network, library)
        _check_classifier(network, family, library)
        return _target(family.libraries[library](network), network)

    return Form(make)


def _check_classifier(network: Network, family: Family, library: str) -> None:
    """Raise a ConfigError where `library` has the network, but not with this classifier."""
    head = network.classifier
    if head and family.normed is not None and head.normed != family.normed:
        raise ConfigError(
            f'{library} has no {network.config["type"]} with {"a" if head.normed else "no"} layer norm before its classifier, '
            'as this file has. Leave it out with --no-classifier, or use --to safetensors or onnx.'
        )


def _target(library: Library, network: Network) -> Target:
    @torch.no_grad()
    def run(path: Path, images: Tensor) -> dict[str, Tensor]:
        model = library.build().eval()
        missing, unexpected = model.load_state_dict(torch.load(path, weights_only=True), strict=False)
        needed = [name for name in missing if name not in library.optional]
        if needed or unexpected:
            raise CheckpointError(
                f'{type(model).__name__} does not take {path.name}: it misses {needed[:5]}, and does not know '
                f'{unexpected[:5]}.'
            )
        logits = {'logits': model(images)} if network.classifier else {}
        return {'last map': library.last_map(model, images), **logits}

    return Target(len(library.weights), lambda path: write_checkpoint_atomic(library.weights, path), run, library.usage)


TIMM, TORCHVISION = _form('timm'), _form('torchvision')
