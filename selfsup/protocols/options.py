"""Options of a protocol: a class whose fields say how a command line gives them.

`option` declares a field, `parse` makes the object from the words of a command line. A field declared without `option` is for callers
in Python alone. `--help` must come at once, so what it imports is light: neither `dataclasses` nor `typing` is.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .. import cli
from ..errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from typing_extensions import Self, dataclass_transform

    Parsed = TypeVar('Parsed', bound='Declared')
else:

    def dataclass_transform(**_):
        return lambda kind: kind


MISSING: Any = object()  # default of a field that must be given


class Option:
    """How a field is given: its default, names and the settings of `option`."""

    def __init__(self, default: Any, flags: tuple[str, ...], settings: dict[str, Any]) -> None:
        self.default, self.flags, self.settings = default, flags, settings


def option(default: Any = MISSING, *flags: str, **settings: Any) -> Any:
    """A field that a command line gives.

    Args:
        default: without one it must be given. False: a flag.
        flags: names on the command line; without them `--name-of-the-field`. Positional where the first has no dash.
        settings: of `argparse`'s `add_argument`, and three of ours: `one_of='group'`, exactly one of a group must be given;
            `at_most_one='group'`; `add`, a function that adds the argument to a parser.
    """
    return Option(default, flags, settings)


@dataclass_transform(kw_only_default=True)
class Declared:
    """Options from keyword arguments: the annotated names of a class and its parents, those of the parents first."""

    def __init__(self, **values: Any) -> None:
        for name, default in self.fields().items():
            value = values.pop(name, default.default if isinstance(default, Option) else default)
            if value is MISSING:
                raise TypeError(f"{type(self).__name__} lacks '{name}'")
            setattr(self, name, value)
        if values:
            raise TypeError(f'{", ".join(values)}: no options of {type(self).__module__}')
        self.validate()

    @classmethod
    def fields(cls) -> dict[str, Any]:
        """Name -> what `option` declared, or a default that only Python may change."""
        kinds = reversed([kind for kind in cls.__mro__ if issubclass(kind, Declared)])
        return {name: getattr(cls, name) for kind in kinds for name in vars(kind).get('__annotations__', ())}

    def validate(self) -> None:
        """Refuse what does not go together, with a `UsageError`."""

    def but(self, **values: Any) -> Self:
        """The same with other values."""
        return type(self)(**{**vars(self), **values})

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)


class Options(Declared):
    """What is asked wherever a config is measured.

    Attributes:
        config: the config file.
        launcher: how several processes were started, see `engine.processes.launch.init_distributed`.
        port: of rank 0 under Slurm.
        cfg_options: words of `--cfg-options`.
    """

    config: str = option(MISSING, 'config', help='config file')
    launcher: str = option('none', add=cli.add_launcher)
    port: int | None = None
    cfg_options: Sequence[str] = option((), add=cli.add_cfg_options)


class LabelledData(Options):
    """Addresses of labelled images in the place of those that a config names.

    Attributes:
        train_data: of the training images, such as 'wds:/shards/train-{000..127}.tar'.
        test_data: of those that are measured.
    """

    train_data: str | None = option(
        None, metavar='ADDRESS', help="labelled training images in place of the config's, such as folder:/photos/train"
    )
    test_data: str | None = option(None, metavar='ADDRESS', help='images to measure on, likewise')

    def other_images(self) -> dict[str, str]:
        """The addresses that were given, for a result."""
        given = {'train_data': self.train_data, 'test_data': self.test_data}
        return {name: address for name, address in given.items() if address is not None}


def parse(kind: type[Parsed], description: str, words: Sequence[str] | None = None, prog: str | None = None) -> Parsed:
    """Options of a command line.

    Args:
        kind: class with fields made by `option`.
        description: what --help says first.
        words: None: those of this process.
        prog: name of the tool; None: that of this process.
    """
    parser = _parser(kind, description, prog)
    try:
        return kind(**vars(parser.parse_args(words)))
    except UsageError as error:  # options that do not go together
        parser.error(str(error))


def words_of(asked: Declared, kind: type[Declared]) -> list[str]:
    """The words of a command line that give these options, in full: `parse` is its inverse.

    Args:
        asked: options of `kind` or of a class below it, whose further options are left out.
        kind: whose fields are written.
    """
    words, positional = [], []
    for action in _parser(kind, '', None)._actions:
        value = getattr(asked, action.dest, action.default)
        if value == action.default or (isinstance(value, Sequence) and not value):
            continue
        given = [str(one) for one in (value if isinstance(value, (list, tuple)) else [value])]
        if not action.option_strings:
            positional += given
        elif action.nargs == 0:
            words.append(action.option_strings[0])
        elif action.nargs is None:
            words.append(f'{action.option_strings[0]}={given[0]}')  # the value may begin with a dash
        else:
            words += [action.option_strings[0], *given]
    return [*positional, *words]


def _parser(kind: type[Declared], description: str, prog: str | None) -> argparse.ArgumentParser:
    """A parser that knows the fields of `kind`."""
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    groups: dict[str, Any] = {}
    for name, declared in kind.fields().items():
        if isinstance(declared, Option):
            _add(parser, groups, name, declared)
    return parser


def _add(parser: argparse.ArgumentParser, groups: dict[str, Any], name: str, declared: Option) -> None:
    """Add the argument of one field."""
    settings, default = dict(declared.settings), declared.default
    if 'add' in settings:
        settings['add'](parser)
        return
    flags = declared.flags or (f'--{name.replace("_", "-")}',)
    where: Any = parser
    for rule in ('one_of', 'at_most_one'):
        if rule in settings:
            group = settings.pop(rule)
            if group not in groups:
                groups[group] = parser.add_mutually_exclusive_group(required=rule == 'one_of')
            where = groups[group]
    if flags[0].startswith('-'):
        settings.update(dest=name, required=default is MISSING)
    if default is not MISSING:
        settings['default'] = default
    if default is False:
        settings['action'] = 'store_true'
    where.add_argument(*flags, **settings)
