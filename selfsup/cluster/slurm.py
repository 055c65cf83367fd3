"""What Slurm tells a task, from its environment: no client tool is needed, so it works where there is none."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Mapping

from ..errors import ConfigError

START_THROUGH = 'start through tools/srun_train.sh, tools/sbatch_train.sh, tools/submit.py or srun'
FORMS = 'minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS'


def whole_number(name: str, value: str | int, lowest: int, highest: int) -> int:
    """`value` as a number, or a ConfigError: torch waits for ever at port 0 and has a traceback for most other mistakes."""
    if not str(value).isdecimal() or not lowest <= int(value) <= highest:
        raise ConfigError(f"{name}: '{value}' is not a whole number from {lowest} to {highest}.")
    return int(value)


def slurm_environment(env: dict[str, str], port: int | None = None) -> dict[str, str]:
    """torch's variables (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT) from those srun sets.

    Nothing is executed (no `scontrol`), so it works where Slurm's client tools do not.

    Args:
        env: the environment of the task.
        port: port of rank 0; None: `MASTER_PORT`, else 20000 + a number below 12000 made of job and step id.

    Raises:
        ConfigError: this is no Slurm task, or it is the only one of several: a batch script that was not told to use srun.
    """
    # of the step, where it is known: a step may have fewer tasks than its job
    tasks = env.get('SLURM_STEP_NUM_TASKS') or env.get('SLURM_NTASKS')
    missing = [
        name for name, value in (('SLURM_PROCID', env.get('SLURM_PROCID')), ('SLURM_NTASKS', tasks)) if not value
    ]
    if missing or tasks is None:
        raise ConfigError(f'--launcher slurm, but {", ".join(missing)} is not set: {START_THROUGH}.')
    if env.get('ENVIRONMENT') == 'BATCH' and 'SLURM_STEP_ID' not in env and tasks != '1':
        raise ConfigError(
            f'--launcher slurm in a batch script, without srun: this is one process, and the job has {tasks} tasks. '
            f'Write srun in front of the command, or {START_THROUGH}.'
        )
    if port is None:
        # two steps of one job may run side by side, hence the step id
        number = int(env.get('SLURM_JOB_ID', 0)) * 7 + int(env.get('SLURM_STEP_ID', 0) or 0)
        # below 32768: from there on Linux gives ports to whoever connects
        port = whole_number('MASTER_PORT', env.get('MASTER_PORT') or 20000 + number % 12000, 1, 65535)
    return {
        'RANK': env['SLURM_PROCID'],
        'WORLD_SIZE': tasks,
        'LOCAL_RANK': env.get('SLURM_LOCALID', '0'),
        'MASTER_ADDR': env.get('MASTER_ADDR') or _slurm_address(env),
        'MASTER_PORT': str(port),
    }


def first_host(nodelist: str) -> str:
    """First name of a Slurm host list: 'node[01-03],gpu7' -> 'node01', 'r[2-3]n[007,9]' -> 'r2n007', 'n1' -> 'n1'."""
    first = re.match(r'((?:[^,\[\]]|\[[^\[\],-][^\[\]]*\])+)(?:,|$)', nodelist.strip())
    host = re.sub(r'\[([^\],-]+)[^\]]*\]', r'\1', first[1]) if first else ''
    if not host:
        raise ConfigError(f'The Slurm node list {nodelist!r} cannot be read; set MASTER_ADDR to the first node.')
    return host


def _slurm_address(env: dict[str, str]) -> str:
    """Where rank 0 listens: the first node, by name where the name resolves."""
    nodes = env.get('SLURM_STEP_NUM_NODES') or env.get('SLURM_NNODES') or env.get('SLURM_JOB_NUM_NODES') or '1'
    if nodes == '1':
        return '127.0.0.1'
    host = first_host(
        env.get('SLURM_STEP_NODELIST') or env.get('SLURM_JOB_NODELIST') or env.get('SLURM_NODELIST') or ''
    )
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        # Node names that do not resolve (several nodes on one machine, private names): the node that ran srun, which
        # in a batch job is the first one.
        return env.get('SLURM_LAUNCH_NODE_IPADDR', host)
    return host


def seconds_of(text: str) -> int:
    """A length of time as Slurm's --time takes it, in seconds: '90' are minutes, '1:30' minutes and seconds, '1-12' a day and a half.

    Raises:
        ConfigError: it has none of Slurm's forms, or is no time at all.
    """
    match = re.fullmatch(r'(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?', text.strip())
    if match is not None:
        days, *parts = match.groups()
        numbers = [int(part) for part in parts if part is not None]
        if days is not None:
            hours, minutes, seconds = [*numbers, 0, 0][:3]
        elif len(numbers) == 3:
            hours, minutes, seconds = numbers
        else:
            hours, minutes, seconds = 0, *[*numbers, 0][:2]
        total = ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds
        if total > 0:
            return total
    raise ConfigError(f"'{text}' is not a time: give {FORMS}, more than 0.")


def end_of_job(env: Mapping[str, str], timeout_s: float = 10.0) -> float | None:
    """When the time of the Slurm job that `env` belongs to is over (`time.time()`).

    Newer versions of Slurm say it in SLURM_JOB_END_TIME; before, the first task asks `squeue` for the time that is left. A thousand that
    ask at once would keep the controller from its work.

    Args:
        env: the environment of a process.
        timeout_s: how long `squeue` may take.

    Returns:
        None where there is no job, it has no limit, or nobody knows, and in all tasks but the first of a Slurm without that variable.
    """
    if env.get('SLURM_JOB_END_TIME', '').isdecimal():
        return float(env['SLURM_JOB_END_TIME'])
    if env.get('SLURM_PROCID', '0') != '0':
        return None
    try:
        return time.time() + seconds_of(_squeue(env, '%L', timeout_s))
    except ConfigError:  # UNLIMITED, INVALID: no time
        return None


def may_requeue(env: Mapping[str, str]) -> bool:
    """True while the Slurm job that `env` belongs to runs as its owner wants it to.

    One that was cancelled is on its way out already, and `scontrol requeue` would bring it back.
    """
    return _squeue(env, '%T', 20.0) == 'RUNNING'


def _squeue(env: Mapping[str, str], field: str, timeout_s: float) -> str:
    """A field of this job, by its letter in `squeue --format`; '' where there is no job or no answer."""
    if 'SLURM_JOB_ID' not in env:
        return ''
    command = ['squeue', '--noheader', '--jobs', env['SLURM_JOB_ID'], '--format', field]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=True, env=dict(env))
    except (OSError, subprocess.SubprocessError):
        return ''
    return done.stdout.strip()
