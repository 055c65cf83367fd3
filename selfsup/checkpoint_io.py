"""Reading and writing checkpoint files: safe to read, safe to be killed while writing. A leaf.

Reading never runs code from the file (`weights_only=True`). Writing goes through `files.write_atomic`.
"""

from __future__ import annotations

import errno
import os
import pickle
import re
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from .errors import CheckpointError
from .files import write_atomic

AVERAGE = 'ema'  # entry of a checkpoint that holds the moving average of the model: EMAHook, and SparK's fine-tuning
OFFICIAL_AVERAGES = ('model_ema', 'state_dict_ema')  # the same in ConvNeXt, ConvNeXt V2, SLaK and torchvision, and in timm
_FOREIGN_NAME = re.compile(r'GLOBAL ([\w.]+)')  # how torch's safe reader names a class or function it will not call


def read_checkpoint(path: str | os.PathLike, map_location: Any = 'cpu') -> dict:
    """The dict stored in a checkpoint file.

    Args:
        path: file written by `torch.save`: tensors, numbers, strings, lists and dicts; or a .safetensors file.
        map_location: device (or mapping) for the tensors, as in `torch.load`.

    Raises:
        CheckpointError: the file is missing, no file, empty, cut off, no checkpoint at all, or asks to run code.
    """
    path = Path(path)
    _check_file(path)
    if path.suffix == '.safetensors':
        return _read_safetensors(path, map_location)
    try:
        with torch.serialization.safe_globals([Namespace]):  # the command line of official files: attributes, no code
            content = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # torch raises RuntimeError, EOFError, KeyError, ... for the many ways a file can be damaged
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # EINVAL: a seek to where a cut file has nothing
            raise CheckpointError(f'{path} cannot be read: {error.strerror}.') from None
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            raise
        raise CheckpointError(_damage(path, error)) from None
    if not isinstance(content, dict):
        raise CheckpointError(f'{path} holds a {type(content).__name__}, not a dict of weights.')
    return content


def _read_safetensors(path: Path, map_location: Any) -> dict:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise CheckpointError(f"{path} needs safetensors, which is not installed: pip install 'selfsup[convert]'.") from None
    try:
        return load_file(path, device=str(map_location))
    except SafetensorError as error:
        raise CheckpointError(f'{path} ({path.stat().st_size:,} bytes) is cut off or no safetensors file: {error}.') from None


def averaged(checkpoint: dict, path: str | os.PathLike) -> dict:
    """The checkpoint with the moving average of its run in the place of the weights: that of `EMAHook`, or of official files.

    Raises:
        CheckpointError: there is none.
    """
    rest = {key: value for key, value in checkpoint.items() if key not in OFFICIAL_AVERAGES}
    official = next((checkpoint[key] for key in OFFICIAL_AVERAGES if isinstance(checkpoint.get(key), dict)), None)
    if official is not None:
        return {**rest, 'state_dict': official}
    found = checkpoint.get(AVERAGE)
    if isinstance(found, dict) and any(isinstance(value, torch.Tensor) for value in found.values()):
        return {**rest, 'state_dict': found}
    if not isinstance(found, dict) or 'state_dict' not in found:
        raise CheckpointError(f'{path} holds no moving average of the weights: its run had no EMAHook. Leave out --ema.')
    return {**rest, 'state_dict': found['state_dict']}


def write_checkpoint_atomic(obj: Any, path: str | os.PathLike, save: Callable[[Any, BinaryIO], None] | None = None) -> Path:
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


def check_apart(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Raise a CheckpointError where `target` is the file that is to be read: it would be lost, whatever else was in it."""
    if Path(source).exists() and Path(target).exists() and os.path.samefile(source, target):
        raise CheckpointError(f'{target} is the file that is read: give another name for the result.')


def _check_file(path: Path) -> None:
    if path.is_dir():
        inside = sorted(p.name for p in path.glob('*.pth'))
        raise CheckpointError(f'{path} is a folder; name one file' + (f", for example '{inside[-1]}' in it." if inside else '.'))
    if not path.exists():
        beside = sorted(p.name for p in path.parent.glob('*.pth')) if path.parent.is_dir() else []
        there = f' There are: {", ".join(beside[-8:])}.' if beside else ''
        raise CheckpointError(f'Checkpoint {path} does not exist.{there}')
    if path.stat().st_size == 0:
        raise CheckpointError(f'{path} is empty (0 bytes): it was not written to its end. Use an earlier checkpoint.')


def _damage(path: Path, error: Exception) -> str:
    """Tell a file that wants to run code from one that is merely damaged or something else."""
    foreign = _FOREIGN_NAME.search(str(error)) if isinstance(error, pickle.UnpicklingError) else None
    if foreign:
        return (f"{path} holds more than tensors and plain values ('{foreign.group(1)}'); loading it could run code, so it is "
                'refused. Where you trust its origin, save its state_dict alone into a new file with torch.save.')
    return (f'{path} ({path.stat().st_size:,} bytes) is cut off, damaged or was not written by torch.save. '
            'Copy it again or use an earlier one.')
