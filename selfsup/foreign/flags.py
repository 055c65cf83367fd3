"""The flags of a program: names, kinds, documented defaults and what each does to a config of ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import UsageError, did_you_mean

TRUE, FALSE = ('true', '1', 'yes', 'on', 't', 'y'), ('false', '0', 'no', 'off', 'f', 'n')


class NotNeeded(str):
    """Why a flag has no effect beside the others; what `Flag.apply` returns then."""

    __slots__ = ()


@dataclass
class Draft:
    """A translation in the making.

    Attributes:
        cfg: the config of the recipe, changed by one flag after the other.
        values: flag -> value, given or documented.
        given: the flags that stand in the command.
        world: processes of all machines together.
        words: arguments for tools/train.py.
        job: arguments for tools/submit.py.
    """

    cfg: dict[str, Any]
    values: dict[str, Any]
    given: frozenset[str]
    world: int = 1
    words: list[str] = field(default_factory=list)
    job: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Flag:
    """One flag.

    Attributes:
        name: long spelling, without dashes.
        kind: 'int', 'float', 'str', 'bool' (takes true or false), 'switch' (takes no value) or 'ints' (takes several).
        default: what counts where it is left out.
        says: what it is here, or why it is not needed.
        apply: changes a draft, or says what the flag became elsewhere; None: the flag is not needed here.
        only: the values that have a counterpart here; None: all.
        trains: no effect where a trained model is only measured.
        left_alone: where it is left out, the recipe's own value stands: it changes no weight.
        other: a second spelling, such as 'u'.
        low: the least number that it can be.
        high: the greatest.
        above: `low` itself is too small.
    """

    name: str
    kind: str
    default: Any
    says: str
    apply: Callable[[Draft, Any], str | None] | None = None
    only: tuple | None = None
    trains: bool = True
    left_alone: bool = False
    other: str = ''
    low: float | None = None
    high: float | None = None
    above: bool = False

    def spelled(self) -> str:
        """As a user writes it."""
        return f'--{self.name}'


def read(flag: Flag, words: list[str]) -> Any:
    """The value that `words` give a flag.

    Raises:
        UsageError: they are not of its kind, or no value that it can have.
    """
    shown = f'{flag.spelled()} {" ".join(words)}'.strip()
    if flag.kind == 'switch':
        if words:
            raise UsageError(f'{shown}: the flag takes no value; leave out {" ".join(words)}.')
        return True
    if not words or (len(words) > 1 and flag.kind != 'ints'):
        raise UsageError(f'{shown}: give {"one value" if flag.kind != "ints" else "one or more numbers"}.')
    text = words[0]
    try:
        if flag.kind == 'bool':
            if text.lower() not in TRUE + FALSE:
                raise ValueError
            return text.lower() in TRUE
        value = {
            'int': lambda: int(text),
            'float': lambda: float(text),
            'str': lambda: text,
            'ints': lambda: tuple(map(int, words)),
        }[flag.kind]()
    except ValueError:
        wanted = {'bool': 'true or false', 'int': 'a whole number', 'float': 'a number', 'ints': 'whole numbers'}
        raise UsageError(f'{shown}: give {wanted[flag.kind]}.') from None
    _in_range(flag, value, shown)
    return value


def _in_range(flag: Flag, value: Any, shown: str) -> None:
    numbers = value if isinstance(value, tuple) else (value,)
    for number in numbers:
        if isinstance(number, str):
            continue
        if flag.low is not None and not (number > flag.low or (number == flag.low and not flag.above)):
            raise UsageError(f'{shown}: it must be {"above" if flag.above else "at least"} {flag.low:g}.')
        if flag.high is not None and not number <= flag.high:
            raise UsageError(f'{shown}: it must be at most {flag.high:g}.')
        if number != number:
            raise UsageError(f'{shown}: give a number.')


def parse(flags: tuple[Flag, ...], words: list[str], positional: tuple[str, ...] = ()) -> dict[str, Any]:
    """Words of a command -> values of the flags that are given; the last of several counts, as in argparse.

    Args:
        flags: those of the program.
        words: what follows the program.
        positional: names of the words without a flag, in order.

    Raises:
        UsageError: an unknown flag, with the nearest names, a value too many, or one that a flag cannot have.
    """
    names = {f'--{f.name}': f for f in flags} | {f'-{f.other}': f for f in flags if f.other}
    names |= {f'--{f.name.replace("_", "-")}': f for f in flags}
    found: dict[str, Any] = {}
    rest, places = list(words), list(positional)
    while rest:
        word = rest.pop(0)
        if not word.startswith('-'):
            if not places:
                raise UsageError(f'{word!r} belongs to no flag: leave it out, or put it into quotes with its flag.')
            found[places.pop(0)] = word
            continue
        name, equals, value = word.partition('=')
        if name not in names:
            raise UsageError(
                f'{name} is no flag of the program.{did_you_mean(name, sorted(f"--{f.name}" for f in flags))}'
            )
        flag = names[name]
        taken = [value] if equals else []
        most = 0 if equals or flag.kind == 'switch' else (99 if flag.kind == 'ints' else 1)
        while rest and len(taken) < most and not (rest[0].startswith('-') and not _number(rest[0])):
            taken.append(rest.pop(0))
        found[flag.name] = read(flag, taken)
    if places:
        raise UsageError(f'<{places[0]}> is missing: the program wants it before its flags.')
    return found


def _number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def written(flag: Flag, value: Any) -> str:
    """A flag with its value, as in a command."""
    if flag.kind == 'switch':
        return flag.spelled() if value else f'no {flag.spelled()}'
    shown = ' '.join(map(str, value)) if isinstance(value, tuple) else str(value)
    if isinstance(value, bool):
        shown = shown.lower()
    return f'{flag.spelled()} {shown or repr("")}'
