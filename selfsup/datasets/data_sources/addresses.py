"""One string for images anywhere: `folder:/photos`, `wds:/shards/{000..127}.tar`, `csv:list.csv?path=file&label=class`.

An address is `scheme:path?argument=value&argument=value`. The scheme says which data source reads (`SCHEMES`), the path goes to one of its
arguments, and what follows the `?` to others, each of the kind that the signature of the source says. Without a scheme, the ending of the
path tells, or what lies in the folder. An address stands wherever a `data_source=dict(...)` may, in configs, in Python and as `--data`
of tools.

To give a source a scheme: a row in `SCHEMES`.
"""

from __future__ import annotations

import ast
import fnmatch
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, get_origin
from urllib.parse import unquote

from ...arguments import arguments_of, opened, problems, words
from ...errors import ConfigError, did_you_mean
from ...hints import SEQUENCES, alternatives
from ...registry import DATA_SOURCES

# A path may hold question marks (patterns): only what looks like arguments is taken for them.
_QUERY = re.compile(r'\?((?:[A-Za-z_]\w*=[^?&]*(?:&|$))+)$')
_SCHEME = re.compile(r'^([A-Za-z][A-Za-z0-9_]*):(?!//)(.*)$', re.DOTALL)
_FLAGS = MappingProxyType({'true': True, 'yes': True, '1': True, 'false': False, 'no': False, '0': False})


@dataclass(frozen=True)
class Scheme:
    """How a kind of address is read.

    Attributes:
        type: the data source.
        argument: which of its arguments the path is; '' for a source without a path.
        fixed: arguments that the scheme sets unless the address does.
        folder: an argument that is the folder of the path unless the address says it; '' for none.
        endings: of paths without a scheme that it takes, in lower case.
        marks: names, or patterns of names, of files that make a folder without a scheme one of this kind.
    """

    type: str
    argument: str = ''
    fixed: Mapping[str, Any] = field(default_factory=dict)
    folder: str = ''
    endings: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()


SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        'folder': Scheme('ImageFolder', 'root'),
        'tiff': Scheme('ImageFolder', 'root', {'extensions': ('.tif', '.tiff')}),
        'list': Scheme('ImageList', 'list_file', folder='root', endings=('.txt', '.lst')),
        'csv': Scheme('CSV', 'file', endings=('.csv', '.tsv')),
        'parquet': Scheme('Parquet', 'files', endings=('.parquet',), marks=('*.parquet',)),
        'hf': Scheme('HFDataset', 'path', marks=('dataset_dict.json', 'state.json')),
        'lmdb': Scheme('LMDB', 'path', endings=('.lmdb', '.mdb'), marks=('data.mdb',)),
        'npy': Scheme('NumpyArray', 'images', endings=('.npy', '.npz')),
        'wds': Scheme(
            'WebDataset', 'shards', endings=('.tar', '.tar.gz', '.tgz'), marks=('*.tar', '*.tar.gz', '*.tgz')
        ),
        'cifar10': Scheme('Cifar10', 'root', {'split': 'train'}),
        'cifar100': Scheme('Cifar100', 'root', {'split': 'train'}),
        'digits': Scheme('Digits'),
        'coco': Scheme('COCO', 'ann_file', folder='root'),
        'voc': Scheme('VOCDetection', 'root'),
    }
)


