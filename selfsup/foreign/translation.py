"""The walk from a command to a config, the command that runs it here, and a row per flag."""

from __future__ import annotations

import copy
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import load, to_text
from ..errors import UsageError, did_you_mean
from .flags import Draft, Flag, NotNeeded, parse, written
from .settings import changes, difference
from .shell import Call

ROOT = Path(__file__).resolve().parents[2]
CONFIG = 'CONFIG.py'  # stands in a command for a file that has no name yet


@dataclass(frozen=True)
class Row:
    """What became of one flag.

    Attributes:
        flag: as it is written, with its value.
        status: 'taken', 'implied' or 'not needed'.
        text: the settings it became; or what it is here; or why it is not needed.
        given: whether it stands in the command; else its documented default counts.
    """

    flag: str
    status: str
    text: str
    given: bool


@dataclass
class Translation:
    """What a command is here.

    Attributes:
        recipe: the shipped config that the result inherits, from the root of the repository; '' where no config is read.
        config: the text of the config; '' where the command needs none.
        command: what runs it here.
        rows: one per flag.
        notes: what else a user should know, one line each.
    """

    recipe: str
    config: str
    command: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Program:
    """A script of another code base.

    Attributes:
        title: what it is called on the page.
        scripts: its file names.
        flags: its table, in the order in which they are applied.
        recipe: values -> the shipped config, from the root of the repository.
        positional: names of the words without a flag.
        describe: values, call -> what starts the processes; None: as the call says. See `Start`.
        check: values -> nothing, or an error for values that cannot be meant together.
        notes: values -> lines for `Translation.notes`.
    """

    title: str
    scripts: tuple[str, ...]
    flags: tuple[Flag, ...]
    recipe: Callable[[dict[str, Any]], str]
    positional: tuple[str, ...] = ()
    describe: Callable[[dict[str, Any], Call], Start] | None = None
    check: Callable[[dict[str, Any]], None] | None = None
    notes: Callable[[dict[str, Any]], list[str]] | None = None


@dataclass(frozen=True)
class Start:
    """Where the processes of a run are.

    Attributes:
        nodes, processes: machines, and processes on each.
        slurm: they are sent to a cluster by a job.
        environment: what stands before tools/dist_train.sh.
        launched: a launcher starts them.
    """

    nodes: int = 1
    processes: int = 1
    slurm: bool = False
    environment: tuple[str, ...] = ()
    launched: bool = True


def start_of(call: Call) -> Start:
    """Where a call's own launcher puts the processes."""
    machines: tuple[str, ...] = ()
    if call.nodes > 1:
        machines = (f'NNODES={call.nodes}', f'NODE_RANK={call.node_rank or "$NODE_RANK"}')
        machines += (f'MASTER_ADDR={call.master_addr or "$MASTER_ADDR"}',)
    if call.master_port:
        machines += (f'PORT={call.master_port}',)
    return Start(call.nodes, call.processes, False, (*call.environment, *machines), call.launched)


def run_command(start: Start, draft: Draft, config: str) -> str:
    """The line that trains, or measures, here."""
    evaluated = draft.values.get('eval')
    several = start.nodes * start.processes > 1 or (start.launched and not evaluated)
    before = ' '.join(start.environment) + ' ' if start.environment else ''
    name = shlex.quote(config)
    if evaluated:
        weights = shlex.quote(draft.values['resume'])
        line = (
            f'bash tools/dist_test.sh {name} {start.processes} {weights}'
            if several
            else f'python tools/test.py {name} {weights}'
        )
        return before + line
    if start.slurm:
        line = f'python tools/submit.py {name}'
    elif several:
        line = f'bash tools/dist_train.sh {name} {start.processes}'
    else:
        line = f'python tools/train.py {name}'
    return before + ' '.join([line, *(draft.job if start.slurm else []), *draft.words])


def recipe_path(recipe: str) -> Path:
    """The file of a shipped config.

    Raises:
        UsageError: there is none of this name; the nearest ones are told.
    """
    path = ROOT / recipe
    if not path.is_file():
        known = [p.relative_to(ROOT).as_posix() for p in (ROOT / 'configs').rglob('*.py') if '_base_' not in p.parts]
        near = did_you_mean(recipe, known).split(' Known:')[0]
        raise UsageError(f'{recipe} is no config of this repository.{near} All of them lie in configs/.')
    return path


def translate_program(program: Program, call: Call, out: str | os.PathLike | None = None) -> Translation:
    """Translate the call of a program that trains or measures.

    Args:
        program: whose call it is.
        call: the command, split.
        out: the file that the config will be written to; its `_base_` is told from there.

    Raises:
        UsageError: an unknown flag, or a value that has no counterpart here.
        ConfigError: what comes out is no config; told as for any other config.
    """
    given = parse(program.flags, call.words, program.positional)
    values = {f.name: f.default for f in program.flags} | given
    if program.check is not None:
        program.check(values)
    start = program.describe(values, call) if program.describe is not None else start_of(call)
    recipe = program.recipe(values)
    shipped = load(recipe_path(recipe)).cfg
    draft = Draft(copy.deepcopy(shipped), values, frozenset(given), start.nodes * start.processes)
    rows = [_row(flag, draft) for flag in program.flags]
    base = ROOT / recipe if out is None else Path(os.path.relpath(ROOT / recipe, Path(out).resolve().parent))
    text = f'_base_ = {(recipe if out is None else base.as_posix())!r}\n'
    differs = difference(shipped, draft.cfg)
    text += '\n' + to_text(differs) if differs else ''
    notes = program.notes(values) if program.notes is not None else []
    command = run_command(start, draft, str(out) if out is not None else (CONFIG if differs else recipe))
    return Translation(recipe, text, command, rows, notes)


def _row(flag: Flag, draft: Draft) -> Row:
    """Apply one flag; what changed tells its status."""
    value, given = draft.values[flag.name], flag.name in draft.given
    shown = written(flag, value)
    if flag.only is not None and value not in flag.only:
        known = ', '.join(written(flag, v) for v in flag.only)
        raise UsageError(f'{shown} has no counterpart here: {flag.says} Known: {known}.')
    if flag.apply is None:
        return Row(shown, 'implied' if flag.only is not None else 'not needed', flag.says, given)
    if not given and (flag.left_alone or (flag.trains and draft.values.get('eval'))):
        why = 'nothing is trained.' if draft.values.get('eval') else "left out: the recipe's own value stands."
        return Row(shown, 'not needed', why, given)
    before, words = copy.deepcopy(draft.cfg), (list(draft.words), list(draft.job))
    told = flag.apply(draft, value)
    if isinstance(told, NotNeeded):
        return Row(shown, 'not needed', str(told), given)
    became = [told] if isinstance(told, str) else changes(before, draft.cfg)
    more = draft.words[len(words[0]) :] or draft.job[len(words[1]) :]
    became += [' '.join(more)] if more else []
    return Row(shown, 'taken' if became else 'implied', '; '.join(became) if became else flag.says, given)
