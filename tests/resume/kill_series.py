"""A seeded series of kills of one run, with resumes of older checkpoints and damaged files in between.

The run keeps one file of iterations and one of epochs. What it should go on from is worked out here in another way than by the run itself:
every start adds its number to a trail that is kept in the checkpoint, a journal outside of the work dir says what was saved, and damage
is seen by the check sums of the zip file.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.hooks import Hook

from selfsup.registry import HOOKS
from tests.distributed.helpers import forking

from .runs import differences, train, write_config

PER_EPOCH = 6  # iterations
DAMAGE = ('cut off', 'bit flipped', 'hole of zeros')


@HOOKS.register_module(force=True)
class Trail(Hook):
    """Notes in every checkpoint which starts led to it, and in a journal what was resumed and saved.

    The number of the start and the journal come from the environment: the config stays the same from start to start.
    """

    priority = 'LOWEST'  # after the checkpoints of an iteration

    def __init__(self) -> None:
        self.start, self.journal, self.trail = int(os.environ['TRAIL_START']), os.environ['TRAIL_JOURNAL'], []

    def after_load_checkpoint(self, runner, checkpoint) -> None:
        self.trail = checkpoint['meta']['trail']

    def before_train(self, runner) -> None:
        self._note(start=self.start, resumed=self.trail, iteration=runner.iter)
        self.trail = [*self.trail, self.start]

    def before_save_checkpoint(self, runner, checkpoint) -> None:
        checkpoint['meta']['trail'] = self.trail

    def after_save_checkpoint(self, runner, path, iteration) -> None:
        """The file is on the disk: written by a thread, perhaps while training was an iteration further on."""
        self._note(start=self.start, saved=iteration)

    def _note(self, **what) -> None:
        file = os.open(self.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, (json.dumps(what) + '\n').encode())
        os.close(file)


def _run(config: str, work_dir: str, epochs: int, start: int, journal: str, resume_from: str | None) -> None:
    os.setsid()
    os.environ.update(TRAIL_START=str(start), TRAIL_JOURNAL=journal)
    hooks = "custom_hooks=[dict(type='CheckpointHook', by_epoch=True, max_keep_ckpts=1), dict(type='Trail')]"
    train(
        config,
        work_dir,
        'checkpoint_config.by_epoch=False',
        'checkpoint_config.max_keep_ckpts=1',
        'log_config.interval=6',
        'lr_config=None',
        f'total_epochs={epochs}',
        hooks,
        curves=False,
        resume_from=resume_from,
        auto_resume=resume_from is None,
    )


@dataclass
class Truth:
    """What the run in the work dir should know: the trail that it follows, and where on it each start began."""

    trail: list[int] = field(default_factory=list)
    began: dict[int, int] = field(default_factory=dict)  # start -> iterations finished when it began
    saved: int = 0  # last iteration that the journal knows to be on the disk, and that was not damaged since

    def follows(self, trail: list[int], iteration: int) -> bool:
        """True where a checkpoint lies on the followed line, which may have left it behind."""
        if trail != self.trail[: len(trail)]:
            return False
        return len(trail) == len(self.trail) or iteration <= self.began[self.trail[len(trail)]]


def intact(path: Path) -> dict | None:
    """`meta` of a checkpoint whose check sums are right; None for any other file."""
    with contextlib.suppress(Exception), zipfile.ZipFile(path) as archive:
        if archive.testzip() is None:
            return torch.load(path, weights_only=True, mmap=True)['meta']
    return None


class Series:
    """One series.

    Args:
        folder: an empty folder.
        seed: of the kills, resumes and damages.
        epochs: length of the run.
    """

    def __init__(self, folder: Path, seed: int, epochs: int) -> None:
        self.folder, self.epochs, self.draw = folder, epochs, random.Random(seed)
        self.config = str(write_config(folder / 'config'))
        self.work_dir, self.journal, self.pool = folder / 'work', folder / 'journal', folder / 'pool'
        self.pool.mkdir()
        self.truth, self.starts = Truth(), 0
        self.origin: Path | None = None  # the file outside of the work dir that was resumed last
        self.counts = dict.fromkeys(
            [
                'kills',
                'kills before the first iteration',
                'kills that left a half-written file',
                'older resumed',
                *DAMAGE,
                'set aside',
            ],
            0,
        )
        self.context = forking()

    def start(self, work_dir: Path, saves: int | None, resume_from: str | None = None) -> bool:
        """Train; True where the run was killed, soon after it had done `saves` iterations, False where it came to its end."""
        arguments = self.config, str(work_dir), self.epochs, self.starts, str(self.journal), resume_from
        child = self.context.Process(target=_run, args=arguments)
        child.start()
        while saves is not None and child.is_alive() and len(self._journal(self.starts)) <= saves:
            time.sleep(0.002)  # how long an iteration takes depends on the machine
        child.join(timeout=None if saves is None else self.draw.uniform(0, 0.08))
        alive = child.is_alive()
        if alive:
            os.killpg(child.pid, signal.SIGKILL)
            child.join()
        elif child.exitcode != 0:
            raise AssertionError(f'start {self.starts} failed: {child.exitcode}')
        return alive

    def _journal(self, start: int) -> list[dict]:
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        return [entry for entry in map(json.loads, lines[-200:]) if entry['start'] == start]

    def files(self) -> dict[Path, dict]:
        """Intact checkpoints on the followed line, newest last."""
        found = {
            path: intact(path) for path in (*self.work_dir.glob('*_*.pth'), *([self.origin] if self.origin else []))
        }
        found = {p: m for p, m in found.items() if m and self.truth.follows(m['trail'], m['iter'])}
        return dict(sorted(found.items(), key=lambda item: (item[1]['iter'], len(item[1]['trail']))))

    def kill(self) -> None:
        """One start and its end, with what was done to the files before it."""
        act = self.draw.choices(['nothing', 'damage', 'older'], [0.5, 0.25, 0.25])[0]
        resume_from = self._older() if act == 'older' else None
        if act == 'damage':
            self._damage()
        expected = (
            intact(Path(resume_from))
            if resume_from
            else next(reversed(self.files().values()), {'trail': [], 'iter': 0})
        )
        assert resume_from or expected['iter'] >= self.truth.saved, (
            f'{self.truth.saved} was saved, {expected["iter"]} is left'
        )
        killed = self.start(self.work_dir, self.draw.randint(0, 7), resume_from)
        first, *saves = self._journal(self.starts) or [None]
        if first is None:
            raise AssertionError(f'start {self.starts} never began to train')
        assert (first['resumed'], first['iteration']) == (expected['trail'], expected['iter']), (
            f'start {self.starts} went on from {first["iteration"]} of {first["resumed"]} and not from {expected["iter"]} of '
            f'{expected["trail"]}'
        )
        self.truth.trail = [*first['resumed'], self.starts]
        self.truth.began[self.starts] = first['iteration']
        self.truth.saved = saves[-1]['saved'] if saves else first['iteration']
        self.counts['kills'] += killed
        self.counts['kills before the first iteration'] += killed and not saves
        self.counts['kills that left a half-written file'] += bool(list(self.work_dir.glob('.*.pth.*.tmp')))
        self.starts += 1
        if self.draw.random() < 0.3 and (files := self.files()):
            newest = list(files)[-1]
            shutil.copy(newest, self.pool / f'{len(list(self.pool.iterdir())):03d}.pth')

    def _older(self) -> str | None:
        """A copy that was taken earlier: of this line or of one that was left since."""
        copies = sorted(self.pool.iterdir())[-6:]
        if not copies:
            return None
        self.counts['older resumed'] += 1
        self.origin = self.draw.choice(copies)
        return str(self.origin)

    def _damage(self) -> None:
        """Spoil the newest file where there is one before it."""
        files = self.files()
        last = next(reversed(files.values()), {'iter': 0})['iter']
        newest = [path for path, meta in files.items() if meta['iter'] == last]
        if len(newest) == len(files) or self.origin in newest:
            return
        how = self.draw.choice(DAMAGE)
        for path in newest:
            data = bytearray(path.read_bytes())
            at = self.draw.randrange(len(data) // 4, len(data) // 2)
            if how == 'cut off':
                del data[at:]
            elif how == 'bit flipped':
                data[at] ^= 1 << self.draw.randrange(8)
            else:
                data[at : at + 4096] = bytes(4096)
            path.write_bytes(data)
            if intact(path):  # a bit between two entries of the zip file
                path.write_bytes(data[:at])
        self.counts[how] += 1
        self.truth.saved = next(reversed(self.files().values()))['iter']

    def finish(self) -> dict:
        """Train to the end and compare with a run that was never stopped."""
        assert not self.start(self.work_dir, None)
        self.starts += 1
        straight = self.folder / 'straight'
        assert not self.start(straight, None)
        last = [f'epoch_{self.epochs}.pth', f'iter_{self.epochs * PER_EPOCH}.pth']
        assert sorted(p.name for p in self.work_dir.glob('*_*.pth')) == last, 'files that nothing needs are left'
        assert not list(self.work_dir.glob('.*.tmp')), 'a restart clears what a killed save left'
        self.counts['set aside'] = len(list(self.work_dir.glob('aside_*/*.pth')))
        different = [name for path in last for name in differences(straight / path, self.work_dir / path)]
        return {**self.counts, 'iterations': self.epochs * PER_EPOCH, 'differences from a straight run': different}


def series(folder: Path, kills: int, seed: int, epochs: int) -> dict:
    """Run a series; an AssertionError says at which start it went wrong.

    Args:
        folder: an empty folder.
        kills: how many.
        seed: of the series.
        epochs: length of the run; it must not come to its end before the last kill.
    """
    run = Series(folder, seed, epochs)
    for _ in range(2 * kills):
        if run.counts['kills'] == kills:
            break
        run.kill()
    return {'seed': seed, **run.finish()}