def source_config(address: str) -> dict[str, Any]:
    """The `dict(type=..., ...)` that an address stands for.

    Args:
        address: see above. In the path, `%3F` is a question mark where a plain one would begin the arguments; values of arguments are
            percent-decoded.

    Raises:
        ConfigError: an unknown scheme or argument, a value of a wrong kind, or no path where one is needed.
    """
    scheme, path, query = split_address(address)
    row = SCHEMES[scheme]
    config: dict[str, Any] = {'type': row.type}
    if row.argument:
        if not path:
            raise ConfigError(f"'{address}' lacks its path: write '{scheme}:' and the {row.argument} of {row.type}.")
        config[row.argument] = path
    elif path:
        raise ConfigError(f"'{address}' has a path, but {row.type} needs none: write '{scheme}:'.")
    config.update(row.fixed)
    if row.folder:
        config[row.folder] = os.path.dirname(path) or '.'
    given = [part.partition('=') for part in query.split('&') if part]
    named, anything = arguments_of(DATA_SOURCES.get(row.type))
    for name, _, text in given:
        if name not in named and not anything:
            raise ConfigError(f"'{name}' in '{address}' is not an argument of {row.type}.{did_you_mean(name, named)}")
        if name == row.argument:
            raise ConfigError(f"'{address}' says {name} twice: it is what stands before the '?'.")
        if sum(other == name for other, _, _ in given) > 1:
            raise ConfigError(f"'{address}' says {name} twice.")
        hint = named[name].hint if name in named else Any
        config[name] = _value(unquote(text), hint, f"{name}={text} in '{address}'")
    return config


def split_address(address: str) -> tuple[str, str, str]:
    """Scheme, path and arguments of an address; the scheme is guessed where none is written.

    Raises:
        ConfigError: the scheme is unknown, or cannot be guessed.
    """
    query = _QUERY.search(address)
    place = address[: query.start()] if query else address
    arguments = query[1] if query else ''
    written = _SCHEME.match(place)
    if written and written[1].lower() in SCHEMES:
        return written[1].lower(), written[2].replace('%3F', '?'), arguments
    if written and not os.path.exists(place):
        raise ConfigError(f"'{written[1]}:' of '{address}' is no kind of address.{did_you_mean(written[1], SCHEMES)}")
    if not place.strip():
        raise ConfigError(f"'{address}' is no address: write 'folder:/photos', or the path of a folder or a file.")
    place = place.replace('%3F', '?')
    return guess(place), place, arguments


def guess(path: str) -> str:
    """The scheme of a path, by its ending, or by what lies in the folder.

    Raises:
        ConfigError: the file is of no known kind.
    """
    local = os.path.expanduser(path)
    if os.path.isdir(local):
        names = os.listdir(local)
        for scheme, row in SCHEMES.items():
            if any(fnmatch.filter(names, mark) for mark in row.marks):
                return scheme
        return 'folder'
    lower = path.lower()
    for scheme, row in SCHEMES.items():
        if row.endings and lower.endswith(row.endings):
            return scheme
    if os.path.isfile(local) or '://' in path:
        endings = ', '.join(f'{scheme}: {" ".join(row.endings)}' for scheme, row in SCHEMES.items() if row.endings)
        raise ConfigError(
            f"'{path}' does not say what it holds: write its kind before it ({', '.join(SCHEMES)}), as in 'list:{path}'. "
            f'Known by their endings: {endings}.'
        )
    if DATA_SOURCES.find(path) is not None:
        raise ConfigError(f"data_source='{path}' is the name of a type: write dict(type='{path}', ...), or an address.")
    return 'folder'  # which says that it is not there


def _value(text: str, hint: Any, what: str) -> Any:
    """A value written as text, as its hint wants it: the first reading that the hint allows.

    Raises:
        ConfigError: none is.
    """
    for value in _readings(text, hint):
        if not any(True for _ in problems(hint, value, ('',))):
            return value
    raise ConfigError(f'{what} must be {words(hint)}.')


def _readings(text: str, hint: Any) -> list[Any]:
    """What a text may mean, the most particular meaning first."""
    kinds = [opened(choice)[0] for choice in alternatives(opened(hint)[0])]
    readings: list[Any] = []
    if bool in kinds and text.lower() in _FLAGS:
        readings.append(_FLAGS[text.lower()])
    if type(None) in kinds and text.lower() == 'none':
        readings.append(None)
    several = [tuple(_literal(part) for part in text.split(',')), tuple(text.split(','))]
    takes_several = any((get_origin(kind) or kind) in SEQUENCES for kind in kinds)
    if takes_several and ',' in text:
        readings += several
    if str in kinds and not {int, float} & set(kinds):
        readings.append(text)
    return [*readings, _literal(text), *(several if takes_several else ()), text]


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
