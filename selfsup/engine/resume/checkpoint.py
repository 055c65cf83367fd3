"""Find, protect and read the checkpoints of a run."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

from ...errors import CheckpointError
from ...files import only_process, remove_leftovers
from ...weights.read import read_checkpoint
from .branch import emergency_folder, set_aside
from .lineage import RECORD, Record, Saved, Survey, read_record, survey

logger = logging.getLogger('selfsup')


def newest_loadable(work_dir: str | Path, emergency_dir: str | Path | None = None) -> Path | None:
    """The newest checkpoint that can be read of the line that `work_dir` follows; None where there is none at all.

    What it follows is said by `checkpoints.json`, and by the files alone where that is missing or speaks of others. Files that are damaged,
    of another line, or bare weights are passed over, which is said.

    Raises:
        CheckpointError: there are checkpoints, and none can be read.
    """
    record = read_record(work_dir)
    files = survey((work_dir, emergency_folder(work_dir, emergency_dir)), record)
    _say_bare(files.bare)
    for reason in files.broken.values():
        logger.warning(f'Passed over: {reason}')
    problems = list(files.broken.values())
    for file in reversed(_followed(record, files, Path(work_dir))):
        try:
            read_checkpoint(file.path)  # the whole file, with its check sums
            return file.path
        except CheckpointError as error:
            problems.append(str(error))
            logger.warning(f'Passed over: {problems[-1]}')
    if problems:
        raise CheckpointError(
            f'None of the {len(problems)} checkpoints in {work_dir} can be read: {problems[0]} '
            'Move them away to start over.'
        )
    return None


def _followed(record: Record | None, files: Survey, work_dir: Path) -> list[Saved]:
    """Checkpoints that lie on the recorded line or go on from it, oldest first; all where the record does not speak of this folder."""
    runs = files.runs
    if record is None or not record.line or not runs:
        return runs
    mine = [file for file in runs if file.is_before(record.line) or file.is_after(record.line)]
    if not mine and not {file.path for file in record.files} & set(files.broken):
        logger.warning(
            f'{work_dir / RECORD} speaks of other checkpoints than those in {work_dir}: the newest of these counts.'
        )
        return runs
    others = [file.path.name for file in runs if file not in mine]
    if others:
        logger.warning(f'Passed over, as the run in {work_dir} does not follow them: {", ".join(others)}.')
    return mine


def _say_bare(paths: list[Path]) -> None:
    for path in paths:
        logger.warning(
            f'Passed over: {path} holds weights but no training state (optimizer, iteration): no checkpoint of a run, '
            'whatever its name. It stays where it is.'
        )


def hold_work_dir(work_dir: str | Path) -> AbstractContextManager[None]:
    """Keep other runs out of `work_dir`: two would remove and replace each other's checkpoints.

    Raises:
        CheckpointError: another process holds it, perhaps one that outlived its launcher.
    """
    with contextlib.suppress(OSError):  # prepare_work_dir says what is wrong
        Path(work_dir).mkdir(parents=True, exist_ok=True)
    return only_process(
        Path(work_dir) / '.running',
        f'{work_dir} is in use: {{owner}} trains there. Wait for it or end it, or choose another --work_dir.',
        CheckpointError,
    )


def check_writable(folder: Path) -> None:
    """Make `folder`; raise an OSError where no file can be made in it: that shows now, not at the first checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def prepare_work_dir(work_dir: str | Path, *, resuming: bool, start_over: bool) -> None:
    """Refuse to mix a new run with an old one; remove what a killed save left behind.

    Args:
        work_dir: created where it does not exist.
        resuming: this run continues one.
        start_over: move the old run's checkpoints to `previous_<time>/` and begin anew.

    Raises:
        CheckpointError: a new run was asked for and the folder holds checkpoints, or the folder cannot be written.
    """
    folder = Path(work_dir)
    try:
        check_writable(folder)
        remove_leftovers(folder)
    except OSError as error:
        raise CheckpointError(
            f'{folder} cannot be used as work dir: {error.strerror}. Choose another --work_dir.'
        ) from None
    if resuming:
        return
    files = survey((folder,), None)
    _say_bare(files.bare)
    old = [*files.broken, *(file.path for file in files.runs)]
    if not old:
        return
    if not start_over:
        raise CheckpointError(
            f'{folder} holds checkpoints of an earlier run (newest: {old[-1].name}). Continue it with --auto_resume, '
            'choose another --work_dir, or begin anew with --start_over (which keeps the old files in a subfolder).'
        )
    beside = [path for path in (folder / 'latest.pth', folder / RECORD) if path.is_file() or path.is_symlink()]
    set_aside([*old, *beside], 'previous')
