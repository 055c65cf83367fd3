"""How fast samples are made and how fast the model takes them, in images per second of one process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from ...datasets.loaders import images_in
from ...machine import cores

SETTLING = 0.25  # share of the time in which nothing is counted: workers start, caches and queues fill


def loader_speed(loader: Any, seconds: float) -> tuple[float, dict | None]:
    """Images per second that a loader gives when nobody else works, and its first batch (a full one).

    Args:
        loader: yields batches with `img`.
        seconds: how long to measure; shorter where the loader ends before.
    """
    return _rate(iter(loader), images_in, seconds)


def step_speed(step: Callable[[], Any], images: int, seconds: float) -> float:
    """Images per second when `step`, which handles `images`, is called again and again.

    Args:
        step: one forward and backward pass.
        images: per call.
        seconds: how long to measure; at least two calls are made.
    """

    def steps():
        while True:
            step()
            if torch.cuda.is_available():
                torch.cuda.synchronize()  # else only the launching of kernels is timed
            yield {}

    return _rate(steps(), lambda _: images, seconds)[0]


def _rate(batches: Any, size: Callable[[Any], int], seconds: float) -> tuple[float, Any]:
    """Images per second of an iterator after `SETTLING`, and its first item; of all there was where that is too little."""
    begin = time.perf_counter()
    counted, total, first = 0, 0, None
    since: float | None = None  # when counting began
    for batch in batches:
        first = batch if first is None else first
        now = time.perf_counter()
        total += size(batch)
        if since is not None:
            counted += size(batch)
            if now - begin >= seconds:
                break
        elif now - begin >= SETTLING * seconds:
            since = now
    end = time.perf_counter()
    if counted and since is not None:
        return counted / max(now - since, 1e-9), first
    return total / max(end - begin, 1e-9), first


def worker_speed(loader: Any, seconds: float) -> float:
    """Images per second of processor time that one worker makes: read in this process by one thread, whoever else works on this machine.

    Args:
        loader: `DeviceLoader`.
        seconds: how long to measure; at least one batch is read.
    """
    threads, begin, images = torch.get_num_threads(), time.perf_counter(), 0
    torch.set_num_threads(1)
    try:
        loader.read_first(1)  # what is loaded once
        used = time.process_time()
        while not images or time.perf_counter() - begin < seconds:
            images += loader.read_first(loader.batch_size)
        return images / max(time.process_time() - used, 1e-9)
    finally:
        torch.set_num_threads(threads)


class Setting(NamedTuple):
    """How a run reads its images and computes.

    Attributes:
        workers: of the loader.
        prefetch: normalisation happens on the device already.
        amp: mixed precision is on already.
        device: 'cuda' or 'cpu'.
        augment: the device runs steps of the pipelines, too.
        cache: decoded images are kept.
        backend: of the pipelines.
        per_worker: images per second of processor time that one worker makes; None: not measured.
        processes: that share this machine.
    """

    workers: int
    prefetch: bool
    amp: bool
    device: str
    augment: bool = False
    cache: bool = False
    backend: str = 'fast'
    per_worker: float | None = None
    processes: int = 1


def balance(model: float, per_worker: float) -> int:
    """How many workers make as many images as the model takes.

    Args:
        model: images per second that the model takes.
        per_worker: images per second of one worker with a core of its own.
    """
    return max(1, math.ceil(model / per_worker))


def advice(pipeline: float, model: float, **setting: Any) -> str:
    """Which side is the bottleneck and what to change.

    Args:
        pipeline: images per second that the loader gives.
        model: images per second that the model takes.
        **setting: of `Setting`.
    """
    run = Setting(**setting)
    available = cores() // run.processes
    needed = balance(model, run.per_worker) if run.per_worker else None
    if pipeline < model:
        hints = _for_the_pipeline(run, needed, available)
        return (
            f'The pipeline is the bottleneck: the model would wait {100 * (1 - pipeline / model):.0f} % of the time. '
            f'Try {", ".join(hints)}.'
        )
    hints = ['use_fp16=True'] if run.device == 'cuda' and not run.amp else []
    hints += ['more GPUs' if run.device == 'cuda' else 'a GPU', 'a smaller backbone or image']
    fewer = f'workers_per_gpu={needed} would be enough. ' if needed is not None and needed < run.workers else ''
    return (
        f'The model is the bottleneck: the pipeline makes {pipeline / model:.1f} times as many images. {fewer}'
        f'Try {", ".join(hints)}.'
    )


def _for_the_pipeline(run: Setting, needed: int | None, available: int) -> list[str]:
    """What makes a pipeline faster, the cheapest first."""
    hints = []
    wanted = available if needed is None else min(needed, available)
    if run.workers < wanted:
        hints.append(f'workers_per_gpu={wanted} (now {run.workers}, this machine has {available} CPUs)')
    if run.backend != 'fast':
        hints.append("pipeline_backend='fast'")
    if run.device == 'cuda' and not run.augment:
        hints.append('prefetch=dict(augment_on_device=True)')
    elif not run.prefetch:
        hints.append('prefetch=True')
    if not run.cache:
        hints.append("cache=dict(size=256, where='memory')")
    if run.workers >= available or (needed is not None and needed > available):
        enough = f': {needed} workers would keep up' if needed is not None and needed > available else ''
        hints.append(f'a machine with more CPUs (this one has {available}{enough})')
    return hints
