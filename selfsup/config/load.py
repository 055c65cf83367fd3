"""Read a config file, apply options, check everything, report every problem at once."""

from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import ConfigError, SelfSupWarning, did_you_mean
from . import compat, keys, locate
from . import options as cli
from .text import to_text


@dataclass
class LoadedConfig:
    """A config file that passed the check, in its own spelling.

    Attributes:
        cfg: the merged file as plain dicts, lists and literals; only config keys, helper variables are dropped.
        path: the file, as given.
        text: `cfg` as Python text; a config file of its own.
        files: all files read, bases first.
        locations: dotted path -> (file, line) of whoever wrote it last; options have the file '--cfg-options'.
    """

    cfg: dict[str, Any]
    path: str
    text: str
    files: list[str]
    locations: dict[str, locate.Place] = field(repr=False)


def load(
    path: str | os.PathLike,
    options: dict | list[str] | None = None,
    data: Mapping[tuple[str, str], str | None] | None = None,
) -> LoadedConfig:
    """Read and check a Python config file.

    Args:
        path: the file; `_base_`, `_delete_` and `_base_.name` work as in mmengine.
        options: `--cfg-options`, as `['a.b=c', ...]` or `{'a.b': c}`; see `options.py`. A dict replaces what was there.
        data: addresses of images in the place of those that the file names: (option, split) -> address, such as
            ('--data', 'train') -> 'folder:/photos'. None leaves what is there.

    Raises:
        ConfigError: one line per problem, each with file:line, dotted path and the nearest names.
    """
    from .addresses import use_data  # both need the registries, which `--help` need not wait for
    from .check import check

    values, facts = _read(path)
    places = locate.flatten(facts.tree)
    known = keys.top_names(keys.all_keys())
    problems, unused = _unknown_names(values, facts, known)
    cfg = {name: _plain(value) for name, value in values.items() if name in known}
    pairs, bad = cli.parse(options)
    problems += bad
    for dotted, value in pairs:
        name = dotted.split('.')[0]
        problem = (
            cli.apply(cfg, dotted, value)
            if name in known
            else cli.helper_problem(name, list(known), name in facts.tree)
        )
        problems += [problem] if problem else []
        places.update({p: cli.SOURCE for p in places if p.startswith(dotted + '.')}, **{dotted: cli.SOURCE})
    problems += _import_modules(cfg, places)
    cfg = compat.translate(cfg, unused)
    problems += use_data(cfg, {key: value for key, value in (data or {}).items() if value is not None}, places)
    problems += check(cfg, places, display=locate.display_path, path=str(path))
    if problems:
        raise ConfigError('\n'.join(problems))
    return LoadedConfig(cfg, str(path), to_text(cfg), [f.path for f in facts.chain()], places)


def default_work_dir(path: str | os.PathLike) -> str:
    """`configs/selfsup/moco/r50_v2.py` -> `work_dirs/selfsup/moco/r50_v2`; elsewhere `work_dirs/` and the file's name.

    The last folder named `configs` counts, so the result does not depend on where the repository lies.
    """
    # `configs/../x.py` is no file in configs, and `..` would lead out.
    parts = Path(os.path.normpath(path)).with_suffix('').parts
    if 'configs' in parts[:-1]:
        parts = parts[len(parts) - parts[::-1].index('configs') :]
    else:
        parts = parts[-1:]
    return Path('work_dirs', *parts).as_posix()


def work_dir_of(compiled: dict[str, Any], path: str | os.PathLike) -> str:
    """Where runs of a config go: its own `work_dir`, or `default_work_dir(path)`. The one rule of all tools and scripts.

    Args:
        compiled: runner config.
        path: the config file that it comes from.
    """
    return compiled.get('work_dir') or default_work_dir(path)


def _read(path: str | os.PathLike) -> tuple[dict[str, Any], locate.FileFacts]:
    """Run the file through mmengine and read its places."""
    from mmengine.config import Config

    shown = locate.display_path(path)
    if os.path.isdir(path):
        raise ConfigError(f'{shown} is a folder. Name one config file in it.')
    if not os.path.isfile(path):
        raise ConfigError(f'{shown}: no such config file.{_beside(path)}')
    if Path(path).suffix != '.py':
        raise ConfigError(f'{shown} is not a Python config file (*.py).')
    try:
        facts = locate.read(path)
        # lazy_import=False: mmengine's guess of the file style goes wrong in virtual environments
        values = Config.fromfile(str(path), lazy_import=False, import_custom_modules=False)._cfg_dict
    except SyntaxError as error:
        text = (error.text or '').strip()
        raise ConfigError(
            f'{locate.display_path(error.filename or path)}:{error.lineno or 1}: {error.msg}: {text}'
        ) from None
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f'{_where(error, path)}: {type(error).__name__}: {error}') from error
    return values, facts


