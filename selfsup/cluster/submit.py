"""A training run as a job of Slurm that goes on by itself, through submitit.

What is sent is a `TrainingJob`, small enough for a login node: nothing heavy is imported here. On the cluster each task runs one command
as a child and hands signals on to it. Where training has saved its state and asks to be started again, the job is requeued.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import TRY_AGAIN, ConfigError, TrainingError
from .slurm import end_of_job, may_requeue

if TYPE_CHECKING:
    import submitit

# A signal that comes before training listens ends it. It had not begun, so it goes on from its newest checkpoint.
UNHEARD = (128 + signal.SIGUSR1, 128 + signal.SIGUSR2)
SHORT_S = 180.0  # of time left; a job that is told earlier is preempted
LAST_LINES = 12  # of a failed run, in the error of its job
REQUEUES = 100  # of one job, after which it ends
PIP = "pip install submitit  (or: pip install -e '.[slurm]')"


class TrainingJob:
    """What submitit runs in every task: training as a child, which is never started over.

    Args:
        command: the words after `python`; `--work_dir` and the work dir are added.
        work_dir: `%j` in it is the number of the job.
        patience_s: how long the child may take to save its state and end, in seconds.
    """

    def __init__(self, command: Sequence[str], work_dir: str, patience_s: float) -> None:
        self.command, self.work_dir, self.patience_s = list(command), work_dir, patience_s
        self._child: subprocess.Popen[str] | None = None

    def __call__(self) -> int:
        """Train to the end; 0.

        Raises:
            TrainingError: training failed; its last lines.
        """
        folder = self.work_dir.replace('%j', os.environ.get('SLURM_JOB_ID', ''))
        command = [sys.executable, '-u', *self.command, '--work_dir', folder]
        self._child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors='replace')
        assert self._child.stderr is not None
        last: deque[str] = deque(maxlen=LAST_LINES)
        reader = threading.Thread(target=_show, args=(self._child.stderr, last), daemon=True)
        reader.start()
        status = _exit_status(self._child.pid)
        reader.join(timeout=5)
        if status in (TRY_AGAIN, *UNHEARD):
            self._be_requeued()
        if status != 0:
            raise TrainingError(f'Training ended with exit status {status}:\n{"".join(last).strip() or "(no message)"}')
        return 0

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Called by submitit in the first task, before the time is over or at a preemption: what is to run after the requeue.

        However training ends now, the job goes on from its newest checkpoint; what is wrong with it shows in its next start.

        Raises:
            TrainingError: the time of the job does not even suffice to begin.
        """
        from submitit.helpers import DelayedSubmission

        if self._child is not None:
            # Slurm signals all processes of a task, so most often this is its second notice, which a run takes for one.
            _send(self._child.pid, signal.SIGUSR2)
            status = _exit_status(self._child.pid, self.patience_s)
            if status in UNHEARD and (end_of_job(os.environ) or math.inf) - time.time() < SHORT_S:
                raise TrainingError(
                    'The time of the job is nearly over before training begins: give it a longer --timeout.'
                )
            if status is None:
                _send(self._child.pid, signal.SIGKILL)
            if status not in (0, TRY_AGAIN):
                how = (
                    f'did not end in {self.patience_s:.0f} s' if status is None else f'ended with exit status {status}'
                )
                print(f'training {how} when it was asked to save its state; its newest checkpoint counts', flush=True)
        return DelayedSubmission(TrainingJob(self.command, self.work_dir, self.patience_s))

    def _be_requeued(self) -> None:
        """Training has stopped and can go on. The first task has the job requeued, which ends all of them; the others wait for that.

        Raises:
            TrainingError: the job was cancelled, or nothing happens.
        """
        if os.environ.get('SLURM_PROCID', '0') == '0':
            if not may_requeue(os.environ):
                raise TrainingError('Training has stopped. The job was cancelled, so it is not requeued.')
            signal.raise_signal(_signal_of_submitit())  # which calls `checkpoint`, requeues and leaves
        time.sleep(self.patience_s + 60)
        raise TrainingError('Training has stopped, but the job was not requeued.')


def submit(
    job: TrainingJob,
    *,
    folder: str,
    nodes: int,
    tasks_per_node: int,
    cpus_per_task: int,
    minutes: int,
    signal_s: int,
    gres: str | None,
    others: Mapping[str, Any],
) -> tuple[str, Path]:
    """Send a job to Slurm.

    Args:
        folder: of the logs of its tasks, absolute; `%j` in it is the number of the job.
        nodes, tasks_per_node, cpus_per_task: how many, 1 or more.
        minutes: the time limit of one start.
        signal_s: how many seconds before it the job is told.
        gres: what a node must have, such as 'gpu:8'; None: nothing.
        others: of `sbatch`, such as partition, comment, account.

    Returns:
        The number of the job, and the log of its first task.

    Raises:
        ConfigError: submitit or Slurm is missing, or Slurm refuses the job.
    """
    try:
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError
    except ImportError:
        raise ConfigError(f'Submitting needs submitit: {PIP}; --local trains on this machine without it.') from None
    options = {
        'cpus-per-task': cpus_per_task,  # for srun as well, which does not take it from its job any more
        'kill-on-bad-exit': 1,
    }
    try:
        executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=REQUEUES)
        executor.update_parameters(
            job_name='selfsup',
            nodes=nodes,
            ntasks_per_node=tasks_per_node,
            cpus_per_task=cpus_per_task,
            time=minutes,
            signal_delay_s=signal_s,
            gres=gres,
            stderr_to_stdout=True,
            srun_args=[f'--{name}={value}' for name, value in options.items()],
            additional_parameters={'requeue': True, **others},
        )
        with contextlib.redirect_stderr(io.StringIO()):  # where submitit says the same in more lines
            sent = executor.submit(job)
    except (FailedJobError, FailedSubmissionError) as error:
        raise ConfigError(f'Slurm refuses the job: {" ".join(str(error).split())}') from None
    except RuntimeError:  # no srun
        raise ConfigError(
            'srun is not found, so this is no machine to submit from; --local trains on this machine.'
        ) from None
    return sent.job_id, sent.paths.stdout


def _show(lines: TextIO, last: deque[str]) -> None:
    """Copy lines to stderr, and keep the last ones."""
    for line in lines:
        last.append(line)
        sys.stderr.write(line)
        sys.stderr.flush()


def _exit_status(pid: int, patience_s: float = math.inf) -> int | None:
    """Exit status of a child, 128 + signal for one that was killed; None where it runs longer than that.

    The child is not reaped, so that a signal handler may ask while the code that it interrupted does so too (`Popen.wait` would wait for
    itself there).
    """
    end = time.monotonic() + patience_s
    while time.monotonic() <= end:
        known = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if known is not None:
            return known.si_status if known.si_code == os.CLD_EXITED else 128 + known.si_status
        time.sleep(0.1)
    return None


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _signal_of_submitit() -> signal.Signals:
    return signal.Signals[f'SIG{os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2")}']
