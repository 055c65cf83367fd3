"""Features on the disk are kept with a note of the weights, network, layer and images that they are of.

Features of something else are replaced only when that is asked for. Beside the arrays of tools/extract.py stand `extracted.json`, which
says for every file what it was made of, and for every split `{split}_names.json`: a list with the name of the image of each row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..datasets import ImageDataset
from ..errors import CheckpointError, DataError
from ..files import write_atomic
from ..provenance import sha256

NOTE = 'extracted.json'
BACKEND = 'pipeline_backend'
EARLIER = MappingProxyType({BACKEND: 'reference'})  # what a note of an earlier version means that does not say it


def origin(
    model: Mapping[str, Any], weights: str, whole: bool, layers: Sequence[int], data: Any, backend: str
) -> dict[str, dict[str, Any]]:
    """What the features of every layer are made of: JSON values for each of `feat1`, `feat2`, ...

    Args:
        model: config of the algorithm.
        weights: the file, or 'random'.
        whole: it holds the whole model.
        layers: numbers of the layers.
        data: section of the data set.
        backend: `pipeline_backend` that the images are read with.

    Raises:
        CheckpointError: there is no such file.
    """
    try:
        digest = weights if weights == 'random' and not whole else sha256(weights)
    except OSError as error:
        raise CheckpointError(f'{weights} cannot be read: {error.strerror}.') from None
    network = {key: value for key, value in model['backbone'].items() if key != 'out_indices'}
    shared = {
        'weights': Path(weights).name,
        'sha256': digest,
        'whole_model': whole,
        'algorithm': model['type'],
        'backbone': network,
        'images': data,
        BACKEND: backend,
    }
    made = {f'feat{position}': {**shared, 'layer': layer} for position, layer in enumerate(layers, 1)}
    return json.loads(json.dumps(made, default=str))


def check_free(folder: Path, origins: Mapping[str, Mapping], splits: Sequence[str], force: bool) -> None:
    """Refuse to replace features of something else; the same may be made again.

    Raises:
        DataError: a file of that name is there, not `force`, and it is of other weights, layers or images, or of unknown ones.
    """
    known = _read(folder / NOTE)
    for layer, made in origins.items():
        for split in splits:
            path = folder / f'{split}_{layer}.npy'
            if force or not path.exists():
                continue
            old = known.get(path.name)
            if not isinstance(old, dict):
                raise DataError(
                    f'{path} exists, and {NOTE} does not say of which weights it is; give --force to replace it, or another '
                    '--work_dir.'
                )
            other = [key for key in made if key != 'weights' and old.get(key, EARLIER.get(key)) != made[key]]
            if other:
                names = (
                    f'of {old.get("weights")}, now {made["weights"]}' if 'sha256' in other else 'of the same weights'
                )
                raise DataError(
                    f'{path} holds other features ({names}; other {", ".join(other)}); give --force to replace it, or another '
                    '--work_dir.'
                )


def note(
    folder: Path, origins: Mapping[str, Mapping], splits: Sequence[str], at: Sequence[int], dataset: ImageDataset
) -> None:
    """Write `extracted.json`, which keeps what it says of other files, and the names of the images."""
    made = {f'{split}_{layer}.npy': dict(value) for layer, value in origins.items() for split in splits}
    _write(folder / NOTE, {**_read(folder / NOTE), **made})
    source, rows = dataset.data_source, len(dataset)
    describe = getattr(source, 'describe', None)
    root = f'{str(getattr(source, "root", "") or "").rstrip("/")}/'
    names = [str(describe(row)).removeprefix(root) if describe else f'sample {row}' for row in range(rows)]
    for split, begin, end in zip(splits, [0, *at], [*at, rows], strict=True):
        _write(folder / f'{split}_names.json', names[begin:end])


def backend_of(path: Path) -> str | None:
    """`pipeline_backend` that the images of an array were read with; None where nothing is noted of it."""
    made = _read(path.with_name(NOTE)).get(path.name)
    return made.get(BACKEND, EARLIER[BACKEND]) if isinstance(made, dict) else None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(path: Path, content: Any) -> None:
    write_atomic(path, lambda file: file.write(json.dumps(content, indent=1).encode() + b'\n'), DataError)
