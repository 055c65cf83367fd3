"""The tables of docs/coming_from.md: every flag, and what it is here."""

from __future__ import annotations

from pathlib import Path

from . import detectron2, openselfsup
from .flags import Flag, written
from .programs import PROGRAMS

BEGIN, END = '<!-- tables: made by selfsup/foreign/page.py -->', '<!-- end of tables -->'


def tables() -> str:
    """Markdown: one table per code base's script; scripts with the same flags and a few more name the others' table."""
    parts = []
    for program in PROGRAMS:
        parts.append(_table(program.title, program.flags))
    shared = ', '.join(f'`{script.path}`' for script in openselfsup.SCRIPTS)
    parts.append(
        f'{_table("OpenSelfSup: scripts that train", openselfsup.TRAIN)}\nThe scripts: {shared}. Their words are the same here.\n'
    )
    parts.append(_table('SparK: train_net.py of downstream_d2', detectron2.FLAGS))
    return '\n'.join(parts)


def _table(title: str, flags: tuple[Flag, ...]) -> str:
    lines = [f'### {title}', '', '| flag | without it | here |', '|---|---|---|']
    for flag in flags:
        name = f'`--{flag.name}`' + (f', `-{flag.other}`' if flag.other else '')
        value = written(flag, flag.default).removeprefix(flag.spelled()).strip()
        default = (
            'off' if flag.kind == 'switch' else ('' if flag.default is None or flag.default == '' else f'`{value}`')
        )
        limits = ''
        if flag.only is not None and flag.only != (flag.default,):
            limits = ' Only ' + ', '.join(f'`{v}`' for v in flag.only if v != '') + '.'
        elif flag.only is not None:
            limits = ' Another value is an error.'
        says = flag.says.replace('|', '\\|')
        lines.append(
            f'| {name} | {default.replace("|", chr(92) + "|")} | {says if says.endswith(".") else says + "."}{limits} |'
        )
    return '\n'.join(lines) + '\n'


def rewrite(path: Path) -> None:
    """Put the tables of today into a page, between its two marks."""
    before, _, rest = path.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(f'{before}{BEGIN}\n\n{tables()}\n{END}{after}')
