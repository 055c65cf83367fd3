"""What a checkpoint says about itself (`meta`), for files that leave the run: extracted, upgraded, published."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# entries of meta that describe the weights -> types they may have
_KEPT = (
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


def described(checkpoint: Mapping) -> dict[str, Any]:
    """The part of `meta` that describes the weights; entries of another type than they should have are left out."""
    meta = checkpoint.get('meta')
    if not isinstance(meta, Mapping):
        return {}
    found = {key: meta[key] for key, kind in _KEPT if type(meta.get(key)) is kind}
    names = {
        key: list(meta[key])
        for key in _CLASSES
        if isinstance(meta.get(key), list | tuple) and all(isinstance(name, str) for name in meta[key])
    }
    return {**found, **names}


def public(meta: Mapping[str, Any]) -> dict[str, Any]:
    """`described` without the folders of whoever trained: an absolute path in the config becomes its last part."""
    found = dict(meta)
    if 'config' in found:
        found['config'] = _BARE.sub(r'\1', _QUOTED.sub(r'\1\2\1', found['config']))
    if 'source' in found:
        found['source'] = Path(found['source']).name
    return found


def public_name(source: Path, checkpoint: Mapping) -> str:
    """Name of the published file, without ending: that of `source`; for `latest.pth` its folder and which checkpoint it is."""
    if source.stem != 'latest':
        return source.stem
    real, meta = source.resolve(), described(checkpoint)
    which = next((f'{key}_{meta[key]}' for key in ('epoch', 'iter') if meta.get(key)), 'weights')
    return f'{source.absolute().parent.resolve().name or "run"}_{real.stem if real.stem != "latest" else which}'
