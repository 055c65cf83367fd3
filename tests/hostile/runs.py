"""Run a config for two iterations in this process and say what came of it."""

from __future__ import annotations

import contextlib
import resource
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from pprint import pformat
from typing import Any

from mmengine.hooks import Hook

from selfsup import engine
from selfsup.config import compile_config, load
from selfsup.errors import SelfSupError
from selfsup.registry import HOOKS

SECONDS = 60  # for two iterations of a network of a few thousand weights
MEMORY = 6 * 2**30  # bytes beyond what the process has: a size of 10**9 meets an error, not the machine's limit


class EndAfterTwo(Hook):
    """Ends a run after two iterations, as Ctrl-C would."""

    priority = 'LOWEST'

    def after_train_iter(self, runner: Any, **kwargs: Any) -> None:
        if runner.iter >= 1:
            raise KeyboardInterrupt


def as_text(settings: dict) -> str:
    """A config file."""
    names = 'inf = float("inf")\nnan = float("nan")\n'
    body = ''.join(f'{key} = {pformat(value)}\n' for key, value in settings.items() if str(key).isidentifier())
    return '"""A hostile config."""\n' + ''.join(line for line in names.splitlines(True) if line[:3] in body) + body


def outcome(path: Path, work_dir: Path, options: list[str] | None = None) -> str:
    """'ran' or the message of the one error; any other exception goes on to the caller, with its traceback."""
    HOOKS.register_module(module=EndAfterTwo, force=True)
    with limits(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            loaded = load(str(path), options)
            compiled = compile_config(loaded)
            compiled['work_dir'] = str(work_dir)
            compiled['custom_hooks'] = [*compiled['custom_hooks'], {'type': 'EndAfterTwo'}]
            compiled['visualizer'] = {**compiled['visualizer'], 'vis_backends': []}
            engine.train(compiled, loaded)
        except SelfSupError as error:
            return f'{type(error).__name__}: {error}'
        except KeyboardInterrupt:
            return 'ran'
    return 'ran'


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """End a call that hangs, and refuse it memory that no tiny run needs."""

    def too_long(*_: Any) -> None:
        raise TimeoutError(f'no end after {SECONDS} s')

    used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, too_long)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
