"""Interrupt a run as the plan says, judge every start, and compare the end with a run that was never interrupted."""

from __future__ import annotations

import contextlib
import json
import signal
import statistics
import time
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from tests.distributed.helpers import forking
from tests.resume.runs import differences

from .methods import PER_EPOCH, write
from .plan import Interruption, draw
from .starts import Start, warm_up

STOPPED, CTRL_C = 75, 130  # documented exit statuses
LEFT_S = 10.0  # after which no process may be left
STOP_S = 60.0  # within which a run that is asked to stop has left
HEARD = 6  # iterations within which a run that comes to its end may still not have stopped
LAUNCH_S = 6.0  # about what imports take, in a start through the launchers


@dataclass
class Times:
    """How long parts of a run take, in seconds: moments lie within them."""

    start: float
    iteration: float
    saving: float
    epoch: float

    @classmethod
    def of(cls, notes: list[dict[str, Any]], began_at: float) -> Times:
        """Read off the journal of a run that was not interrupted."""
        after: dict[str, list[float]] = {}
        for one, following in pairwise(notes):
            after.setdefault(one['what'], []).append(following['time'] - one['time'])
        took = {what: statistics.fmean(seconds) for what, seconds in after.items()}
        return cls(notes[0]['time'] - began_at, took['iteration'], max(took['saving'], 0.03), took['epoch'])

    def scale(self, what: Interruption) -> float:
        """Seconds that a moment takes."""
        if what.moment == 'start':
            return self.start + (LAUNCH_S if what.launched else 0)
        return self.iteration if what.moment == 'stopping' else getattr(self, what.moment)


@dataclass
class Life:
    """What is known of the run in one work dir, from its first start to its end."""

    work_dir: Path
    reported: int = 0  # the last iteration that the run said it had saved
    stopped_at: int | None = None  # where it stopped in order and left, if that is what happened last


