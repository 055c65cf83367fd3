"""Which views a data set gives, whether they are always the same, and how they are normalised: for who must know before a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from ..contracts import Views
from .digest import data_digest
from .pipelines.normalization import BYTES, UNIT, channel_numbers, flat, name_of
from .wrappers import parts_of

# Steps that never draw, with all that they do in their repr.
FIXED = (
    'Resize',
    'CenterCrop',
    'Pad',
    'Grayscale',
    'ToTensor',
    'ToImage',
    'PILToTensor',
    'ToDtype',
    'ConvertImageDtype',
    'Normalize',
)
_NO_REPR = ('ToTensor',)  # no arguments, and an address in its repr


def describe_views(dataset: Any, images: int) -> Views:
    """What `dataset` gives.

    Args:
        dataset: a data set of ours, or one made of others.
        images: N, that `idx` counts.
    """
    described = []
    for part in parts_of(dataset):
        steps = list(_steps(part))
        described.append(
            [
                *(name if name in _NO_REPR else repr(step) for name, _, step in steps),
                f'{type(part).__name__}, prefetch={bool(getattr(part, "prefetch", False))}, {getattr(part, "backend", "")}',
            ]
        )
    text = json.dumps([data_digest(dataset), described], sort_keys=True, default=str)
    return Views(images, hashlib.sha256(text.encode()).hexdigest(), random_steps(dataset))


def random_steps(dataset: Any) -> tuple[str, ...]:
    """Names of the steps of `dataset` that may draw at random, or of which that is not known, each once."""
    steps = (step for part in parts_of(dataset) for step in _steps(part))
    return tuple(dict.fromkeys(name for name, known, _ in steps if not known or name not in FIXED))


def normalizations(dataset: Any) -> list[tuple[list[float], list[float]]]:
    """Mean and std, for images in [0, 1], of each different Normalize in the pipelines of `dataset`, those on the device too."""
    steps = (step for part in parts_of(dataset) for step in _steps(part))
    found = [(_unit(step.mean), _unit(step.std)) for name, known, step in steps if known and name == 'Normalize']
    return [values for number, values in enumerate(found) if values not in found[:number]]


def _unit(values: Any) -> list[float]:
    """As a list; those for images in [0, 255] are divided by 255."""
    numbers = channel_numbers(values)
    return [value / BYTES for value in numbers] if max(numbers) > UNIT else numbers


def _steps(dataset: Any) -> Iterator[tuple[str, bool, Any]]:
    """Name, whether it is known, and the step itself, of all steps of a data set; one that has no pipelines is not known."""
    pipelines = getattr(dataset, 'pipelines', None)
    if not isinstance(pipelines, dict):
        yield type(dataset).__name__, False, dataset
        return
    for pipeline in pipelines.values():
        for step in flat([*pipeline.steps, *pipeline.to_floats]):
            yield (*name_of(step), step)
