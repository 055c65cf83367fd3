"""Where a run begins: what rank 0 decides for all, before anything is built."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from .. import distributed as dist
from ..errors import CheckpointError, ConfigError, SelfSupError
from ..files import remove_leftovers
from ..weights.read import read_checkpoint
from .resume.branch import emergency_folder, peek
from .resume.checkpoint import check_writable, hold_work_dir, newest_loadable, prepare_work_dir
from .resume.state_checks import read_meta


def on_main(act: Callable[[], Any]) -> Any:
    """Call `act` on rank 0 alone and give every rank its result or its error. Also a barrier.

    Raises:
        SelfSupError: what `act` raised.
    """
    result = error = None
    if dist.is_main():
        try:
            result = act()
        except SelfSupError as problem:
            error = problem
    result, error = dist.broadcast_object((result, error))
    if error is not None:
        raise error
    return result


def decide_start(
    compiled: dict, *, auto_resume: bool, start_over: bool, emergency_dir: str | None, held: contextlib.ExitStack
) -> tuple[str | None, int]:
    """Look at the work dir; called on rank 0.

    Args:
        compiled: with `work_dir`, and `resume_from` and `seed` as the user gave them.
        auto_resume: continue the line that the work dir follows.
        start_over: move the checkpoints of an earlier run to a subfolder.
        emergency_dir: where checkpoints go that the work dir does not take.
        held: gets the work dir.

    Returns:
        the checkpoint to go on from, or None, and the seed: that of the checkpoint where the user gave none.

    Raises:
        SelfSupError: the work dir, the checkpoint, the seed or the emergency folder cannot be used.
    """
    work_dir, resume_from, seed = compiled['work_dir'], compiled.get('resume_from'), compiled.get('seed')
    held.enter_context(hold_work_dir(work_dir))
    if emergency_dir:
        _prepare_emergency(work_dir, emergency_dir)
    if auto_resume and not resume_from:
        newest = newest_loadable(work_dir, emergency_dir)
        resume_from = str(newest) if newest else None
    elif resume_from:
        read_checkpoint(resume_from)  # a damaged one is refused before anything is built
    prepare_work_dir(work_dir, resuming=bool(resume_from), start_over=start_over)
    if resume_from and seed is None:
        seed = read_meta({'meta': peek(resume_from)[1]}, resume_from).get('fingerprint', {}).get('seed')
    seed = 0 if seed is None else seed
    if not 0 <= seed < 2**32:
        raise ConfigError(f'seed={seed} must lie between 0 and 2**32 - 1, which is what numpy takes.')
    return resume_from, seed


def _prepare_emergency(work_dir: str, emergency_dir: str) -> None:
    folder = emergency_folder(work_dir, emergency_dir)
    try:
        check_writable(folder)
        remove_leftovers(folder)
    except OSError as error:
        raise CheckpointError(
            f'--emergency_dir {emergency_dir} cannot be used: {error.strerror}. Choose another folder.'
        ) from None