@dataclass
class Cell:
    """One method with one number of processes.

    Args:
        folder: an empty folder.
        method: of `methods.METHODS`.
        processes: 1 or 2.
        seed: of the plan.
        epochs: length of the run; when it has come to its end, the next one begins.
        patience: factor of the time limits, for machines with more to do.
    """

    folder: Path
    method: str
    processes: int
    seed: int = 0
    epochs: int = 8
    patience: float = 1
    counts: Counter = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=lambda: {'left_s': 0.0, 'stop_s': 0.0})

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config = write(self.folder, self.method, self.processes, self.epochs)
        self.context, self.starts = forking(), 0
        self.life = self._new_life()

    @property
    def name(self) -> str:
        return f'{self.method} x {self.processes}'

    def run(self, kills: int, signals: int, say: Any = print) -> dict[str, Any]:
        """Interrupt as often as asked, then train to the end.

        Returns:
            What happened, as it is kept: numbers by kind, and the longest times.

        Raises:
            AssertionError: something was lost, the run did not go on where it should, something is left, or the end is another.
        """
        began = time.monotonic()
        self._straight()
        plan = draw(self.seed, self.name, kills, signals)
        for number, what in enumerate(plan):
            while not self._interrupt(what):  # it came to its end before the moment: the next run is interrupted
                pass
            say(f'{self.name}: {number + 1}/{len(plan)} {what}: iteration {self.life.reported}', flush=True)
        while not self._go_on(None):
            pass
        slowest = {name: round(seconds, 2) for name, seconds in self.slowest.items()}
        counts = dict(sorted(self.counts.items()))
        took = round(time.monotonic() - began, 1)
        return {'starts': self.starts, **counts, **slowest, 'took_s': took}

    def _new_life(self) -> Life:
        return Life(self.folder / f'life{self.counts["runs to the end"] + 1}')

    def _start(self, work_dir: Path, launched: bool) -> Start:
        self.starts += 1
        folder = self.folder / f'start{self.starts:03d}'
        return Start(folder, self.config, work_dir, self.processes, launched, self.context)

    def _straight(self) -> None:
        """The run that is never interrupted."""
        warm_up(self.context)
        start = self._start(self.folder / 'straight', launched=False)
        assert set(start.end(300 * self.patience, LEFT_S * self.patience)) == {0}, start.output()[-3000:]
        self.times = Times.of(start.notes(), start.began_at)
        self.losses = losses(self.folder / 'straight')
        assert sorted(self.losses) == list(range(1, self.epochs * PER_EPOCH + 1))

    def _interrupt(self, what: Interruption) -> bool:
        """True where the interruption came before the end of the run."""
        if self._go_on(what):
            return False
        self.counts['kills' if what.kills else 'signals'] += 1
        self.counts[f'at {what.moment}'] += 1
        self.counts[f'to {what.target}'] += 1
        self.counts['launched'] += what.launched
        for number in what.signals:
            self.counts[signal.Signals(number).name] += 1
        return True

    def _go_on(self, what: Interruption | None) -> bool:
        """Start the run again; True where it came to its end."""
        expected = newest(self.life.work_dir)
        assert expected >= self.life.reported, f'iteration {self.life.reported} was saved, {expected} is left'
        if self.life.stopped_at is not None:
            assert expected == self.life.stopped_at, f'stopped at {self.life.stopped_at}, {expected} is saved'
        start = self._start(self.life.work_dir, launched=bool(what and what.launched))
        try:
            sent_at = self._send(start, what) if what else None
            hard = what is not None and what.kills and sent_at is not None
            limit = (LEFT_S if hard else STOP_S if sent_at else 300) * self.patience
            statuses = start.end(limit, LEFT_S * self.patience)
            over = self._judge(start, what if sent_at else None, statuses, expected)
        except AssertionError as problem:
            raise AssertionError(f'{self.name}, start {self.starts}, {what}: {problem}') from None
        finally:
            start.kill_all()
        kind = 'left_s' if hard or not sent_at else 'stop_s'
        self.slowest[kind] = max(self.slowest[kind], start.gone_at - (sent_at or start.ended_at))
        if over:
            self._compare()
            self.life = self._new_life()
        return over

    def _send(self, start: Start, what: Interruption) -> float | None:
        """Wait for the moment and send; when that was, or None where the run ended before."""
        wanted = {'start': 'began', 'stopping': 'iteration'}.get(what.moment, what.moment)
        limit = 120 * self.patience
        if what.moment != 'start' and not start.wait_for(
            lambda: bool(start.notes('began')) and len(start.notes(wanted)) >= what.count, limit
        ):
            return None
        end = time.monotonic() + what.share * self.times.scale(what)
        # a start that takes less than others is interrupted as it begins to train, and not when it has trained for long
        while time.monotonic() < end and not (what.moment == 'start' and start.notes('began')):
            time.sleep(0.001)
        self.began_before, self.trained_before = bool(start.notes('began')), len(start.notes('iteration'))
        sent_at = time.monotonic()
        for number, pause in zip(what.signals, (0.0, *what.pauses), strict=True):
            time.sleep(pause)
            if not start.is_running():
                break
            self._send_one(start, what, number)
        return sent_at

    def _send_one(self, start: Start, what: Interruption, number: int) -> None:
        ranks = start.ranks()
        if what.target == 'launcher' and start.launcher is not None:
            start.send(number, [start.launcher.pid])
        elif what.target == 'rank' and ranks:
            start.send(number, [ranks[what.rank % len(ranks)]])
        elif number == signal.SIGKILL:
            start.kill_all()
        else:
            start.send(number, ranks)

    def _judge(self, start: Start, what: Interruption | None, statuses: list[int], expected: int) -> bool:
        """Check one start; True where the run has come to its end."""
        began, trained, ended = start.notes('began'), start.notes('iteration'), start.notes('ended')
        if began:
            assert began[0]['iteration'] == expected, f'went on from {began[0]["iteration"]}, not from {expected}'
        self.life.reported = max([self.life.reported, *map(iteration_of, start.reported())])
        self.life.stopped_at = None
        if set(statuses) == {0}:
            assert ended, f'left with 0 before the end:\n{start.output()[-2000:]}'
            ignored = what is not None and len(trained) > self.trained_before + HEARD
            assert not ignored, f'trained on to the end, as if nothing had been sent:\n{start.output()[-2000:]}'
            return True
        assert what is not None, f'failed, {statuses}:\n{start.output()[-3000:]}'
        assert 'Traceback' not in start.output() or what.kills, start.output()[-3000:]
        if not what.is_orderly or ended:
            return False
        # of signals that come at the same moment any may be the first; all processes leave with one status
        wanted = {CTRL_C if number == signal.SIGINT else STOPPED for number in what.signals}
        stopped = len(set(statuses)) == 1 and set(statuses) <= wanted
        if self.began_before:
            assert stopped, f'left with {statuses}, not {wanted}:\n{start.output()[-3000:]}'
        elif not began or not stopped:  # a signal that came before it was listened for
            assert 0 not in statuses, statuses
            self.counts['signals before the training'] += 1
            return False
        self.life.stopped_at = (trained or began)[-1]['iteration']
        return False

    def _compare(self) -> None:
        """The end must be that of the run that was never interrupted."""
        work_dir, straight = self.life.work_dir, self.folder / 'straight'
        last = [f'epoch_{self.epochs}.pth', f'iter_{self.epochs * PER_EPOCH}.pth']
        found = {path.name for path in work_dir.glob('*_*.pth')}
        # a kill after the last save, before what it replaces was removed, leaves that: nothing is saved any more that would remove it
        assert found >= set(last) and len(found) <= 3, f'{self.name}: the end has left {sorted(found)}, not {last}'
        self.counts['older files left at the end'] += len(found) - 2
        assert not list(work_dir.glob('.*.tmp')), 'a half-written file is left'
        different = [name for path in last for name in differences(straight / path, work_dir / path)]
        assert not different, f'{self.name}: another end than that of the run that was never interrupted: {different}'
        logged = losses(work_dir)
        wrong = {step: values for step, values in logged.items() if values != self.losses[step]}
        assert logged.keys() <= self.losses.keys() and not wrong, f'{self.name}: other losses: {wrong}'
        self.counts['losses compared'] += len(logged)
        self.counts['runs to the end'] += 1


def newest(work_dir: Path) -> int:
    """The last iteration that is on the disk.

    Raises:
        AssertionError: a checkpoint is damaged: it did not get its name before it was whole.
    """
    found = [0]
    for path in work_dir.glob('*_*.pth'):
        meta = None
        with contextlib.suppress(Exception), zipfile.ZipFile(path) as archive:
            if archive.testzip() is None:
                meta = torch.load(path, weights_only=True, mmap=True)['meta']
        assert meta is not None, f'{path} is damaged'
        found.append(meta['iter'])
    return max(found)


def iteration_of(path: Path) -> int:
    """What the name of a checkpoint says."""
    kind, number = path.stem.split('_')
    return int(number) * (PER_EPOCH if kind == 'epoch' else 1)


def losses(work_dir: Path) -> dict[int, set[float]]:
    """Iteration -> the losses that the JSON logs of all starts give for it; several where a part was trained again."""
    found: dict[int, set[float]] = {}
    for path in work_dir.glob('*/vis_data/2*.json'):
        for line in path.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # the last line of a start that was killed
                entry = json.loads(line)
                if 'loss' in entry:
                    found.setdefault(entry['step'], set()).add(entry['loss'])
    return found
