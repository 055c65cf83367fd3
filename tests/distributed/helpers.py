"""Run a function in several gloo processes and collect what it returns.

The processes are forked from one that has imported what they need, once per session: each would take seconds for it.

from tests.distributed.helpers import run_ranks

def work(x):                      # at module level: it is found by name in fresh processes
    return distributed.sum(x)

def test_sum():
    assert run_ranks(work, 2, torch.ones(1)) == [2, 2]
"""

import gc
import multiprocessing
import os
import pickle
import socket
import tempfile
import time
import traceback
from pathlib import Path

import torch
import torch.distributed as torch_dist
import torch.multiprocessing as mp

PRELOAD = [
    'selfsup.engine',
    'selfsup.hooks',
    'selfsup.models.algorithms',
    'selfsup.models.backbones',
    'selfsup.datasets',
    'selfsup.protocols.training',
    'mmcv.cnn',
    'sklearn.cluster',
    'sklearn.datasets',
]


def forking() -> multiprocessing.context.ForkServerContext:
    """A context whose processes are forked from a clean one that has imported `PRELOAD` and done nothing else."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(PRELOAD)  # counts until the first process is started
    return context


def free_port() -> int:
    """A TCP port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def _rank_main(rank, fn, world_size, args, folder, port, init_group, environment):
    os.environ.clear()
    os.environ.update(
        environment,  # that of now, not of when the first process was started
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world_size),
        LOCAL_WORLD_SIZE=str(world_size),
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
    )
    torch.set_num_threads(1)
    # loader workers are started as in a rank that a launcher starts, whatever started this one
    multiprocessing.set_start_method('fork', force=True)
    if init_group:  # over a file: no port that another process could take first
        torch_dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=world_size)
    try:
        result = fn(*args)
        Path(folder, f'rank{rank}.pkl').write_bytes(pickle.dumps(result))
        if torch_dist.is_initialized():
            torch_dist.barrier()  # nobody leaves while another still talks to it
    except BaseException:
        Path(folder, f'{time.time_ns()}-rank{rank}.error').write_text(f'rank {rank}:\n{traceback.format_exc()}')
        raise
    finally:
        if torch_dist.is_initialized():
            torch_dist.destroy_process_group()
        gc.collect()  # ends the threads of a group that a DDP model held, see engine.processes.launch.shut_down


def run_ranks(fn, world_size, *args, timeout=120, init_group=True):
    """Call `fn(*args)` in `world_size` fresh processes that form a gloo group.

    Args:
        fn: function at the top level of an importable module; it asks `selfsup.distributed` for its rank.
        world_size: number of processes.
        *args: picklable.
        timeout: seconds after which all of them are killed.
        init_group: False leaves starting the group to `fn`; the environment is torchrun's in both cases.

    Returns:
        What each rank's call returned (picklable), in rank order.

    Raises:
        RuntimeError: ranks raised; the message holds their tracebacks, the first one (usually the cause) first.
        torch.multiprocessing.ProcessExitedException: a rank was killed or exited.
        TimeoutError: not done after `timeout` seconds.
    """
    forking()
    with tempfile.TemporaryDirectory() as folder:
        context = mp.start_processes(
            _rank_main,
            (fn, world_size, args, folder, free_port(), init_group, dict(os.environ)),
            nprocs=world_size,
            join=False,
            start_method='forkserver',
        )
        end = time.monotonic() + timeout
        try:
            while not context.join(timeout=max(0.1, min(5, end - time.monotonic()))):
                if time.monotonic() > end:
                    raise TimeoutError(f'{fn.__name__} on {world_size} ranks was not done after {timeout} s')
        except mp.ProcessRaisedException as error:
            found = sorted(Path(folder).glob('*.error'), key=lambda path: path.name)
            raise RuntimeError('\n'.join(path.read_text() for path in found)) from error
        finally:
            for process in context.processes:
                if process.is_alive():
                    process.kill()
                process.join()
        return [pickle.loads(Path(folder, f'rank{rank}.pkl').read_bytes()) for rank in range(world_size)]
