"""Results as data: what a protocol measured, on what, with what, in one JSON file.

A file holds `protocol`, `numbers` (name -> float, or null) and what is needed to measure them again: config and weights with their
SHA-256, git commit, versions, device, seed, settings. `pipeline_backend`, how the images were read, is null where that is not known; files
of earlier versions, which knew 'reference' alone, do not have it. `tools/report.py` makes tables from such files.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...files import write_atomic, write_obstacle
from ...provenance import git_commit, sha256, version_of

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ('torch', 'torchvision', 'numpy', 'timm')
# keys of a runner config in which two equal runs of it may differ
OF_THE_RUN = ('work_dir', 'resume_from', 'pretrained', 'seed', 'deterministic', 'env_cfg', 'visualizer')
FIELDS = (
    'protocol',
    'numbers',
    'config',
    'weights',
    'seed',
    'device',
    'seconds',
    'settings',
    'git',
    'versions',
    'date',
)


def check_free(path: str | os.PathLike, force: bool = False) -> Path:
    """`path`, if it may be written. A tool calls this before it computes for hours.

    Raises:
        DataError: the file exists and not `force`, or nothing can be written in its folder.
    """
    path = Path(path)
    if path.exists() and not force:
        raise DataError(f'{path} exists; give --force to replace it, or another --work_dir.')
    obstacle = write_obstacle(path.parent)
    if obstacle:
        raise DataError(f'{path} could not be written: {obstacle} is no folder to write in. Choose another --work_dir.')
    return path


def write_result(
    path: str | os.PathLike,
    *,
    protocol: str,
    numbers: Mapping[str, float | None],
    config: str | os.PathLike | None = None,
    weights: str | os.PathLike | None = None,
    seed: int = 0,
    device: Any = 'cpu',
    seconds: float | None = None,
    settings: Mapping[str, Any] | None = None,
    merged: Mapping[str, Any] | None = None,
    backend: str | None = None,
    force: bool = False,
) -> dict:
    """Write one result; only rank 0 calls.

    Args:
        path: JSON file; its folder is made.
        protocol: short id: 'linear', 'semi', 'knn', 'finetune', 'voc07_svm', 'voc07_lowshot', 'detection', ...
        numbers: flat, finite; accuracies and average precisions in percent, [0, 100]. None, written as null, is one that is not
            defined: an average precision of something that does not occur.
        config: file the model was built from.
        weights: file that was judged; None or 'random': initial weights.
        seed: that the run used.
        device: that computed, for example 'cpu' or 'cuda:0'.
        seconds: of the whole protocol; None where that is not known.
        settings: what else decides the numbers (costs, k, learning rates), as JSON types.
        merged: the runner config: the file with its bases and options. Its digest stands beside that of the file.
        backend: `pipeline_backend` that the images were read with; None where that is not known.
        force: replace an existing file.

    Returns:
        What was written.

    Raises:
        DataError: `path` exists and not `force`; there is no number, or one is not finite; a file is missing; `settings` is no JSON;
            the file cannot be written.
    """
    path = check_free(path, force)
    numbers = {str(name): _finite(name, value) for name, value in numbers.items()}
    if not protocol or not numbers:
        raise DataError(
            f'{path}: a result needs a protocol and at least one number; got protocol={protocol!r}, numbers={numbers}.'
        )
    judged = _file(config)
    if judged and merged:
        judged['merged_sha256'] = _digest(merged)
    result = {
        'protocol': protocol,
        'numbers': numbers,
        'config': judged,
        'weights': None if weights == 'random' else _file(weights),
        'seed': seed,
        'device': str(device),
        'seconds': None if seconds is None else round(float(seconds), 2),
        'settings': dict(settings or {}),
        'pipeline_backend': backend,
        'git': git_commit(),
        'versions': {name: version for name in PACKAGES if (version := version_of(name))},
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
    }
    try:
        text = json.dumps(result, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f'{path}: settings must be numbers, strings, lists and dicts ({error}).') from None
    write_atomic(path, lambda file: file.write(f'{text}\n'.encode()), DataError)
    return result


def read_result(path: str | os.PathLike) -> dict:
    """What `write_result` wrote.

    Raises:
        DataError: it cannot be read, or is no result.
    """
    try:
        result = json.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f'{path} cannot be read as a result: {error}.') from None
    missing = [name for name in FIELDS if name not in result] if isinstance(result, dict) else list(FIELDS)
    if missing:
        raise DataError(f'{path} is no result of this project: it lacks {", ".join(missing)}.')
    return result


def _digest(merged: Mapping[str, Any]) -> str:
    """SHA-256 of a runner config, without what differs between two equal runs of it."""
    settings = {key: value for key, value in merged.items() if key not in OF_THE_RUN}
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()


def _finite(name: Any, value: Any) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f'The result {name!r} is {value!r}; a result is a finite number.')
    return number


def _file(path: str | os.PathLike | None) -> dict | None:
    """Path (from the folder of the project, where it lies inside) and digest of a file."""
    if path is None:
        return None
    path = Path(path)
    if not path.is_file():
        raise DataError(f'{path} is not a file, so the result cannot say what was judged.')
    inside = path.absolute().is_relative_to(ROOT)
    return {'path': (path.absolute().relative_to(ROOT) if inside else path).as_posix(), 'sha256': sha256(path)}
