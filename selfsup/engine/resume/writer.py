"""Checkpoints are written by a thread of its own while training goes on, one after the other."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from mmengine.logging import MMLogger
from torch import Tensor

from ... import heartbeat
from .snapshot import Snapshot, buffer_of

COPIES = 2  # a second save may be copied while the first one is still being written


@dataclass(frozen=True)
class Written:
    """A checkpoint that is safe on the disk: `iteration`, how many were finished; `seconds` from the begin of the save to its end."""

    path: Path
    iteration: int
    seconds: float


@dataclass(frozen=True)
class _Task:
    name: str
    snapshot: Snapshot
    future: Future[Written]


class Writer:
    """Runs writes in one thread, in the order in which they are handed in. After one that failed no other is begun.

    Args:
        logger: is told when training has to wait.
        on_failure: called by the thread after the first write that failed.
        pinned: copies are made from a GPU.
    """

    def __init__(self, logger: MMLogger, on_failure: Callable[[], None], pinned: bool = False) -> None:
        self._logger, self._on_failure, self._pinned = logger, on_failure, pinned
        self._pool: ThreadPoolExecutor | None = None
        self._tasks: list[_Task] = []
        self._snapshots: list[Snapshot] = []
        self._tables: dict[str, Tensor] = {}
        self._failure: BaseException | None = None
        self._guard: ForkGuard | None = None

    @property
    def failure(self) -> BaseException | None:
        """What the first write that failed raised."""
        return self._failure

    @property
    def busy(self) -> list[str]:
        """Names of the files that are not written yet."""
        return [task.name for task in self._running()]

    def snapshot(self) -> Snapshot:
        """Memory to copy the state of the run into. Where all of it still waits to be written, this waits, and says so."""
        if not self._unused() and len(self._snapshots) < COPIES:
            self._snapshots.append(Snapshot(self._pinned))
        if not self._unused():
            self._wait_for_oldest()
        return self._unused()[0]

    def table(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Memory for a table that is too large to be there twice: this waits until the one before is written.

        Args:
            name: of the table.
            shape, dtype: what it holds, in host memory.
        """
        while self._running():
            self._wait_for_oldest()
        known = self._tables.get(name)
        if known is None or known.shape != shape or known.dtype != dtype:
            self._tables[name] = buffer_of(math.prod(shape), dtype).view(shape)
        return self._tables[name]

    def drop_tables(self) -> None:
        """Give their memory back."""
        self._tables = {}

    def start(self, name: str, snapshot: Snapshot, write: Callable[[Callable[[Any, BinaryIO], None]], Written]) -> None:
        """Let the thread call `write`.

        Args:
            name: of the file.
            snapshot: what `write` reads from; free again afterwards.
            write: given the function that it is to store an object in an open file with.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix='checkpoint')
        if self._guard is None:
            self._guard = ForkGuard()
        self._tasks.append(_Task(name, snapshot, self._pool.submit(self._run, write)))

    def finish(self, timeout: float | None = None) -> bool:
        """Wait until all is written or has failed; False after `timeout` seconds."""
        return not wait([task.future for task in self._tasks], timeout).not_done

    def take_written(self) -> list[Written]:
        """What was written since the last call, in order; does not wait."""
        done = [task for task in self._tasks if task.future.done()]
        self._tasks = [task for task in self._tasks if task not in done]
        return [task.future.result() for task in done if task.future.exception() is None]

    def close(self) -> None:
        """The thread ends when all is written; memory is given back."""
        if self._pool is not None:
            self._pool.shutdown(wait=False)
        self._pool, self._snapshots, self._tables = None, [], {}

    def _run(self, write: Callable[[Callable[[Any, BinaryIO], None]], Written]) -> Written:
        if self._failure is not None:
            raise self._failure
        assert self._guard is not None
        try:
            with self._guard.excluding_forks():
                return write(self._store)
        except BaseException as problem:
            self._failure = problem
            self._on_failure()
            raise

    def _store(self, content: Any, file: BinaryIO) -> None:
        """`torch.save` and onto the disk: all that takes long.

        Into a file object: torch then lets go of Python's lock for every tensor. Given a path, it keeps the lock while it writes,
        and training stops for a tenth of a second each time.
        """
        assert self._guard is not None
        with self._guard.writing(file):
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())

    def _wait_for_oldest(self) -> None:
        first, start = self._running()[:1], time.perf_counter()
        for task in first:
            with heartbeat.working(f'waiting for {task.name} to be written'):
                wait([task.future])
            self._logger.warning(
                f'Training waited {time.perf_counter() - start:.2f} s for {task.name} to be written, to have the memory for the next '
                'checkpoint. Save less often, or to a faster disk.'
            )

    def _running(self) -> list[_Task]:
        return [task for task in self._tasks if not task.future.done()]

    def _unused(self) -> list[Snapshot]:
        used = [task.snapshot for task in self._running()]
        return [snapshot for snapshot in self._snapshots if snapshot not in used]


class ForkGuard:
    """Lets the process fork while another of its threads handles files.

    A forked process, such as a loader worker, has a copy of every open descriptor: a file that is removed later would keep its space
    as long as the worker lives. And a lock that another thread holds at that moment is locked in the child for good. So the thread and
    a fork exclude each other (`excluding_forks`), except while a long write goes on (`writing`): its descriptor is turned to /dev/null
    in the child before that does anything.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._forking = False
        self._descriptors: set[int] = set()
        me = weakref.ref(self)  # nobody can take back what is registered

        def call(name: str) -> Callable[[], None]:
            def act() -> None:
                guard = me()
                if guard is not None:
                    getattr(guard, name)()

            return act

        os.register_at_fork(
            before=call('_before'), after_in_parent=call('_after_in_parent'), after_in_child=call('_after_in_child')
        )

    @contextlib.contextmanager
    def excluding_forks(self) -> Iterator[None]:
        """While this block runs, the process does not fork: who wants to waits for its end, or for `writing`."""
        with self._lock:
            yield

    @contextlib.contextmanager
    def writing(self, file: BinaryIO) -> Iterator[None]:
        """Inside of `excluding_forks`: the process may fork, and the child lets go of `file`."""
        self._descriptors.add(file.fileno())
        self._lock.release()
        try:
            yield
        finally:
            self._lock.acquire()
            self._descriptors.discard(file.fileno())

    def _before(self) -> None:
        self._lock.acquire()
        self._forking = True

    def _after_in_parent(self) -> None:
        if self._forking:  # an interrupt may have ended the wait for the lock
            self._forking = False
            self._lock.release()

    def _after_in_child(self) -> None:
        self._lock, self._forking = threading.RLock(), False
        if self._descriptors:
            nowhere = os.open(os.devnull, os.O_RDWR)
            for (
                descriptor
            ) in self._descriptors:  # not closed: the thread's file object, which is here too, must not write elsewhere
                os.dup2(nowhere, descriptor, inheritable=False)
            os.close(nowhere)
            self._descriptors = set()
