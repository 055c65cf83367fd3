"""Read checkpoint files: plain dense tensors in dicts and lists, or an error.

Reading never runs code from the file (`weights_only=True`; `inert.py` for objects of trainers) and compares the file with its check sums
(`checksums.py`).
"""

from __future__ import annotations

import errno
import logging
import os
import pickle
import re
import stat
import warnings
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError, listed
from .checksums import AGAIN, check_digest, check_sums
from .inert import foreign_names, stand_ins

logger = logging.getLogger('selfsup')

_DEEPEST = 60  # levels of dicts and lists in a file; a run's checkpoint has five
_REPEATED = 1 << 26  # bytes that a tensor may claim beyond the numbers it has in the file (`expand`)
# endings of buffers that hold infinities rightly: masks of attention, observers of ranges
_INFINITE = ('mask', 'min_val', 'max_val')
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
    try:
        content = (
            _read_safetensors(path, map_location) if path.suffix == '.safetensors' else _read_torch(path, map_location)
        )
    except OSError as error:
        raise CheckpointError(f'{path} cannot be read: {error.strerror or error}.') from None
    if not isinstance(content, dict):
        raise CheckpointError(f'{path} holds a {type(content).__name__}, not a dict of weights.')
    _check_content(content, path)
    return content


def _read_torch(path: Path, map_location: Any) -> Any:
    check_sums(path)
    try:
        return _load(path, map_location)
    except Exception as error:
        if isinstance(error, pickle.UnpicklingError) and (names := foreign_names(path)):
            dead = stand_ins(name for name in names if name != 'argparse.Namespace')
            if dead is not None:
                logger.info(
                    '%s: objects beside the weights are left out unread, and nothing of them was run: %s',
                    path,
                    listed(names),
                )
                return _read_with(path, map_location, dead)
        # Torch raises RuntimeError, EOFError, KeyError, ... for the many ways a file can be damaged; EINVAL is a seek to where
        # a cut file has nothing.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        if isinstance(error, torch.OutOfMemoryError):
            raise
        if isinstance(error, MemoryError):
            raise CheckpointError(f'{path} needs more memory than there is, or is damaged. {AGAIN}') from None
        raise CheckpointError(_damage(path, error)) from None


def _load(path: Path, map_location: Any, stand_ins: Sequence[tuple[Any, str]] = ()) -> Any:
    # A Namespace is the command line in official files: attributes, no code.
    with torch.serialization.safe_globals([Namespace, *stand_ins]), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return torch.load(path, map_location=map_location, weights_only=True)


