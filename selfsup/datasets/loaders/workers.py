"""How many workers a loader has, and what each of them sets before it reads."""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import sys
import threading
import traceback
from typing import Any, Literal

import torch

from ... import distributed as dist
from ...arguments import Whole
from ...machine import cores

Workers = Whole | Literal['auto']
MOST = 16  # workers of 'auto': past that, batches wait for memory and the network, not for cores
OPEN_FILES = 65536  # a batch that waits holds a file for each of its tensors


def number_of_workers(asked: int | str, batches: int, together: bool = False) -> int:
    """The workers of one process: as many as asked for, or for 'auto' the cores, shared with the other processes that run on them.

    Args:
        asked: a number, or 'auto'.
        batches: of an epoch; more workers than that would have nothing to do.
        together: all processes of the group call.
    """
    if asked != 'auto':
        return int(asked)
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else []
    mine = (socket.gethostname(), allowed)
    sharing = dist.gather_objects(mine).count(mine) if together else 1
    return max(1, min(cores() // sharing, MOST, batches))


def allow_open_files() -> None:
    """Raise the soft limit of open files as far as the hard one allows, up to `OPEN_FILES`; many systems start with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (ValueError, OSError) as error:  # some systems refuse what they name as the hard limit
            logging.getLogger('selfsup').info(f'the limit of open files stays at {soft:,}: {error}')


def no_file_came(error: Exception) -> bool:
    """Whether an error says that a worker had no open file left to send its batch with: nothing arrives where a file should."""
    return isinstance(error, EOFError) and traceback.extract_tb(error.__traceback__)[-1].name == 'recvfds'


def start_worker(worker: int) -> None:
    """Each worker computes in one thread, as there is one worker for each core, and leaves signals to its parent."""
    leave_signals_to_parent()
    torch.set_num_threads(1)
    opencv: Any = sys.modules.get('cv2')
    if opencv is not None:
        opencv.setNumThreads(0)


def leave_signals_to_parent() -> None:
    """Go on after signals that were sent to a whole group of processes, by Ctrl-C or by a batch system: the parent decides what they mean.

    SIGTERM is obeyed where the parent itself sends it. A worker whose parent is gone ends within a second.
    """
    signal.set_wakeup_fd(-1)  # a fork inherits it, and would tell the parent of signals to the worker
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_obey, args=(os.getppid(),), name='obey the parent', daemon=True).start()


def _obey(parent: int) -> None:
    while os.getppid() == parent:
        sent = signal.sigtimedwait({signal.SIGTERM}, 1.0)
        if sent is not None and sent.si_pid == parent:
            break
    os._exit(0)
