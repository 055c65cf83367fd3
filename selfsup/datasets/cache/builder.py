"""Fills a cache with several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import torch

from ...errors import DataError
from ..robust import error_line
from .images import read_small
from .place import Place, Segment
from .progress import Progress
from .store import ROW, Places, row_of

CHUNK = 16  # images that a process takes at once
LOOK_EVERY = 0.2  # seconds between two looks at how far the processes are


def build(place: Place, source: Any, size: int, processes: int, progress: Progress) -> Generator[None, None, Places]:
    """Store all images of a source that are not there yet; yields now and then while the work goes on, and returns where they lie.

    A process that is killed leaves what it has stored; the next builder goes on from that.

    Args:
        place: where; this process holds it.
        source: with `read_image`.
        size: of the shortest side, in pixels.
        processes: that work at once.
        progress: shows how far they are.

    Raises:
        DataError: a process met an error or was ended, or there is no room.
    """
    kept = place.begun()
    rows = np.concatenate([np.zeros(0, ROW), *kept])
    todo = np.setdiff1d(np.arange(len(source)), rows['index'])
    segments = [place.new_segment() for _ in range(min(processes, -(-len(todo) // CHUNK)))]
    yield from _run(source, todo, size, segments, progress)
    for segment in segments:
        for file in segment.files:
            file.flush()
        with open(segment.rows, 'rb') as file:
            rows = np.concatenate([rows, np.frombuffer(file.read(), ROW)])
    rows = rows[
        np.unique(rows['index'], return_index=True)[1]
    ]  # one that was stopped and one after it may have stored the same image
    if not np.array_equal(rows['index'], np.arange(len(source))):
        raise DataError(f'cache: {place} was changed by something else while it was built. Start again.')
    return place.finish(rows)


def _run(source: Any, todo: np.ndarray, size: int, segments: list[Segment], progress: Progress) -> Iterator[None]:
    """Let one process per segment store images until none is left."""
    context = multiprocessing.get_context('fork')
    taken, done = context.Value('q', 0), context.Value('q', 0)
    said = context.SimpleQueue()
    workers = [
        context.Process(target=_work, args=(source, todo, size, segment, taken, done, said), daemon=True)
        for segment in segments
    ]
    try:
        for worker in workers:
            worker.start()
        while any(worker.is_alive() for worker in workers):
            for worker in workers:
                worker.join(LOOK_EVERY / len(workers))
            progress.show(done.value)
            if not said.empty():
                break
            if any(worker.exitcode for worker in workers if not worker.is_alive()):
                break
            yield
        if not said.empty():
            raise DataError(f'cache: {said.get()}')
        if any(worker.exitcode != 0 for worker in workers):
            codes = sorted({worker.exitcode for worker in workers if worker.exitcode})
            raise DataError(
                f'cache: a process that built it ended with exit status {codes}. Most often memory ran out and the system killed it: '
                'choose a smaller size or a folder; what is in a folder already is not done again.'
            )
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
        for worker in workers:
            if worker.pid is not None:
                worker.join()


def _work(source: Any, todo: np.ndarray, size: int, segment: Segment, taken: Any, done: Any, said: Any) -> None:
    """Store chunks of images until none is left, or until the process that started this one is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends this process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    parent, offset = os.getppid(), 0
    try:
        while os.getppid() == parent:
            with taken.get_lock():
                start, taken.value = taken.value, taken.value + CHUNK
            if start >= len(todo):
                return
            for index in todo[start : start + CHUNK].tolist():
                row, content = row_of(index, segment.number, offset, read_small(source, index, size))
                segment.files[0].write(content)
                segment.files[1].write(np.array([row], ROW).tobytes())
                offset += len(content)
            for file in segment.files:  # the images before the rows that tell of them
                file.flush()
            with done.get_lock():
                done.value += min(CHUNK, len(todo) - start)
    except OSError as error:
        said.put(f'{error.strerror or error}. Free some room, or choose a smaller size or another place.')
    except Exception as error:  # the source's own: its traceback says more, and the parent ends
        said.put(f'image {index} of {type(source).__name__}: {error_line(error)}')
        raise
