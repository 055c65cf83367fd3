"""`--cfg-options a.b=c`: values set from the command line on top of a config file."""

from __future__ import annotations

import ast
from typing import Any

from ..errors import did_you_mean

SOURCE = ('--cfg-options', 0)  # the place of a value that no file wrote


def parse(options: dict | list[str] | None) -> tuple[list[tuple[str, Any]], list[str]]:
    """Split options into dotted path and value.

    Args:
        options: `['optimizer.lr=0.1', ...]`, where values are Python literals or else strings, or `{'optimizer.lr': 0.1}`.

    Returns:
        The pairs, and a line per option that is not written `path=value`.
    """
    if isinstance(options, dict):
        return list(options.items()), []
    pairs, problems = [], []
    for option in options or []:
        path, equals, text = option.partition('=')
        if not equals or not path:
            problems.append(f'--cfg-options {option!r} is not written path=value, as in optimizer.lr=0.1.')
            continue
        pairs.append((path.strip(), _literal(text)))
    return pairs, problems


class _DictCalls(ast.NodeTransformer):
    """`dict(a=1)`, as configs write it, to `{'a': 1}`, which is a literal."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if getattr(node.func, 'id', '') == 'dict' and not node.args and all(k.arg for k in node.keywords):
            return ast.Dict([ast.Constant(k.arg) for k in node.keywords], [k.value for k in node.keywords])
        return node


def _literal(text: str) -> Any:
    """A number, string, list, dict, ... written as in a config; anything else is taken as a string."""
    try:
        return ast.literal_eval(_DictCalls().visit(ast.parse(text.strip(), mode='eval')))
    except (ValueError, SyntaxError):
        return text


def _longest_key(container: dict, parts: list[str]) -> str:
    """The next key of a path: the longest that exists (regexes have dots), else up to the next dot."""
    for n in range(len(parts), 0, -1):
        if '.'.join(parts[:n]) in container:
            return '.'.join(parts[:n])
    return parts[0]


def apply(cfg: dict, path: str, value: Any) -> str | None:
    """Set `path` in `cfg`, in place; dicts on the way are made where they are missing.

    Returns:
        None, or a line that says why it cannot be done. Whether the key may exist at all is the checker's business.
    """
    here: Any = cfg
    parts = path.split('.')
    done: list[str] = []
    while True:
        if isinstance(here, (list, tuple)):
            key: Any = int(parts[0]) if parts[0].lstrip('-').isdigit() else None
            if key is None or not 0 <= key < len(here):
                return (
                    f'{path} (--cfg-options): {".".join(done)} is a list of {len(here)}; '
                    f"write an index from 0 to {len(here) - 1}, not '{parts[0]}'."
                )
        elif isinstance(here, dict):
            key = _longest_key(here, parts)
        else:
            return f'{path} (--cfg-options): {".".join(done)} is {here!r} and has nothing inside.'
        parts = parts[str(key).count('.') + 1 :]
        done.append(str(key))
        if not parts:
            here[key] = value
            return None
        if isinstance(here, dict) and here.get(key) is None:
            here[key] = {}
        elif isinstance(here[key], tuple):
            here[key] = list(here[key])
        here = here[key]


def helper_problem(name: str, cfg_names: list[str], is_helper: bool) -> str:
    """Line about an option whose first part is no config key."""
    if is_helper:
        return f'{name} (--cfg-options) is a helper variable of the file: it has been used already. Set the keys that are made from it.'
    return f'{name} (--cfg-options) is not a config key.{did_you_mean(name, cfg_names)}'
