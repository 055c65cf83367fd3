"""How the scripts beside it take CPU time: ways take turns, with the same draws."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def seed_all(seed: int) -> None:
    """The three generators that steps draw from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)


def seconds(call: Callable[[Any], Any], arguments: Any, seed: int) -> float:
    """CPU seconds of one call for each argument."""
    seed_all(seed)
    start = time.process_time()
    for argument in arguments:
        call(argument)
    return time.process_time() - start


def medians(calls: dict[str, tuple[Callable[[Any], Any], Any]], repeats: int) -> dict[str, dict[str, Any]]:
    """Milliseconds per argument of each call: median, smallest and largest of the repeats, which take turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(repeats + 1):
        for name, (call, arguments) in calls.items():
            taken = 1000 * seconds(call, arguments, repeat) / len(arguments)
            if repeat:  # the first one warms up
                times[name].append(taken)
    return {
        name: {
            'milliseconds': round(statistics.median(taken), 4),
            'smallest': round(min(taken), 4),
            'largest': round(max(taken), 4),
        }
        for name, taken in times.items()
    }
