"""Read the documentation: its pages, their fenced blocks, the commands in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = tuple(sorted([ROOT / 'README.md', *(ROOT / 'docs').rglob('*.md')]))


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        language: the word after the fence; '' without one.
        text: what is inside.
        line: number of the line of the opening fence, from 1.
    """

    language: str
    text: str
    line: int


def blocks(page: Path, language: str) -> list[Block]:
    """Fenced blocks of a language, in order."""
    found, opened = [], None
    lines = page.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        if not line.startswith('```'):
            continue
        if opened is None:
            opened = (line[3:].strip(), number)
            continue
        found.append(Block(opened[0], '\n'.join(lines[opened[1] : number - 1]) + '\n', opened[1]))
        opened = None
    assert opened is None, f'{page.name}:{opened} opens a block that is not closed'
    return [block for block in found if block.language == language]


def files(page: Path) -> dict[str, str]:
    """Python blocks that begin with a comment that is a file name: name -> text."""
    found = {}
    for block in blocks(page, 'python'):
        name = re.match(r'# (\S+\.py)\n', block.text)
        if name:
            assert name[1] not in found, f'{page.name} has two blocks for {name[1]}'
            found[name[1]] = block.text
    return found


def commands(text: str) -> list[str]:
    """Commands of a shell block: comments dropped, continued lines joined."""
    joined = text.replace('\\\n', ' ')
    lines = (re.sub(r'(^|\s)#\s.*$', '', line).strip() for line in joined.splitlines())
    return [line for line in lines if line]
