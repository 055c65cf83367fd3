"""Which views a data set gives, and whether they are always the same: for answers about them that are kept from run to run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from ..contracts import Views
from .digest import data_digest
from .pipelines.normalization import flat, name_of
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
    random, described = [], []
    for part in parts_of(dataset):
        steps = list(_steps(part))
        random += [name for name, known, _ in steps if not known or name not in FIXED]
        described.append(
            [
                *(name if name in _NO_REPR else repr(step) for name, _, step in steps),
                f'{type(part).__name__}, prefetch={bool(getattr(part, "prefetch", False))}, {getattr(part, "backend", "")}',
            ]
        )
    text = json.dumps([data_digest(dataset), described], sort_keys=True, default=str)
    return Views(images, hashlib.sha256(text.encode()).hexdigest(), tuple(dict.fromkeys(random)))


def _steps(dataset: Any) -> Iterator[tuple[str, bool, Any]]:
    """Name, whether it is known, and the step itself, of all steps of a data set; one that has no pipelines is not known."""
    pipelines = getattr(dataset, 'pipelines', None)
    if not isinstance(pipelines, dict):
        yield type(dataset).__name__, False, dataset
        return
    for pipeline in pipelines.values():
        for step in flat([*pipeline.steps, *pipeline.to_floats]):
            yield (*name_of(step), step)
