"""Find, protect and read the checkpoints of a run."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path

from ..checkpoint_io import read_checkpoint
from ..errors import CheckpointError
from ..files import only_process, remove_leftovers

logger = logging.getLogger('selfsup')

_NAME = re.compile(r'(epoch|iter)_(\d+)\.pth$')


def list_checkpoints(work_dir: str | Path) -> list[Path]:
    """`epoch_N.pth` and `iter_N.pth` in `work_dir`, oldest first.

    Within one kind by number; between the kinds by the time they were written.
    """
    found = [p for p in Path(work_dir).glob('*.pth') if _NAME.match(p.name)]
    kinds: dict[str, list[Path]] = {}
    for path in found:
        kinds.setdefault(_NAME.match(path.name)[1], []).append(path)
    for paths in kinds.values():
        paths.sort(key=lambda p: int(_NAME.match(p.name)[2]))
    by_age = sorted(kinds.values(), key=lambda paths: paths[-1].stat().st_mtime_ns)
    return [p for paths in by_age for p in paths]


def newest_loadable(work_dir: str | Path) -> Path | None:
    """The newest checkpoint of `work_dir` that can be read; None where there is none at all.

    Raises:
        CheckpointError: there are checkpoints, and none can be read.
    """
    paths = list_checkpoints(work_dir)
    problems = []
    for path in reversed(paths):
        try:
            if 'state_dict' in read_checkpoint(path):
                return path
            problems.append(f'{path.name} holds no state_dict')
        except CheckpointError as error:
            problems.append(str(error))
        logger.warning('Passed over: %s', problems[-1])
    if paths:
        raise CheckpointError(f"None of the {len(paths)} checkpoints in {work_dir} can be read: {problems[0]} "
                              'Move them away to start over.')
    return None


def hold_work_dir(work_dir: str | Path) -> AbstractContextManager[None]:
    """Keep other runs out of `work_dir`: two would remove and replace each other's checkpoints.

    Raises:
        CheckpointError: another process holds it, perhaps one that outlived its launcher.
    """
    with contextlib.suppress(OSError):  # prepare_work_dir says what is wrong
        Path(work_dir).mkdir(parents=True, exist_ok=True)
    return only_process(Path(work_dir) / '.running', f'{work_dir} is in use: {{owner}} trains there. Wait for it or end it, or choose '
                        'another --work_dir.', CheckpointError)


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
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # a folder that cannot be written to shows now, not at the first checkpoint
            pass
        remove_leftovers(folder)
    except OSError as error:
        raise CheckpointError(f'{folder} cannot be used as work dir: {error.strerror}. Choose another --work_dir.') from None
    old = list_checkpoints(folder)
    if resuming or not old:
        return
    if not start_over:
        raise CheckpointError(f'{folder} holds checkpoints of an earlier run (newest: {old[-1].name}). Continue it with --auto_resume, '
                              'choose another --work_dir, or begin anew with --start_over (which keeps the old files in a subfolder).')
    target = folder / time.strftime('previous_%Y%m%d_%H%M%S')
    target.mkdir()
    for path in [*old, folder / 'latest.pth']:
        if path.exists() or path.is_symlink():
            path.rename(target / path.name)


def point_latest(path: Path) -> None:
    """Make `latest.pth` beside `path` a link to it, in one step."""
    link = path.parent / f'.latest.pth.{os.getpid()}.tmp'
    link.unlink(missing_ok=True)
    link.symlink_to(path.name)
    os.replace(link, path.parent / 'latest.pth')
