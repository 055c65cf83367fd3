"""Options of a protocol: a dataclass whose fields say how a command line gives them.

`option` declares a field, `parse` makes the object from the words of a command line. A field declared without `option` is for callers
in Python alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, TypeVar

from .. import cli
from ..errors import UsageError

Parsed = TypeVar('Parsed')


def option(default: Any = MISSING, *flags: str, **settings: Any) -> Any:
    """A field of a dataclass of options.

    Args:
        default: without one it must be given. False: a flag.
        flags: names on the command line; without them `--name-of-the-field`. Positional where the first has no dash.
        settings: of `argparse`'s `add_argument`, and three of ours: `one_of='group'`, exactly one of a group must be given;
            `at_most_one='group'`; `add`, a function that adds the argument to a parser.
    """
    return field(default=default, metadata={'flags': flags, **settings})


@dataclass(kw_only=True)
class Options:
    """What is asked wherever a config is measured.

    Attributes:
        config: the config file.
        launcher: how several processes were started, see `engine.launch.init_distributed`.
        port: of rank 0 under Slurm.
        cfg_options: words of `--cfg-options`.
    """

    config: str = option(MISSING, 'config', help='config file')
    launcher: str = option('none', add=cli.add_launcher)
    port: int | None = None
    cfg_options: Sequence[str] = option((), add=cli.add_cfg_options)


def parse(kind: type[Parsed], description: str, words: Sequence[str] | None = None, prog: str | None = None) -> Parsed:
    """Options of a command line.

    Args:
        kind: dataclass with fields made by `option`.
        description: what --help says first.
        words: None: those of this process.
        prog: name of the tool; None: that of this process.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    groups: dict[str, Any] = {}
    for item in fields(kind):  # type: ignore[arg-type]  # Parsed is any dataclass, which no bound of typing can say
        _add(parser, groups, item)
    try:
        return kind(**vars(parser.parse_args(words)))
    except UsageError as error:  # options that do not go together: `__post_init__`
        parser.error(str(error))


def _add(parser: argparse.ArgumentParser, groups: dict[str, Any], item: Field[Any]) -> None:
    """Add the argument of one field."""
    settings = dict(item.metadata)
    if not settings:
        return
    if 'add' in settings:
        settings['add'](parser)
        return
    flags = settings.pop('flags') or (f'--{item.name.replace("_", "-")}',)
    where: Any = parser
    for rule in ('one_of', 'at_most_one'):
        if rule in settings:
            group = settings.pop(rule)
            if group not in groups:
                groups[group] = parser.add_mutually_exclusive_group(required=rule == 'one_of')
            where = groups[group]
    if flags[0].startswith('-'):
        settings.update(dest=item.name, required=item.default is MISSING)
    if item.default is not MISSING:
        settings['default'] = item.default
    if item.default is False:
        settings['action'] = 'store_true'
    where.add_argument(*flags, **settings)
