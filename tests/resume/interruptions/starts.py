"""Starts of a training run: forked from a process that has imported everything, or through the real launchers."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.distributed.helpers import free_port

from .journal import JOURNAL, notes

ROOT = Path(__file__).resolve().parents[3]
MARK = 'INTERRUPTIONS_START'  # environment variable by which processes of a start are found
SAVED = re.compile(r'\bSaved (\S+\.pth)')


def warm_up(context: multiprocessing.context.ForkServerContext) -> None:
    """Wait until everything is imported: only the first start would wait for it."""
    child = context.Process(target=os.getpid)
    child.start()
    child.join()


def _rank(words: list[str], environment: dict[str, str], output: str) -> None:
    """What tools/train.py does, in a process that has imported what it needs."""
    os.setsid()
    _hear_signals()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.update(environment)
    sys.argv = ['tools/train.py', *words]
    import torch

    from selfsup import cli, protocols

    torch.set_num_threads(1)
    cli.run(protocols.command('training'))


def _hear_signals() -> None:
    """A job in the background of a shell ignores Ctrl-C, one of nohup SIGHUP; a run that ignores a signal is not stopped by it."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Start:
    """One start of a run.

    Args:
        folder: where journal and output go; an empty folder of this start.
        config: the config file.
        work_dir: of the run.
        processes: how many.
        launched: through `tools/dist_train.sh` (or `tools/train.py`, for one process); else forked, as srun starts them.
        context: of `forking`.
    """

    def __init__(
        self,
        folder: Path,
        config: Path,
        work_dir: Path,
        processes: int,
        launched: bool,
        context: multiprocessing.context.ForkServerContext,
    ) -> None:
        folder.mkdir()
        self.folder, self.processes, self.launched = folder, processes, launched
        self.journal, self.began_at = folder / 'journal', time.monotonic()
        words = [str(config), '--work_dir', str(work_dir), '--auto_resume']
        environment = {JOURNAL: str(self.journal), MARK: str(folder), 'OMP_NUM_THREADS': '1'}
        self.launcher: subprocess.Popen | None = None
        self.children: list[multiprocessing.process.BaseProcess] = []
        if launched:
            self._launch(words, environment)
        else:
            self._fork(words, environment, context)

    def _launch(self, words: list[str], environment: dict[str, str]) -> None:
        several = ['bash', str(ROOT / 'tools/dist_train.sh'), words[0], str(self.processes), *words[1:]]
        with (self.folder / 'output0').open('w') as output:
            self.launcher = subprocess.Popen(
                several if self.processes > 1 else [sys.executable, str(ROOT / 'tools/train.py'), *words],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment, 'PYTHON': sys.executable, 'PYTHONPATH': str(ROOT)},
                start_new_session=True,
                preexec_fn=_hear_signals,
            )

    def _fork(
        self, words: list[str], environment: dict[str, str], context: multiprocessing.context.ForkServerContext
    ) -> None:
        group = {'WORLD_SIZE': str(self.processes), 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(free_port())}
        for rank in range(self.processes):
            several = {**group, 'RANK': str(rank), 'LOCAL_RANK': str(rank)} if self.processes > 1 else {}
            more = ['--launcher', 'pytorch'] if several else []
            output = str(self.folder / f'output{rank}')
            child = context.Process(target=_rank, args=([*words, *more], {**environment, **several}, output))
            child.start()
            self.children.append(child)

    def ranks(self) -> list[int]:
        """Process ids of the ranks that are there."""
        if self.launcher is None:
            return [child.pid for child in self.children if child.pid and child.is_alive()]
        if self.processes == 1:
            return [self.launcher.pid] if self.launcher.poll() is None else []
        return _children(self.launcher.pid)

    def is_running(self) -> bool:
        """True until the launcher, or all ranks where there is none, have ended."""
        if self.launcher is not None:
            return self.launcher.poll() is None
        return any(child.is_alive() for child in self.children)

    def wait_for(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """True as soon as the condition holds; False when the start has ended before.

        Raises:
            AssertionError: neither, for `limit_s` seconds.
        """
        end = time.monotonic() + limit_s
        while not condition():
            if not self.is_running():
                return condition()
            assert time.monotonic() < end, f'neither went on nor ended in {limit_s:.0f} s:\n{self.output()[-3000:]}'
            time.sleep(0.002)
        return True

    def end(self, limit_s: float, left_s: float) -> list[int]:
        """Wait for the end, as a launcher does: a rank that ends badly takes the others with it.

        Args:
            limit_s: for the launcher, or the first rank.
            left_s: from then until nothing is left.

        Returns:
            Exit statuses: of the launcher, or of the ranks; negative where a signal killed the process.
        """
        end = time.monotonic() + limit_s
        while self.is_running():
            if self.launcher is None and any(child.exitcode for child in self.children):
                break
            assert time.monotonic() < end, f'did not end in {limit_s:.0f} s:\n{self.output()[-3000:]}'
            time.sleep(0.01)
        self.ended_at = time.monotonic()
        self.cleared(left_s)
        if self.launcher is not None:
            return [self.launcher.wait()]
        for child in self.children:
            child.join()
        return [child.exitcode if child.exitcode is not None else 0 for child in self.children]

    def cleared(self, left_s: float) -> None:
        """Wait until no process of this start is left.

        Raises:
            AssertionError: some are, after `left_s` seconds.
        """
        told = False
        while left := self.left():
            after = time.monotonic() - self.ended_at
            if not told and after > 0.3 and self.launcher is None:  # who stops in order gets the time for it
                told = True
                _signal(left, signal.SIGTERM)
            assert after < left_s, f'{len(left)} processes are left after {left_s:.0f} s:\n{self.output()[-3000:]}'
            time.sleep(0.02)
        self.gone_at = time.monotonic()

    def left(self) -> list[int]:
        """Process ids of this start: ranks, their workers and the launcher."""
        sessions = {child.pid for child in self.children}
        if self.launcher is not None:
            self.launcher.poll()  # else it stays as a zombie
        found = []
        for entry in Path('/proc').iterdir():
            with contextlib.suppress(OSError, ValueError):
                state, _, _, session, *_ = (entry / 'stat').read_text().rpartition(')')[2].split()
                mine = int(session) in sessions or self._mark() in (entry / 'environ').read_bytes().split(b'\0')
                if mine and state != 'Z':
                    found.append(int(entry.name))
        return found

    def _mark(self) -> bytes:
        return f'{MARK}={self.folder}'.encode()

    def kill_all(self) -> None:
        """SIGKILL to everything at once, as when a machine goes down."""
        while left := self.left():
            _signal(left, signal.SIGKILL)
            time.sleep(0.01)

    def send(self, number: int, pids: list[int]) -> None:
        """A signal to processes, of which some may be gone."""
        _signal(pids, number)

    def output(self) -> str:
        """What all processes printed."""
        return ''.join(path.read_text(errors='replace') for path in sorted(self.folder.glob('output*')))

    def reported(self) -> list[Path]:
        """Checkpoints that the run said it had saved, in order."""
        return [Path(path) for path in SAVED.findall(self.output())]

    def notes(self, what: str | None = None) -> list[dict]:
        """Lines of the journal."""
        return [line for line in notes(self.journal) if what in (None, line['what'])]


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f'/proc/{pid}/task').glob('*/children'):
        with contextlib.suppress(OSError):
            found += [int(child) for child in task.read_text().split()]
    return found


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
