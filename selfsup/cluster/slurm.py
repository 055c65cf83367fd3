"""What Slurm tells a task, from its environment alone: no client tool is called, so it works where there is none."""

from __future__ import annotations

import re
import socket

from ..errors import ConfigError

START_THROUGH = 'start through tools/srun_train.sh, tools/sbatch_train.sh, tools/submit.py or srun'


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
        port: port of rank 0; None: `MASTER_PORT`, else 20000 + a number below 20000 made of job and step id.

    Raises:
        ConfigError: this is no Slurm task, or it is the only one of several: a batch script that was not told to use srun.
    """
    # of the step, where it is known: a step may have fewer tasks than its job
    tasks = env.get('SLURM_STEP_NUM_TASKS') or env.get('SLURM_NTASKS')
    missing = [name for name, value in (('SLURM_PROCID', env.get('SLURM_PROCID')), ('SLURM_NTASKS', tasks)) if not value]
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
        port = whole_number('MASTER_PORT', env.get('MASTER_PORT') or 20000 + number % 20000, 1, 65535)
    return {
        'RANK': env['SLURM_PROCID'],
        'WORLD_SIZE': tasks,
        'LOCAL_RANK': env.get('SLURM_LOCALID', '0'),
        'MASTER_ADDR': env.get('MASTER_ADDR') or _slurm_address(env),
        'MASTER_PORT': str(port),
    }


def first_host(nodelist: str) -> str:
    """First name of a Slurm host list: 'node[01-03],gpu7' -> 'node01', 'r[2-3]n[007,9]' -> 'r2n007', 'n1' -> 'n1'."""
    first = re.match(r'(?:[^,\[\]]|\[[^\[\]]+\])+', nodelist.strip())
    host = re.sub(r'\[([^\],-]+)[^\]]*\]', r'\1', first[0]) if first else ''
    if not host or '[' in host or ']' in host:
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
