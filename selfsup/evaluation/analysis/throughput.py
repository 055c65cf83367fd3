"""How fast samples are made and how fast the model takes them, in images per second of one process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import torch

from ...datasets.loaders import images_in
from ...prefetch import Prefetch, read_prefetch

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


def advice(pipeline: float, model: float, *, workers: int, prefetch: bool | Prefetch, amp: bool, device: str) -> str:
    """Which side is the bottleneck and what to change.

    Args:
        pipeline: images per second that the loader gives.
        model: images per second that the model takes.
        workers: of the loader.
        prefetch: what the device does already.
        amp: mixed precision is on already.
        device: 'cuda' or 'cpu'.
    """
    if pipeline < model:
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
        hints = (
            [f'more workers (now {workers}, this machine has {cpus} CPUs)']
            if workers < cpus
            else ['a machine with more CPUs']
        )
        read = read_prefetch(prefetch)
        if device == 'cuda' and not read.augment:
            hints.append('prefetch=dict(augment_on_device=True)')
        elif not read.on:
            hints.append('prefetch=True')
        hints += ['pillow-simd instead of pillow', 'images stored at about the size that is used']
        return (
            f'The pipeline is the bottleneck: the model would wait {100 * (1 - pipeline / model):.0f} % of the time. '
            f'Try {", ".join(hints)}.'
        )
    hints = ['use_fp16=True'] if device == 'cuda' and not amp else []
    hints += ['more GPUs' if device == 'cuda' else 'a GPU', 'a smaller backbone or image']
    return (
        f'The model is the bottleneck: the pipeline makes {pipeline / model:.1f} times as many images. '
        f'Try {", ".join(hints)}.'
    )