def _beside(path: str | os.PathLike) -> str:
    """Text that offers the configs of the folder in which `path` is missing."""
    folder = Path(path).parent
    names = [p.name for p in folder.glob('*.py')] if folder.is_dir() else []
    return did_you_mean(Path(path).name, names) if names else ''


def _import_modules(cfg: dict[str, Any], places: dict[str, locate.Place]) -> list[str]:
    """Import what `custom_imports` names, so that its types are registered before names are checked."""
    asked = cfg['custom_imports'] if isinstance(cfg.get('custom_imports'), dict) else {}
    names = asked.get('imports')  # what is neither a name nor a list of them, the check refuses
    problems = []
    named = [names] if isinstance(names, str) else names if isinstance(names, (list, tuple)) else []
    for name in (n for n in named if isinstance(n, str)):
        try:
            import_module(name)
        except (Exception, SystemExit) as error:  # a module that people write may do anything when it is imported
            text = f'{_written_at(places)}: {name} cannot be imported: {_import_failure(error, name)}'
            if asked.get('allow_failed_imports') is True and isinstance(error, ImportError):
                warnings.warn(text, SelfSupWarning, stacklevel=3)
            else:
                problems.append(text)
    return problems


def _written_at(places: dict[str, locate.Place]) -> str:
    """`custom_imports (configs/x.py:3)`, from the file or the option that says what to import."""
    path = next((p for p in ('custom_imports.imports', 'custom_imports') if p in places), None)
    file, line = places[path] if path else cli.SOURCE
    return f'custom_imports ({locate.display_path(file)}:{line})' if line else f'custom_imports ({file})'


def _import_failure(error: BaseException, name: str) -> str:
    """Why a module of the user's could not be imported, with the line of it that raised, and what to do."""
    if isinstance(error, ModuleNotFoundError) and error.name in (name, name.partition('.')[0]):
        return f'{error}. Is its folder in PYTHONPATH?'
    if isinstance(error, SyntaxError) and error.filename:
        return f'{locate.display_path(error.filename)}:{error.lineno or 1}: {error.msg}: {(error.text or "").strip()}'
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if f.name == '<module>' and 'importlib' not in f.filename
    ]
    where = f'{locate.display_path(frames[-1].filename)}:{frames[-1].lineno}: ' if frames else ''
    text = ' '.join(str(error).split())
    taken = (
        ' Give your class a name of its own, or register it with force=True.' if 'is already registered' in text else ''
    )
    if isinstance(error, ImportError):
        return f'{where}{text}. Is its folder in PYTHONPATH?'
    return f'{where}{type(error).__name__}: {text}.{taken}'


def _where(error: BaseException, path: str | os.PathLike) -> str:
    """file:line of the config statement that raised, or the file."""
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if f.name == '<module>' and f.filename.endswith('.py')
    ]
    if frames:
        return f'{locate.display_path(frames[-1].filename)}:{frames[-1].lineno}'
    return locate.display_path(path)


def _plain(value: Any) -> Any:
    """Copy with plain dicts; without mmengine's own marks."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if k not in ('_delete_', '_scope_')}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return tuple(_plain(v) for v in value) if isinstance(value, tuple) else value


def _unknown_names(
    values: dict[str, Any], facts: locate.FileFacts, known: tuple[str, ...]
) -> tuple[list[str], list[str]]:
    """Problems with top-level names that are neither config keys nor helpers that do something; unused helpers of old files.

    A helper must be read by the file that assigns it, or, as `_base_.name`, by a file based on it. A child that assigns
    a helper of its base again changes nothing, which is said.
    """
    problems, unused = [], []
    chain = facts.chain()
    bound = {name for f in chain for name in f.bound}
    for child, lower in ((f, f.chain()[:-1]) for f in chain):
        below = {name for f in lower for name in f.assigned}
        above = {name for f in chain if child in f.chain()[:-1] for name in f.base_names}
        for name, line in child.assigned.items():
            if name in known or name not in values or name in bound | child.loaded | above or name.startswith('__'):
                continue
            at = f'{name} ({locate.display_path(child.path)}:{line})'
            if name in below:
                base = next(f.path for f in lower if name in f.assigned)
                problems.append(
                    f'{at} changes nothing: {locate.display_path(base)} has used its own {name} already. '
                    'Set the keys that are made from it.'
                )
            elif name in compat.HELPERS:
                unused.append(name)
            else:
                problems.append(f'{at} is not a config key.{did_you_mean(name, known)}')
    return problems, unused
