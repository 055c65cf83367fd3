"""Train on a cluster: python tools/submit.py CFG --nodes 8 --ngpus 8 --partition PARTITION --job_dir DIR [arguments of tools/train.py]

Sends a job to Slurm (through submitit) that trains as tools/train.py does, with one process per GPU. Before its time is over or when it is
preempted it saves its state, is requeued and goes on by itself. --local trains on this machine instead, at once.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ...cli import positive
from ...errors import UsageError
from .. import options, training

TYPE_CHECKING = False  # see options.py
if TYPE_CHECKING:
    from typing import Any

    from .. import base

TOOLS = Path(__file__).resolve().parents[3] / 'tools'
DAYS_3 = 3 * 24 * 60  # minutes


class Options(training.Options):
    """Those of tools/train.py, and those of the job. The work dir of training is the folder of the job."""

    nodes: int = options.option(1, type=positive, metavar='N', help='machines (default: 1)')
    ngpus: int = options.option(
        8, type=positive, metavar='N', help='GPUs of each machine, one process each (default: 8)'
    )
    partition: str | None = options.option(None, help="of Slurm (default: the cluster's own)")
    timeout: int | None = options.option(
        None,
        type=positive,
        metavar='MIN',
        help=f'minutes of one start; the job is then requeued and goes on (default: {DAYS_3}; with --local: no limit)',
    )
    comment: str | None = options.option(None, metavar='TEXT', help='for the people who run the cluster')
    job_dir: str | None = options.option(
        None,
        '--job_dir',
        metavar='DIR',
        help='where logs and checkpoints go; %%j is the number of the job (default: the work dir of tools/train.py)',
    )
    local: bool = options.option(False, help='train on this machine: no Slurm, no submitit')
    cpus: int = options.option(10, type=positive, metavar='N', help='cores of each process (default: 10)')
    cpu: bool = options.option(False, help='ask for no GPUs: the processes train on CPUs')
    gres: str | None = options.option(
        None,
        metavar='NAME:N',
        help='what each machine must have (default: the variable GRES, else gpu:NGPUS), such as gpu:a100:8',
    )
    signal_delay: int = options.option(
        120,
        '--signal_delay',
        type=positive,
        metavar='S',
        help='seconds before its time is over at which the job begins to save its state (default: 120)',
    )
    sbatch: Sequence[str] = options.option(
        (),
        nargs='+',
        metavar='KEY=VALUE',
        help='further options of sbatch, for example: --sbatch account=vision mem=320GB',
    )

    def validate(self) -> None:
        if self.work_dir is not None:
            raise UsageError('the work dir is the folder of the job: give --job_dir instead of --work_dir')
        if self.launcher != 'none' or self.port is not None:
            raise UsageError('how processes start follows from --ngpus and --local: leave out --launcher and --port')
        if self.gpus is not None:
            raise UsageError(f'--gpus has no effect: give --ngpus {self.gpus}, the GPUs of each machine')
        if self.local and self.nodes > 1:
            raise UsageError(f'--local is one machine: leave out --nodes {self.nodes}')
        if self.cpu and self.gres:
            raise UsageError('--cpu asks for no GPUs: leave out --gres')
        wrong = [word for word in self.sbatch if '=' not in word]
        if wrong:
            raise UsageError(f'--sbatch {wrong[0]}: give KEY=VALUE, such as account=vision')


def run(asked: Options) -> base.Outcome:
    """Send the job, or train here.

    Raises:
        SelfSupError: what tools/train.py would say of the config; or the job cannot be sent.
    """
    from ...cluster.submit import TrainingJob, submit
    from .. import base

    _, compiled = training.read(asked)
    os.environ.setdefault('SELFSUP_COMMAND', shlex.join(['python', *sys.argv]))  # for a run that says how to go on
    folder = str(Path(asked.job_dir or compiled['work_dir']).absolute())
    command = [str(TOOLS / 'train.py'), *options.words_of(asked, training.Options)]
    if not (asked.resume_from or asked.start_over or asked.auto_resume):
        command.append('--auto_resume')
    if asked.local:
        if asked.timeout is not None and asked.time_limit is None:
            command.append(f'--time_limit={asked.timeout}')
        _train_here(asked.ngpus, [*command, '--work_dir', folder.replace('%j', time.strftime('local_%Y%m%d_%H%M%S'))])
    minutes = asked.timeout or DAYS_3
    number, log = submit(
        TrainingJob([*command, '--launcher', 'slurm'], folder, patience_s=asked.signal_delay),
        folder=folder,
        nodes=asked.nodes,
        tasks_per_node=asked.ngpus,
        cpus_per_task=asked.cpus,
        minutes=minutes,
        signal_s=asked.signal_delay,
        gres=_gres(asked),
        others=_others(asked),
    )
    return base.Outcome(
        [
            f'job {number}: {asked.nodes} x {asked.ngpus} processes, {minutes} minutes at a time',
            f'work dir: {log.parent}',
            f'follow:   tail -F {log}   (the log of rank 0; one file for each rank)',
            f'state:    squeue -j {number}',
            f'cancel:   scancel {number}',
        ]
    )


def _gres(asked: Options) -> str | None:
    """What each machine must have, as in tools/srun_train.sh."""
    if asked.cpu:
        return None
    wanted = os.environ.get('GRES', f'gpu:{asked.ngpus}') if asked.gres is None else asked.gres
    return wanted or None


def _others(asked: Options) -> dict[str, Any]:
    known = {'partition': asked.partition, 'comment': asked.comment}
    return {
        **{name: value for name, value in known.items() if value is not None},
        **dict(word.partition('=')[::2] for word in asked.sbatch),
    }


def _train_here(processes: int, command: list[str]) -> None:
    """Become the training: what it prints, its answer to Ctrl-C and its exit status are those of tools/train.py."""
    if processes > 1:
        torchrun = [str(TOOLS / 'torchrun.py'), '--standalone', f'--nproc_per_node={processes}']
        command = [*torchrun, *command, '--launcher', 'pytorch']
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, '-u', *command])
