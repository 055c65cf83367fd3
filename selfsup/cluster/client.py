"""What only Slurm's client tools know of the job that this process belongs to. They are not on every node, so all of it may be unknown."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from datetime import datetime

PATIENCE_S = 20.0  # for a controller that is busy


def end_of_job(env: Mapping[str, str]) -> float | None:
    """When Slurm ends the job of this process, in seconds since 1970; None where nobody knows, or where it has no end.

    Newer Slurm says it in the environment; an older one is asked once, by `squeue`.

    Args:
        env: the environment of a task or a batch script.
    """
    said = env.get('SLURM_JOB_END_TIME', '')
    if said.isdecimal():
        return float(said)
    try:
        return datetime.fromisoformat(_squeue(env, '%e')).timestamp()  # local time, as Slurm prints it
    except ValueError:  # NONE, N/A, or no answer
        return None


def may_requeue(env: Mapping[str, str]) -> bool:
    """True while the job of this process runs as its owner wants it to. One that was cancelled is on its way out already: `scontrol requeue`
    would bring it back.

    Args:
        env: the environment of a task or a batch script.
    """
    return _squeue(env, '%T') == 'RUNNING'


def _squeue(env: Mapping[str, str], field: str) -> str:
    """One field of the job, by a letter of `squeue --format`; '' where there is no answer."""
    job = env.get('SLURM_JOB_ID', '')
    if not job or shutil.which('squeue') is None:
        return ''
    command = ['squeue', '--noheader', f'--jobs={job}', f'--format={field}']
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE_S, env={**os.environ, 'SLURM_TIME_FORMAT': 'standard'}
        )
    except (OSError, subprocess.TimeoutExpired):
        return ''
    return done.stdout.strip() if done.returncode == 0 else ''
