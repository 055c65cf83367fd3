"""A hook that writes down, outside of the work dir, how far a run is. Named by `custom_imports` of the configs."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from selfsup.distributed import is_main
from selfsup.registry import HOOKS

JOURNAL = 'INTERRUPTIONS_JOURNAL'  # environment variable: the file; the config stays the same from start to start


@HOOKS.register_module(force=True)
class Journal(Hook):
    """Notes of rank 0, one line of JSON each: `what`, `iteration` (finished ones), `time` (seconds of a clock that all processes share).

    what: 'began', 'iteration', 'saving', 'epoch' (its clustering, evaluation and checkpoint come next), 'ended'.
    """

    only_watches = True
    priority = 'LOWEST'

    def before_train(self, runner: Any) -> None:
        note('began', runner.iter)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        note('saving', checkpoint['meta']['iter'])

    def after_train_iter(self, runner: Any, **_: Any) -> None:
        note('iteration', runner.iter + 1)

    def after_train(self, runner: Any) -> None:
        note('ended', runner.iter)


@HOOKS.register_module(force=True)
class EpochJournal(Hook):
    """Notes the end of an epoch before any other hook does something there."""

    only_watches = True
    priority = 'HIGHEST'

    def after_train_epoch(self, runner: Any) -> None:
        note('epoch', runner.iter)


def note(what: str, iteration: int) -> None:
    """Append a line in one write, which a SIGKILL cannot cut in two."""
    if not is_main():
        return
    line = json.dumps({'what': what, 'iteration': iteration, 'time': time.monotonic()}) + '\n'
    file = os.open(os.environ[JOURNAL], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)


def notes(path: Path) -> list[dict[str, Any]]:
    """What a start has written down so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
