"""Which checkpoints belong to a run: what was written after what. Recorded, not guessed from names and times of files.

Every start of a run is a session with a random name, and every save has a number that only grows within a work dir. A checkpoint
carries its line of descent, `meta.branch`: `[[session, number of its last save that counts], ...]`, oldest first, ending with itself. So
of any two files it can be told whether one was trained on from the other. Beside them, `checkpoints.json` records the line that the run
in the work dir follows. It may be lost or stale: the files alone lead to the same answer, unless two lines lie in one folder.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...errors import CheckpointError
from ...weights.read import read_checkpoint

logger = logging.getLogger('selfsup')

RECORD = 'checkpoints.json'
TIME = '%Y-%m-%d %H:%M:%S'  # `meta.time`
NAME = re.compile(r'(epoch|iter)_(\d+)\.pth$')
Line = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Saved:
    """A checkpoint of a run.

    Args:
        path: the file.
        line: its line of descent, (session, save) pairs; the last pair is the file itself. A checkpoint written before there were
            lines counts as save number `iteration` of the session ''.
        iteration: iterations finished.
        time: of the save, in seconds since 1970; None where the file does not say.
    """

    path: Path
    line: Line
    iteration: int
    time: float | None = None

    @property
    def number(self) -> int:
        """Number of the save; 0 for a file from before there were numbers."""
        session, save = self.line[-1]
        return save if session else 0

    @property
    def kind(self) -> str:
        """'epoch' or 'iter'."""
        return self.path.name.split('_')[0]

    def is_before(self, line: Line) -> bool:
        """True where `line` was trained on from this file, or is its own."""
        return passes(line, self.line[-1])

    def is_after(self, line: Line) -> bool:
        """True where this file was trained on from the end of `line`, or is it."""
        return passes(self.line, line[-1])


def passes(line: Line, point: tuple[str, int]) -> bool:
    """True where a line goes through a save, given as (session, save): it holds that save or a later one of its session."""
    session, save = point
    return any(name == session and last >= save for name, last in line)


def in_order(files: Iterable[Saved]) -> list[Saved]:
    """Oldest first: by the number of the save; those from before there were numbers come first, by iteration."""
    return sorted(files, key=lambda file: (file.number, file.iteration))


def peek(path: str | os.PathLike) -> tuple[Saved | None, dict]:
    """What a file says of itself, without reading its tensors. Its check sums are not compared.

    Returns:
        the checkpoint (None where the file holds weights without a training state) and its `meta`.

    Raises:
        CheckpointError: the file cannot be read.
    """
    try:
        content = torch.load(path, map_location='cpu', weights_only=True, mmap=True)
    except Exception:  # the many ways a file can be damaged; also a form that cannot be mapped
        content = read_checkpoint(path)  # says what is wrong
    meta = content.get('meta') if isinstance(content, dict) else None
    if (
        not isinstance(meta, dict)
        or not isinstance(meta.get('iter'), int)
        or not {'state_dict', 'optimizer'} <= set(content)
    ):
        return None, meta if isinstance(meta, dict) else {}
    line = line_of(meta.get('branch')) or (('', meta['iter']),)
    return Saved(Path(path), line, meta['iter'], _time_of(meta)), meta


def _time_of(meta: dict) -> float | None:
    """When a checkpoint was saved, in seconds since 1970. Those from before that was stored have the local time as a text."""
    moment = meta.get('saved_at')
    if isinstance(moment, int | float):
        return float(moment)
    try:
        return time.mktime(time.strptime(str(meta.get('time')), TIME))
    except (ValueError, OverflowError):
        return None


@dataclass(frozen=True)
class Survey:
    """The `epoch_N.pth` and `iter_N.pth` of a folder.

    Args:
        runs: checkpoints of a run, oldest first.
        bare: files of weights alone: nobody's checkpoints, whatever their name.
        broken: files that cannot be read, with the reason.
    """

    runs: list[Saved]
    bare: list[Path]
    broken: dict[Path, str]


def survey(folders: Iterable[str | os.PathLike | None], record: Record | None) -> Survey:
    """Look at every file of `folders` that has the name of a checkpoint, and at recorded ones elsewhere.

    Args:
        folders: None and folders that are not there hold nothing.
        record: what `checkpoints.json` says.
    """
    runs, bare, broken = [], [], {}
    paths = {p for folder in folders if folder for p in Path(folder).glob('*.pth') if NAME.match(p.name)}
    for path in sorted(p for p in {*paths, *(f.path for f in (record.files if record else ()))} if p.is_file()):
        try:
            saved, _ = peek(path)
        except CheckpointError as error:
            broken[path] = str(error)
            continue
        if saved:
            runs.append(saved)
        else:
            bare.append(path)
    return Survey(in_order(runs), bare, broken)


@dataclass(frozen=True)
class Record:
    """What `checkpoints.json` says: the line that the work dir follows, and its files, oldest first."""

    line: Line
    files: list[Saved]


def read_record(work_dir: str | os.PathLike) -> Record | None:
    """The record of a work dir; None where there is none, or where it is damaged, which is said."""
    path = Path(work_dir) / RECORD
    try:
        content = json.loads(path.read_text())
        if content.pop('sha256') != digest_of(content):
            raise ValueError
        files = [
            Saved(path.parent / f['file'], ((f['session'], f['save']),), f['iter'], f.get('time'))
            for f in content['files']
        ]
        return Record(line_of(content['branch']) or (), files)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        logger.warning(
            f'{path} cannot be read or was changed by hand: the checkpoints themselves say which one is the newest.'
        )
        return None


def line_of(value: Any) -> Line | None:
    """A line of descent from a checkpoint or a record; None where there is none."""
    if not isinstance(value, list) or not value:
        return None
    good = all(
        isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], int)
        for pair in value
    )
    return tuple((session, save) for session, save in value) if good else None


def digest_of(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
