"""Where a run may stop: the same place for all its processes, and one that a resumed run goes on from exactly."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from .. import distributed as dist
from ..errors import TRY_AGAIN, Interrupted, TrainingError
from .processes.agreement import FAILED, SAVE, STOP, Agreement
from .processes.interruption import Asked, EvaluationGivenUp, Interruption
from .processes.time_limit import TimeLimit
from .run import Run

COMMAND = 'SELFSUP_COMMAND'  # set by tools/launch.sh: the command as it was typed, after the variables that it reads


class SafePoints:
    """Decides at every safe point whether the run goes on, and ends it where it does not.

    Safe points are: the end of every accumulation window; an epoch's end, after its hooks; and each batch of an evaluation between
    epochs, which is then given up and done again by the resumed run.

    Args:
        run: the training.
        interruption: whether it was asked to stop.
        limit: when its time is over; None: never.
    """

    def __init__(self, run: Run, interruption: Interruption, limit: TimeLimit | None = None) -> None:
        self.run, self.interruption, self.limit = run, interruption, limit
        self._agreement = Agreement()
        self._kept = 0  # agreed in an evaluation, done after it
        self._last: float | None = None  # when the last window ended, if there was nothing but iterations since
        interruption.newest_checkpoint = lambda: run.checkpoints.newest(patience_s=0)  # does not wait

    def ask(self, bits: int) -> None:
        """See `Agreement.ask`."""
        self._agreement.ask(bits)

    def begin(self) -> None:
        """Before the first iteration: a signal may have come while everything was built.

        Raises:
            Interrupted: the run was asked to stop.
            TrainingError: its time is over; "start me again" would bring a job to this point for ever.
        """
        dist.on_main(self._check_time)
        if self._vote(at_once=True) & STOP:
            self.stop()

    def after_window(self) -> None:
        """No gradient is pending, no hook half done.

        Raises:
            Interrupted: the run was asked to stop; its state is saved.
            SelfSupError: a checkpoint could not be written.
        """
        self._measure_window()
        agreed, self._kept = self._vote() | self._kept, 0
        if agreed & FAILED:
            self.run.checkpoints.wait()  # raises it on all ranks
        if self.run.train_loop.stop_training:  # it ends here anyway
            return
        if agreed & SAVE:
            self.run.call_hook('save_is_due')
        if agreed & STOP:
            self.stop()

    def in_evaluation(self) -> None:
        """Between two batches, where all ranks go through equally many.

        Raises:
            EvaluationGivenUp: the run was asked to stop; who catches it calls `stop`.
        """
        if self.run.train_loop.stop_training:
            return
        agreed = self._vote()
        self._kept |= agreed & ~STOP
        if agreed & STOP:
            raise EvaluationGivenUp

    def end(self) -> None:
        """After the last safe point of a run that was not stopped."""
        self._agreement.close()
        if self._kept & FAILED:
            self.run.checkpoints.wait()  # raises it on all ranks

    def _check_time(self) -> None:
        again = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0') != '0'  # within the time of the first start
        if self.limit is not None and not again and self.limit.is_near():
            raise TrainingError(
                f'The time is nearly over before training begins ({self.limit.reason}): the next start would fare no better. '
                'Give it more time; what was saved before stays.'
            )

    def _measure_window(self) -> None:
        """Tell the limit how long a window takes. The first of a start takes longer than any other, as what follows an epoch does."""
        now = time.monotonic()
        if self._last is not None and self.limit is not None:
            self.limit.window(now - self._last)
        self._last = now if self.run.iter % self.run.train_loop.iters_per_epoch else None

    def _vote(self, at_once: bool = False) -> int:
        if self.limit is not None and dist.is_main() and self.limit.is_near():
            self.interruption.ask(self.limit.reason)
        if self.interruption.asked is not None:
            self._agreement.ask(STOP)
        return self._agreement.now() if at_once else self._agreement.at_safe_point()

    def stop(self) -> NoReturn:
        """Save what is not saved, say so, and end the run. All ranks call.

        Raises:
            Interrupted: always.
        """
        run = self.run
        asked = [(rank, *one) for rank, one in enumerate(dist.gather_objects(self._asked_since())) if one is not None]
        if not asked:  # a hook did, by `Run.ask`
            asked = [(rank, 'a hook', TRY_AGAIN, 0.0) for rank in range(dist.world_size())]
        rank, reason, status, seconds = asked[0]
        reached = time.monotonic()
        self.interruption.ask(reason, status)  # on the ranks that were not
        self.interruption.at_safe_point()
        path = run.save_position()
        self._agreement.close()
        dist.barrier()  # so that all leave at the same time
        took = seconds + time.monotonic() - reached
        by = reason if len(asked) == dist.world_size() else f'{reason} (to rank {rank})'
        if path is None:
            what = 'Nothing was trained yet, so there is nothing to save; the same command starts again'
        else:
            what = f'{path} holds all of it up to iteration {run.iter}, {took:.1f} s later. To go on: {how_to_go_on(path, run.work_dir)}'
        raise Interrupted(f'Stopped by {by}. {what}', status, told=not dist.is_main())

    def _asked_since(self) -> tuple[str, int, float] | None:
        asked: Asked | None = self.interruption.asked
        return asked and (asked.reason, asked.status, time.monotonic() - asked.at)


def how_to_go_on(
    path: Path, work_dir: str, argv: Sequence[str] | None = None, env: Mapping[str, str] | None = None
) -> str:
    """The command that goes on from a checkpoint.

    Args:
        path: the checkpoint.
        work_dir: of the run; a checkpoint that lies elsewhere was the start of this run, and is so again.
        argv: of this process; None: `sys.argv`.
        env: its environment; None: `os.environ`.
    """
    argv, env = sys.argv if argv is None else argv, os.environ if env is None else env
    words = shlex.split(env[COMMAND]) if env.get(COMMAND) else ['python', *argv]
    if not env.get(COMMAND) and not str(argv[0]).endswith('.py'):
        return f'train again with auto_resume=True, which finds {path.name}'
    if path.parent.absolute() != Path(work_dir).absolute() and _without(words, {'--resume_from': 1}) != words:
        return _join(words)
    return _join([*_without(words, {'--resume_from': 1, '--start_over': 0, '--auto_resume': 0}), '--auto_resume'])


def _join(words: Sequence[str]) -> str:
    """One line for a shell, which takes `NAME=value` before the command for a variable unless the name is quoted too."""
    variables = 0
    while variables < len(words) and words[variables].partition('=')[0].isidentifier() and '=' in words[variables]:
        variables += 1
    pairs = (word.partition('=') for word in words[:variables])
    return ' '.join([*(f'{name}={shlex.quote(value)}' for name, _, value in pairs), shlex.join(words[variables:])])


def _without(words: Sequence[str], options: Mapping[str, int]) -> list[str]:
    """Words of a command without some options, which may be cut short as argparse allows, and the values that follow them."""
    kept, skip = [], 0
    for word in words:
        name, given, _ = word.partition('=')
        meant = [option for option in options if len(name) > 2 and option.startswith(name)]
        if skip:
            skip -= 1
        elif meant:
            skip = 0 if given else options[meant[0]]
        else:
            kept.append(word)
    return kept
