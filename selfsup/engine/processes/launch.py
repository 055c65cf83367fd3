"""Start the process group: torchrun, Slurm or a single process; CUDA with NCCL or CPU with gloo."""

from __future__ import annotations

import gc
import os

import torch
import torch.distributed as torch_dist

from ... import heartbeat
from ...cluster.leaving import leave_with_launcher
from ...cluster.slurm import slurm_environment, whole_number
from ...errors import ConfigError, did_you_mean
from . import watch
from .joining import FOR_GOOD, Place, meet

LAUNCHERS = ('none', 'pytorch', 'slurm')
TIMEOUT_S = 600.0  # for a process that is missing or hangs
BACKENDS = ('nccl', 'gloo', 'mpi', 'ucc')


def init_distributed(
    launcher: str = 'none', *, backend: str | None = None, port: int | None = None, timeout_s: float = TIMEOUT_S
) -> torch.device:
    """Join the process group that `launcher` announces in the environment and pick this process's device.

    Args:
        launcher: 'none' (one process, no group), 'pytorch' (torchrun's variables) or 'slurm' (srun's variables).
        backend: 'nccl', 'gloo' or None; 'nccl' without a GPU becomes gloo.
        port: TCP port of rank 0 for 'slurm'; None takes `MASTER_PORT`, else one derived from the job and step id.
        timeout_s: how long a process may be missing at the start, give no sign of life or make no progress, in seconds.

    Returns:
        The device of this process.

    Raises:
        ConfigError: unknown launcher, variables missing, or rank 0 cannot be reached.
    """
    if launcher not in LAUNCHERS:
        raise ConfigError(f"--launcher '{launcher}' is not known; choose one of {', '.join(LAUNCHERS)}.")
    if launcher == 'none':
        return torch.device('cuda', 0) if torch.cuda.is_available() else torch.device('cpu')
    if port is not None:
        whole_number('PORT (or --port)', port, 1, 65535)
    if launcher == 'slurm':
        os.environ.update(slurm_environment(dict(os.environ), port))
    missing = [k for k in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT') if k not in os.environ]
    if missing:
        raise ConfigError(
            f'--launcher {launcher} needs {", ".join(missing)} in the environment. '
            f'Start through tools/dist_train.sh (torchrun) or tools/srun_train.sh (Slurm).'
        )
    processes = whole_number('WORLD_SIZE', os.environ['WORLD_SIZE'], 1, 10**6)
    whole_number('RANK', os.environ['RANK'], 0, processes - 1)
    whole_number('LOCAL_RANK', os.environ['LOCAL_RANK'], 0, processes - 1)
    whole_number('MASTER_PORT', os.environ['MASTER_PORT'], 1, 65535)
    if launcher == 'pytorch':
        leave_with_launcher()
    device = torch.device('cpu')
    if torch.cuda.is_available():
        # modulo: with --gpus-per-task=1 every task sees one GPU, whatever its local rank
        device = torch.device('cuda', int(os.environ['LOCAL_RANK']) % torch.cuda.device_count())
        torch.cuda.set_device(device)
    if not torch_dist.is_initialized():
        if backend is None or (backend == 'nccl' and device.type == 'cpu'):
            backend = 'nccl' if device.type == 'cuda' else 'gloo'
        if backend not in BACKENDS:
            raise ConfigError(f"dist_params.backend='{backend}' is not known.{did_you_mean(backend, BACKENDS)}")
        _join(backend, timeout_s)
    return device


def _join(backend: str, timeout_s: float) -> None:
    """Wait for all ranks, let them be watched, and make the group."""
    if not 0 < timeout_s < FOR_GOOD.total_seconds():
        raise ConfigError(f'dist_params.timeout_s={timeout_s} must be more than 0 seconds and less than a year.')
    place = Place.of(os.environ)
    store, watching = meet(place, timeout_s)
    if watching is not None:
        heartbeat.adopt(watching.heart)
        watching.start()
    try:
        torch_dist.init_process_group(
            backend, store=store, rank=place.rank, world_size=place.world_size, timeout=FOR_GOOD
        )
    except (torch_dist.DistNetworkError, torch_dist.DistStoreError) as error:
        raise ConfigError(
            f'Rank {place.rank} could not join the group at {place.endpoint} ({str(error).splitlines()[0]}). '
            'Set PORT to a free port, and MASTER_ADDR where the first node is not reachable by its name.'
        ) from None


def shut_down() -> None:
    """Leave the process group, if there is one, and end its threads where nothing (a DDP model, say) holds it any more.

    A thread of gloo that still lets go of a tensor while Python finishes brings the process down with SIGABRT.
    """
    watching = watch.current()
    if watching is not None:
        watching.leave()
        heartbeat.adopt(None)
    if torch_dist.is_available() and torch_dist.is_initialized():
        torch_dist.destroy_process_group()
        gc.collect()