def _read_with(path: Path, map_location: Any, stand_ins: Sequence[tuple[Any, str]]) -> Any:
    """Read with stand-ins for the objects of libraries, see `inert.py`."""
    try:
        return _load(path, map_location, stand_ins)
    except (OSError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # an object in a form that the stand-ins do not take
        raise CheckpointError(_damage(path, error)) from None


def _read_safetensors(path: Path, map_location: Any) -> dict:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise CheckpointError(
            f"{path} needs safetensors, which is not installed: pip install 'selfsup[convert]'."
        ) from None
    check_digest(path)
    try:
        return load_file(path, device=str(map_location))
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:  # KeyError: numbers that torch does not have
        reason = ' '.join(str(error).split())
        raise CheckpointError(
            f'{path} ({path.stat().st_size:,} bytes) is cut off or no safetensors file: {reason}.'
        ) from None


def _check_content(content: dict, path: Path) -> None:
    """Refuse what no tool of ours could use, wherever it stands in the file.

    Raises:
        CheckpointError: a tensor that is not a plain dense one, names that cannot be printed, or endless nesting.
    """
    seen: set[int] = {id(content)}
    waiting: list[tuple[Any, str, int]] = [(content, '', 0)]
    while waiting:
        value, where, depth = waiting.pop()
        if isinstance(value, Tensor):
            _check_tensor(value, where, path)
            continue
        if depth > _DEEPEST:
            raise CheckpointError(
                f"{path} holds more than {_DEEPEST} levels of dicts and lists under '{where[:40]}': no checkpoint does."
            )
        for name, part in _parts(value):
            is_tensor = isinstance(part, Tensor)
            if not is_tensor and (not isinstance(part, dict | list | tuple | set | Namespace) or id(part) in seen):
                continue
            printed = not isinstance(name, str) or (name.isprintable() and len(name) < 1000)
            if not printed and (is_tensor or not where):
                raise CheckpointError(
                    f'{path} holds an entry whose name cannot be printed: {name[:40]!a}. It is damaged or made up.'
                )
            seen.add(id(part))
            waiting.append((part, f'{where}.{str(name)[:80]}' if where else str(name)[:80], depth + 1))


def _parts(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Namespace):
        value = vars(value)
    return iter(value.items() if isinstance(value, dict) else enumerate(value))


def _check_tensor(value: Tensor, name: str, path: Path) -> None:
    kind = '' if value.layout is torch.strided else str(value.layout).removeprefix('torch.').replace('_', ' ')
    kind = 'nested' if value.is_nested else 'quantized' if value.is_quantized else kind
    if value.device.type == 'meta':
        raise CheckpointError(
            f"{path}: the tensor '{name}' has a shape and no numbers (device 'meta'): it was saved before it was filled."
        )
    if kind:
        raise CheckpointError(
            f"{path}: the tensor '{name}' is {kind}; what can be read are plain dense tensors. Save it as one "
            f'({".dequantize()" if kind == "quantized" else ".to_dense()"}).'
        )
    if value.numel() * value.element_size() > 16 * value.untyped_storage().nbytes() + _REPEATED:
        raise CheckpointError(
            f"{path}: the tensor '{name}' claims {value.numel():,} numbers, which the file does not have."
        )


def check_finite(weights: Mapping[str, Any], path: str | os.PathLike, what: str = 'weights') -> None:
    """Refuse weights that no network computes with: NaN, infinities, and negative variances of batch norms.

    Args:
        weights: name -> tensor; other values are passed over.
        path: the file, for the message.
        what: they are, for the message.

    Raises:
        CheckpointError: it names the tensors and says how many of their numbers are not finite.
    """
    broken = []
    for name, value in weights.items():
        if not isinstance(value, Tensor) or str(name).endswith(_INFINITE):
            continue
        number = _not_finite(value)
        if number:
            broken.append(f'{name} ({number:,} of {value.numel():,} numbers)')
        elif (
            str(name).endswith('running_var')
            and value.numel()
            and value.dtype.is_floating_point
            and float(value.min()) < 0
        ):
            broken.append(f'{name} (a negative variance)')
    if broken:
        more = f' and {len(broken) - 4} more tensors' if len(broken) > 4 else ''
        raise CheckpointError(
            f'{path}: {what} are NaN or infinite: {", ".join(broken[:4])}{more}. The run has diverged, or the file was '
            'made from damaged numbers: use an earlier checkpoint.'
        )


def _not_finite(value: Tensor) -> int:
    """How many numbers are NaN or infinite. A sum tells it of most tensors without a copy; only where it is not finite they are counted."""
    if not (value.is_floating_point() or value.is_complex()):
        return 0
    value = value.detach()
    if value.is_floating_point() and value.element_size() < 2:
        value = value.float()  # eight bits have no sums
    if value.dtype in (torch.float32, torch.float64) and bool(value.sum().isfinite()):
        return 0
    return int((~value.isfinite()).sum())


def _check_file(path: Path) -> None:
    if '\0' in str(path):
        raise CheckpointError(f'{str(path)!r} is no name of a file.')
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        status = None
    except OSError as error:
        raise CheckpointError(f'{path} cannot be read: {error.strerror}.') from None
    if status is not None and stat.S_ISDIR(status.st_mode):
        inside = sorted(p.name for p in path.glob('*.pth'))
        raise CheckpointError(
            f'{path} is a folder; name one file' + (f", for example '{inside[-1]}' in it." if inside else '.')
        )
    if status is None:
        if path.is_symlink():
            raise CheckpointError(f'{path} is a link to {os.readlink(path)}, which does not exist.')
        beside = sorted(p.name for p in path.parent.glob('*.pth')) if path.parent.is_dir() else []
        there = f' There are: {", ".join(beside[-8:])}.' if beside else ''
        raise CheckpointError(f'Checkpoint {path} does not exist.{there}')
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f'{path} is a pipe, a socket or a device, not a file.')
    if status.st_size == 0:
        raise CheckpointError(f'{path} is empty (0 bytes): it was not written to its end. Use an earlier checkpoint.')


def _damage(path: Path, error: Exception) -> str:
    """Tell a file that wants to run code from one that is merely damaged or something else."""
    foreign = _FOREIGN_NAME.search(str(error)) if isinstance(error, pickle.UnpicklingError) else None
    if foreign:
        return (
            f"{path} holds more than tensors and plain values ('{foreign.group(1)}'); loading it could run code, so it is "
            'refused. Where you trust its origin, save its state_dict alone into a new file with torch.save.'
        )
    return f'{path} ({path.stat().st_size:,} bytes) is cut off, damaged or was not written by torch.save. {AGAIN}'
