"""Where a value stands in a config, and what differs between two configs."""

from __future__ import annotations

from typing import Any

ABSENT = object()


def get(cfg: dict[str, Any], path: str, default: Any = None) -> Any:
    """The value at a dotted path, or `default`."""
    value: Any = cfg
    for name in path.split('.'):
        if not isinstance(value, dict) or name not in value:
            return default
        value = value[name]
    return value


def put(cfg: dict[str, Any], path: str, value: Any, default: Any = ABSENT) -> None:
    """Set the value at a dotted path; where it is absent and `value` is its `default`, it stays so."""
    *folders, name = path.split('.')
    if default is not ABSENT and get(cfg, path, ABSENT) is ABSENT and value == default:
        return
    for folder in folders:
        if not isinstance(cfg.get(folder), dict):
            cfg[folder] = {}
        cfg = cfg[folder]
    if name not in cfg or cfg[name] != value:
        cfg[name] = value


def drop(cfg: dict[str, Any], path: str) -> None:
    """Take a value away, if it is there."""
    *folders, name = path.split('.')
    where = get(cfg, '.'.join(folders)) if folders else cfg
    if isinstance(where, dict):
        where.pop(name, None)


def hook(cfg: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The custom hook of a type."""
    return next((entry for entry in cfg.get('custom_hooks', []) if entry['type'] == name), None)


def drop_hook(cfg: dict[str, Any], name: str) -> None:
    """Take the custom hooks of a type away."""
    cfg['custom_hooks'] = [entry for entry in cfg.get('custom_hooks', []) if entry['type'] != name]


def datasets(cfg: dict[str, Any], split: str) -> list[dict[str, Any]]:
    """The data sets that read a split: those of `data`, and for 'val' those that hooks measure on."""
    found = [get(cfg, f'data.{split}')]
    if split == 'val':
        found += [entry.get('dataset') for entry in cfg.get('custom_hooks', [])]
    return [entry for entry in found if isinstance(entry, dict)]


def step(dataset: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The step of a type in the pipeline of a data set."""
    return next((entry for entry in dataset['pipeline'] if entry['type'] == name), None)


def changes(old: Any, new: Any, path: str = '') -> list[str]:
    """Each difference as `path = value`; a list is one value."""
    if isinstance(old, dict) and isinstance(new, dict) and old.get('type') == new.get('type'):
        found = []
        for name in [*new, *(n for n in old if n not in new)]:
            inner = f'{path}.{name}' if path else str(name)
            if name not in new:
                found.append(f'{inner} left out')
            elif name not in old:
                found.append(f'{inner} = {new[name]!r}')
            else:
                found += changes(old[name], new[name], inner)
        return found
    if isinstance(old, list) and isinstance(new, list) and old != new:
        types = [[e.get('type') for e in entries if isinstance(e, dict)] for entries in (old, new)]
        if types[0] == types[1] and len(old) == len(new) == len(types[0]):
            return [line for a, b in zip(old, new, strict=True) for line in changes(a, b, f'{path}.{b["type"]}')]
        gone = [t for t in types[0] if t not in types[1]]
        return [f'{path}.{t} left out' for t in gone] or [f'{path} = {new!r}']
    return [] if (old == new and type(old) is type(new)) or _same(old, new) else [f'{path} = {new!r}']


def _same(old: Any, new: Any) -> bool:
    """1 and 1.0, (1, 2) and [1, 2] are one value; True and 1 are not."""
    if isinstance(old, bool) != isinstance(new, bool):
        return False
    if isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)):
        return list(old) == list(new)
    return bool(old == new)


def difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """What a file has to say that inherits `old` and shall be `new`; a dict that loses a key is written anew (`_delete_`)."""
    if any(name not in new for name in old):
        return {'_delete_': True, **new}
    found = {}
    for name, value in new.items():
        before = old.get(name, ABSENT)
        if before is ABSENT:
            found[name] = value
        elif isinstance(before, dict) and isinstance(value, dict):
            inner = difference(before, value)
            if inner:
                found[name] = inner
        elif not _same(before, value):
            found[name] = value
    return found
