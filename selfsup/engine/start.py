"""Where a run begins: `train` is called by tools/train.py; rank 0 decides for all what is gone on from, before anything is built."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from .. import distributed as dist
from .. import heartbeat
from ..config import LoadedConfig, RunConfig, names_backend, recorded_backend, with_backend
from ..config.backend import BEFORE
from ..errors import CheckpointError, ConfigError
from ..files import remove_leftovers
from ..weights.read import read_checkpoint
from .logs import messages
from .processes.interruption import Interruption
from .processes.launch import init_distributed, shut_down
from .processes.time_limit import time_limit
from .resume.branch import emergency_folder
from .resume.changes import OPTION
from .resume.checkpoint import check_writable, hold_work_dir, newest_loadable, prepare_work_dir
from .resume.comparison import check_asked
from .resume.lineage import peek
from .resume.settings import short_name
from .resume.state_checks import read_meta
from .runner import Runner

logger = logging.getLogger('selfsup')


def train(
    compiled: dict,
    loaded: LoadedConfig,
    *,
    launcher: str = 'none',
    auto_resume: bool = False,
    start_over: bool = False,
    allow_changed: Sequence[str] = (),
    elastic: bool = False,
    emergency_dir: str | None = None,
    protocol: str | None = None,
    limit: str | None = None,
) -> Runner:
    """Everything tools/train.py does after reading its arguments.

    While it runs, signals that ask it to stop end it at the next safe point, see `processes.interruption`.

    Args:
        compiled: with `work_dir` set; `resume_from`, `seed`, `pretrained`, `deterministic` as the user asked.
        loaded: the config it came from.
        launcher: 'none', 'pytorch' or 'slurm'.
        auto_resume: continue from the newest readable checkpoint of the line that the work dir follows, if there is one.
        start_over: a work dir with checkpoints is allowed; they are moved to a subfolder.
        allow_changed: settings whose new values may count when the run is resumed, see `engine.resume.comparison`.
        elastic: a run that is resumed may have another number of processes, or another batch, see `engine.resume.elastic`.
        emergency_dir: where checkpoints go that cannot be written into the work dir; None: such a run ends.
        protocol: refuse a run that is not what this name says, see `optim.trained.check_protocol`.
        limit: how long the run may take, in one of Slurm's forms.

    Raises:
        SelfSupError: anything the user can mend.
        Interrupted: it was asked to stop; its state is saved.
    """
    config = RunConfig.of({**compiled, 'allow_changed': list(allow_changed), 'elastic': elastic})
    check_asked(allow_changed, resuming=bool(auto_resume or config.resume_from))
    of_the_caller = dist.is_active()
    ends = time_limit(limit, os.environ)
    with contextlib.ExitStack() as held:
        interruption = held.enter_context(Interruption(config.stop_within_s, launcher))
        with interruption.meeting():
            init_distributed(launcher, **config.dist_cfg)
        interruption.heart = heartbeat.current() or held.enter_context(heartbeat.beating(heartbeat.Heart()))
        held.enter_context(messages.restored())
        if not of_the_caller:
            held.callback(shut_down)
        resume_from, seed, backend = dist.on_main(
            lambda: decide_start(
                config, auto_resume=auto_resume, start_over=start_over, emergency_dir=emergency_dir, held=held
            )
        )
        free = not names_backend(loaded.cfg) and 'pipeline_backend' not in {
            short_name(name, []) for name in allow_changed
        }
        earlier = backend if free and backend != config.pipeline_backend else None
        if earlier:
            config = RunConfig.of(with_backend(config.compiled, earlier))
        runner = Runner(
            config.changed(resume_from=resume_from, seed=seed).compiled,
            loaded,
            launcher,
            emergency_dir,
            interruption,
            ends,
        )
        if earlier:
            runner.logger.info(
                f"{resume_from} was written before there was a choice of pipeline_backend: the run goes on with '{earlier}', as it began. "
                f"pipeline_backend='{earlier}' in the config says the same; {OPTION} pipeline_backend goes on with the fast one."
            )
        runner.say_what_is_trained(protocol)
        runner.train()
        return runner


def decide_start(
    config: RunConfig, *, auto_resume: bool, start_over: bool, emergency_dir: str | None, held: contextlib.ExitStack
) -> tuple[str | None, int, str | None]:
    """Look at the work dir; called on rank 0.

    Args:
        config: `work_dir`, and `resume_from` and `seed` as the user gave them.
        auto_resume: continue the line that the work dir follows.
        start_over: move the checkpoints of an earlier run to a subfolder.
        emergency_dir: where checkpoints go that the work dir does not take.
        held: gets the work dir.

    Returns:
        the checkpoint to go on from, or None; the seed: that of the checkpoint where the user gave none; and the backend of pipelines
        that the run began with, where the checkpoint was written before there was a choice.

    Raises:
        SelfSupError: the work dir, the checkpoint, the seed or the emergency folder cannot be used.
    """
    work_dir, resume_from, seed = config.work_dir, config.resume_from, config.seed
    held.enter_context(hold_work_dir(work_dir))
    emergency = emergency_folder(work_dir, emergency_dir)
    if emergency is not None:
        _prepare_emergency(emergency)
    restarted = restarted_by(os.environ)
    if restarted or (auto_resume and not resume_from):
        newest = newest_loadable(work_dir, emergency_dir)
        if restarted:
            otherwise = f'from {resume_from}' if resume_from else 'from the start'
            ignored = '--start_over' if start_over else f'--resume_from {resume_from}' if resume_from else ''
            unset = f'; to have it count, unset {restarted[1]}' if restarted[1].startswith('SLURM') else ''
            again = f' {ignored} was for the first start{unset}.' if ignored else ''
            logger.warning(
                f'{restarted[0]}: the run goes on from {newest}.{again}'
                if newest
                else f'{restarted[0]}, and {work_dir} holds no checkpoint yet: the run begins {otherwise}.'
            )
        resume_from = str(newest) if newest else resume_from
    elif resume_from:
        read_checkpoint(resume_from)  # a damaged one is refused before anything is built
    prepare_work_dir(work_dir, resuming=bool(resume_from), start_over=start_over)
    backend = None
    if resume_from:
        meta = read_meta({'meta': peek(resume_from)[1]}, resume_from)
        seed = meta.get('fingerprint', {}).get('seed') if seed is None else seed
        backend = BEFORE if 'iter' in meta and recorded_backend(meta) is None else None
    seed = 0 if seed is None else seed
    if not 0 <= seed < 2**32:
        raise ConfigError(f'seed={seed} must lie between 0 and 2**32 - 1, which is what numpy takes.')
    return resume_from, seed, backend


def restarted_by(env: Mapping[str, str]) -> tuple[str, str] | None:
    """Who started this process again after an earlier start ended, in words, and the variable that says so; None: this is the first start.

    The command line is that of the first start then: what it says of a checkpoint to begin from, or of beginning anew, has been done.
    """
    for variable, who in (('TORCHELASTIC_RESTART_COUNT', 'torchrun'), ('SLURM_RESTART_COUNT', 'Slurm')):
        count = env.get(variable, '')
        if count.isdecimal() and int(count) > 0:
            return f'{who} started this run again ({variable}={count})', variable
    return None


def _prepare_emergency(folder: Path) -> None:
    try:
        check_writable(folder)
        remove_leftovers(folder)
    except OSError as error:
        raise CheckpointError(
            f'--emergency_dir {folder.parent} cannot be used: {error.strerror}. Choose another folder.'
        ) from None
