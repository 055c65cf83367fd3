"""A hook that measures what a method's training takes, without what is done before and after it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from selfsup.cluster.tree import descendants, processor_seconds
from selfsup.engine import Run
from selfsup.registry import HOOKS

FILE = 'training_time.json'
WARM = 5  # iterations that are slower than others: memory is fetched, workers start


@HOOKS.register_module()
class TrainingTimeHook(Hook):
    """Writes `training_time.json` into the work dir: from the start of training, clustering included, to its end.

    `seconds` by the clock and `cpu_seconds` of the process and its loader workers; `warm_seconds` and `warm_cpu_seconds` of them until
    `WARM` iterations were done, so that the rest divided by the rest of `iterations` is what an iteration takes.
    """

    only_watches = True
    priority = 'HIGHEST'  # begins before any other hook works, and ends when all have closed the last epoch

    def before_train(self, runner: Run) -> None:
        self._start, self._warm = _clocks(), (0.0, 0.0)

    def after_train_iter(self, runner: Run, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if runner.iter + 1 == min(WARM, runner.max_iters):
            self._warm = self._passed()

    def after_train(self, runner: Run) -> None:
        seconds, cpu = self._passed()
        measured = {
            'iterations': runner.iter,
            'epochs': runner.iter / runner.train_loop.iters_per_epoch,
            'seconds': round(seconds, 3),
            'cpu_seconds': round(cpu, 3),
            'warm_seconds': round(self._warm[0], 3),
            'warm_cpu_seconds': round(self._warm[1], 3),
        }
        Path(runner.work_dir, FILE).write_text(json.dumps(measured))

    def _passed(self) -> tuple[float, float]:
        now = _clocks()
        return now[0] - self._start[0], now[1] - self._start[1]


def _clocks() -> tuple[float, float]:
    """The clock, and the processor time of this process and those below it; of workers that have ended too."""
    ended = os.times()
    below = processor_seconds(descendants(os.getpid()))
    return time.perf_counter(), time.process_time() + below + ended.children_user + ended.children_system
