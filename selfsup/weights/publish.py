"""Put a checkpoint into the form in which it is published, and say what a checkpoint tells of itself (`meta`)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import CheckpointError
from ..provenance import sha256
from .frame import FRAMES, OFFICIAL_AVERAGES, VISSL, flat_weights, meta_of
from .read import check_finite, read_checkpoint
from .write import AUTHOR, write_checkpoint_atomic

# entries of meta that describe the weights -> types they may have
_DESCRIBING = (
    ('epoch', int),
    ('iter', int),
    ('algorithm', str),
    ('config', str),
    ('openselfsup_version', str),
    ('source', str),
)
_CLASSES = ('classes', 'CLASSES', 'class_names')
_QUOTED = re.compile(r"""(['"])(?:/|~|[A-Za-z]:[\\/])[^'"\n]*?([^'"\n/\\]*)[/\\]*\1""")  # an absolute path in a config
_BARE = re.compile(r'(?<![\w./:~-])(?:~|/[\w.@+-]+)(?:/[\w.@+-]+)*/([\w.@+-]+)')  # the same in a comment or a command


def publish(source: str | os.PathLike, out_dir: str | os.PathLike | None = None) -> tuple[Path, list[str]]:
    """Write `{name}-{first 8 hex digits of its SHA-256}.pth`: weights and description, nothing that only training needs.

    Kept are the weights (of the files of other code their averages too) and of `meta` what a user needs who does not resume: epoch, iter,
    algorithm, class names and the config, in which absolute paths become their last part. Left out are optimizer, schedules and
    averages of ours, and all that says where and by whom it was trained: host, versions, time, command line, digests for a resume.

    The name is that of the file; `latest.pth` is published under the name of its run (its folder) and its epoch. The digits are those
    of the finished file, read back from the disk; the file is then loaded once more.

    Args:
        source: checkpoint; left as it is.
        out_dir: folder of the result; None takes that of `source`.

    Returns:
        The file, and the entries that were left out.

    Raises:
        CheckpointError: `source` cannot be read, has no weights or weights that are not finite, or the result cannot be written.
    """
    source = Path(source)
    checkpoint = read_checkpoint(source)
    content = _published(checkpoint, str(source))
    folder = Path(out_dir) if out_dir is not None else source.parent
    # publishing a published file does not lengthen its name
    stem = re.sub(r'-[0-9a-f]{8}$', '', _public_name(source, checkpoint))
    unnamed = write_checkpoint_atomic(content, folder / f'.{stem}.{os.getpid()}.tmp')
    target = folder / f'{stem}-{sha256(unnamed)[:8]}.pth'
    os.replace(unnamed, target)
    names = flat_weights(content, str(source)).keys()
    if sha256(target)[:8] != target.stem[-8:] or flat_weights(read_checkpoint(target), str(target)).keys() != names:
        raise CheckpointError(f'{target} did not read back as it was written; the disk may be failing.')
    return target, [str(key)[:80] for key in checkpoint if key not in content]


def _described(checkpoint: Mapping) -> dict[str, Any]:
    """The part of `meta` that describes the weights; entries of another type than they should have are left out."""
    meta = meta_of(checkpoint)
    entries = {key: meta[key] for key, kind in _DESCRIBING if type(meta.get(key)) is kind}
    names = {
        key: list(meta[key])
        for key in _CLASSES
        if isinstance(meta.get(key), list | tuple) and all(isinstance(name, str) for name in meta[key])
    }
    return {**entries, **names}


def write_described(weights: dict[str, Tensor], checkpoint: dict, source: str | os.PathLike, target: Path) -> Path:
    """Write weights that were taken out of `checkpoint`, read from `source`, with its description."""
    meta = {**_described(checkpoint), 'source': Path(source).name}
    return write_checkpoint_atomic({'state_dict': weights, 'author': AUTHOR, 'meta': meta}, target)


def _published(checkpoint: dict, source: str) -> dict:
    """What of a checkpoint is published.

    Raises:
        CheckpointError: weights that are not finite, or something else in their place.
    """
    flat_weights(checkpoint, source)
    frames = {key: checkpoint[key] for key in (*FRAMES, *OFFICIAL_AVERAGES) if isinstance(checkpoint.get(key), dict)}
    if 'state_dict' in frames:
        frames = {'state_dict': frames['state_dict']}
    for key, weights in frames.items():
        check_finite(weights, source, f'weights under {key}')
        frames[key] = {name: value for name, value in weights.items() if isinstance(value, Tensor)}
    content = frames or {
        key: value for key, value in checkpoint.items() if isinstance(value, Tensor) or key == VISSL[0]
    }
    if VISSL[0] in content:
        content[VISSL[0]] = {VISSL[1]: {VISSL[2]: content[VISSL[0]][VISSL[1]][VISSL[2]]}}
    if isinstance(checkpoint.get('author'), str):
        content['author'] = checkpoint['author']
    return {**content, 'meta': _public(_described(checkpoint))} if isinstance(checkpoint.get('meta'), dict) else content


def _public(meta: Mapping[str, Any]) -> dict[str, Any]:
    """`_described` without the folders of whoever trained: an absolute path in the config becomes its last part."""
    public = dict(meta)
    if 'config' in public:
        public['config'] = _BARE.sub(r'\1', _QUOTED.sub(r'\1\2\1', public['config']))
    if 'source' in public:
        public['source'] = Path(public['source']).name
    return public


def _public_name(source: Path, checkpoint: Mapping) -> str:
    """Name of the published file, without ending: that of `source`; for `latest.pth` its folder and which checkpoint it is."""
    if source.stem != 'latest':
        return source.stem
    real, meta = source.resolve(), _described(checkpoint)
    which = next((f'{key}_{meta[key]}' for key in ('epoch', 'iter') if meta.get(key)), 'weights')
    return f'{source.absolute().parent.resolve().name or "run"}_{real.stem if real.stem != "latest" else which}'
