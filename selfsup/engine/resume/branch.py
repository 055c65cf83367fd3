"""The line of checkpoints that a run writes, see `lineage.py`: what is stored, recorded, set aside and removed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ...errors import CheckpointError
from ...files import write_atomic
from ...weights.read import read_checkpoint
from ...weights.write import write_checkpoint_atomic
from .lineage import RECORD, Line, Record, Saved, digest_of, in_order, passes, peek, read_record, survey

logger = logging.getLogger('selfsup')

Save = Callable[[Any, BinaryIO], object]


def set_aside(paths: Iterable[Path], label: str = 'aside') -> Path | None:
    """Move files into a new subfolder `{label}_{time}` of their folder; that folder, or None where there was nothing to move.

    Raises:
        CheckpointError: they could not be moved.
    """
    target = None
    try:
        for path in paths:
            if target is None:
                target = _new_folder(path.parent, time.strftime(f'{label}_%Y%m%d_%H%M%S'))
            path.rename(target / path.name)
    except OSError as error:
        raise CheckpointError(
            f'{path} is in the way and could not be moved to a subfolder: {error.strerror}. Free some space, or choose '
            'another --work_dir.'
        ) from None
    return target


class Branch:
    """The line of checkpoints that this run writes into its work dir. Only the process of rank 0 writes and moves files.

    Args:
        work_dir: where checkpoints go.
        emergency_dir: where they go when that fails; None: nowhere.
    """

    def __init__(self, work_dir: str | os.PathLike, emergency_dir: str | os.PathLike | None = None) -> None:
        self.work_dir = Path(work_dir)
        self.emergency = emergency_folder(work_dir, emergency_dir)
        self._base: Line = ()
        self._session = uuid.uuid4().hex[:12]
        self._number = 0  # of the latest save in this work dir, of whatever line
        self._handed_out = 0  # number of the latest save that was begun; it may not be written yet
        self._files: list[Saved] = []
        self._told: set[str] = set()

    def next_number(self) -> int:
        """A number for a save that begins: one more than the last one, whether that is written by now or not."""
        self._handed_out = max(self._handed_out, self._number) + 1
        return self._handed_out

    def line(self, number: int) -> list[list]:
        """`meta.branch` of a checkpoint.

        Args:
            number: of its save.
        """
        return [list(pair) for pair in (*self._base, (self._session, number))]

    def begin(self, resumed: str | os.PathLike | None, iteration: int = 0) -> None:
        """Start a line. Files of other lines in the work dir are set aside, by name.

        Args:
            resumed: the checkpoint that the run goes on from, loaded by now; None: a new line.
            iteration: iterations that it had finished.

        Raises:
            CheckpointError: files of another line could not be set aside, or not be recorded as such.
        """
        record = read_record(self.work_dir)
        recorded = record.files if record else []
        folder_content = survey((self.work_dir, self.emergency), record)
        self._number = max((file.number for file in [*folder_content.runs, *recorded]), default=0)
        others: list[Path] = []
        if resumed is not None:
            start = peek(resumed)[0] or Saved(Path(resumed), (('', iteration),), iteration)
            self._base = start.line
            self._number = max(self._number, start.number)
            before = [file for file in folder_content.runs if file.is_before(start.line)]
            self._files = before if any(_same(file.path, start.path) for file in before) else in_order([*before, start])
            damaged = {file.path for file in recorded if not file.is_before(start.line)} & set(folder_content.broken)
            others = [
                path
                for path in sorted({file.path for file in folder_content.runs if file not in before} | damaged)
                if path.parent == self.work_dir and not _same(path, start.path)
            ]
        self._write_record(must=bool(others) or (record is not None and not self._continues(record)))
        folder = set_aside(others)
        if folder:
            logger.warning(
                f'Set aside in {folder}, as {resumed} was not trained on from them: {", ".join(p.name for p in others)}.'
            )
        if resumed is not None:
            self._link()

    def write(
        self,
        checkpoint: dict,
        name: str,
        number: int,
        *,
        keep: int = -1,
        keep_every_hours: float | None = None,
        verify: bool = False,
        save: Save | None = None,
    ) -> Path:
        """Store `checkpoint`, whose `meta.branch` is `line(number)`, in the work dir, or else in the emergency folder. Older files go after
        that.

        Args:
            checkpoint: what to store.
            name: file name. A file of that name that this line did not write is set aside first.
            number: of the save, from `next_number`; they are written in order.
            keep: how many of the line's files of this kind stay in their folder, the newest; -1: all.
            keep_every_hours: of those that are older, one per that many hours stays too, > 0; None: none.
            verify: read the file back.
            save: writes the checkpoint into an open file; None: `torch.save`.

        Returns:
            the file.

        Raises:
            CheckpointError: it could be written nowhere; older checkpoints are as they were.
        """
        path = self.work_dir / name
        try:
            self._store(checkpoint, path, save)
        except CheckpointError as problem:
            if self.emergency is None:
                raise
            path = self.emergency / name
            try:
                self._store(checkpoint, path, save)
            except CheckpointError as second:
                raise CheckpointError(f'{problem} Nor in the emergency folder: {second}') from None
            logger.warning(
                f'{problem} Saved in {path} instead; the run goes on. --auto_resume with the same --emergency_dir finds it.'
            )
        if verify:
            read_checkpoint(path)  # a hook may have added something that could not be read back
        self._number = number
        meta = checkpoint['meta']
        written = Saved(path, (*self._base, (self._session, number)), meta['iter'], meta.get('saved_at'))
        self._files = [file for file in self._files if file.path != path] + [written]
        old = [f for f in self._files if f.kind == written.kind and f.path.parent == path.parent and f.number > 0]
        old = old[:-keep] if keep > 0 else []
        if keep_every_hours is not None:
            spread = spread_out(old, 3600 * keep_every_hours)
            old = [file for file in old if file not in spread]
        self._files = [file for file in self._files if file not in old]
        self._write_record()
        if path.parent == self.work_dir:
            self._link()
        for file in old:
            _remove(file)
        return path

    def _store(self, checkpoint: dict, path: Path, save: Save | None) -> None:
        if path.exists() and not any(file.path == path for file in self._files):
            folder = set_aside([path])
            logger.warning(f'{path.name} was not written by this run and stood where it writes: moved to {folder}.')
        write_checkpoint_atomic(checkpoint, path, save)

    def _continues(self, record: Record) -> bool:
        """True where files alone would lead from the recorded line to what this run is about to write."""
        return bool(record.line) and passes(self._base, record.line[-1])

    def _write_record(self, must: bool = False) -> None:
        """Renew `checkpoints.json`. The checkpoints can be found without it, so that a failure is said once; `must`: raised."""
        line = (*self._base, (self._session, self._number))
        files = [
            {
                'file': _name_in(file.path, self.work_dir),
                'session': file.line[-1][0],
                'save': file.line[-1][1],
                'iter': file.iteration,
                'time': file.time,
            }
            for file in self._files
        ]
        content = {'branch': line, 'files': files}
        text = json.dumps({**content, 'sha256': digest_of(content)}, indent=1) + '\n'
        try:
            write_atomic(self.work_dir / RECORD, lambda file: file.write(text.encode()), CheckpointError)
        except CheckpointError as error:
            if must:
                raise
            self._tell(
                f'{error} The run goes on: --auto_resume finds the newest checkpoint without this list.', 'record'
            )

    def _link(self) -> None:
        """Let `latest.pth` point at the newest file in the work dir; where that fails it is removed, said once, rather than wrong."""
        here = [file.path for file in self._files if file.path.parent == self.work_dir]
        link = self.work_dir / 'latest.pth'
        try:
            if here:
                point_latest(here[-1])
            elif link.is_symlink():
                link.unlink()
        except OSError as error:
            with contextlib.suppress(OSError):
                if link.is_symlink():
                    link.unlink()
            self._tell(
                f'{link} could not be made a link to {here[-1].name if here else "nothing"}: {error.strerror}. Checkpoints are '
                'saved all the same, and --auto_resume does not need it.',
                'link',
            )

    def _tell(self, message: str, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            logger.warning(message)


def spread_out(files: Sequence[Saved], seconds: float) -> list[Saved]:
    """The first of `files`, and each that was saved at least `seconds` after the one before it that is in the result.

    What is left out never comes back, so the answer for files to which newer ones are added is this one and some of those. A clock that was
    set back does not count as no time at all.

    Args:
        files: oldest first. One that does not say when it was saved is left out.
        seconds: > 0.
    """
    chosen: list[Saved] = []
    last: float | None = None
    for file in files:
        if file.time is not None and (last is None or abs(file.time - last) >= seconds):
            chosen.append(file)
            last = file.time
    return chosen


def emergency_folder(work_dir: str | os.PathLike, emergency_dir: str | os.PathLike | None) -> Path | None:
    """The subfolder of `emergency_dir` that belongs to one work dir: several runs may share an emergency folder."""
    if not emergency_dir:
        return None
    work_dir = Path(work_dir).absolute()
    return Path(emergency_dir).absolute() / f'{work_dir.name}-{hashlib.sha256(str(work_dir).encode()).hexdigest()[:8]}'


def point_latest(path: Path) -> None:
    """Make `latest.pth` beside `path` a link to it, in one step.

    Raises:
        OSError: it cannot be linked; what was there is unchanged.
    """
    link = path.parent / f'.latest.pth.{os.getpid()}.tmp'
    try:
        link.unlink(missing_ok=True)
        link.symlink_to(path.name)
        os.replace(link, path.parent / 'latest.pth')
    finally:
        link.unlink(missing_ok=True)


def _remove(file: Saved) -> None:
    """Remove a file that this line wrote; one that something else has put in its place stays."""
    with contextlib.suppress(OSError, CheckpointError):
        in_its_place, _ = peek(file.path)
        if in_its_place and in_its_place.line[-1] == file.line[-1]:
            file.path.unlink()


def _name_in(path: Path, folder: Path) -> str:
    """Relative where the file lies in the folder, so that a copied or moved work dir stays whole."""
    path, folder = path.absolute(), folder.absolute()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _same(one: Path, other: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samefile(one, other)
    return False


def _new_folder(parent: Path, name: str) -> Path:
    """A folder that was not there before: `name`, or `name_2`, ..."""
    for number in range(1, 1000):
        folder = parent / (name if number == 1 else f'{name}_{number}')
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise FileExistsError(17, 'File exists', str(parent / name))
