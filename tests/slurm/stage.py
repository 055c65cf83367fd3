"""What a case is given, and the few things that all cases do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from .cluster import Cluster
from .runs import PAUSE, ROOT, losses

PATIENCE_S = 600.0  # for anything that takes seconds: other tests may have the machine


class Stage(NamedTuple):
    """Of one case.

    Attributes:
        cluster: running, and its own.
        folder: to write into, its own.
        config: the tiny training, see `runs.write_config`.
        straight: the work dir of this training, with two processes, never interrupted, without Slurm.
        images: a folder for shipped configs, see `tests.shipped_configs.small.image_folder`.
    """

    cluster: Cluster
    folder: Path
    config: Path
    straight: Path
    images: Path

    def start(self, *words: object, **env: str) -> subprocess.CompletedProcess[str]:
        """A command of the repository, to its end: 'tools/x.sh' and 'benchmarks/x.sh' by bash, 'tools/x.py' by Python."""
        program = ['bash'] if str(words[0]).endswith('.sh') else [sys.executable]
        return self.cluster.run(
            *program, ROOT / str(words[0]), *words[1:], cwd=self.folder, env=self.environment(**env)
        )

    def done(self, *words: object, **env: str) -> subprocess.CompletedProcess[str]:
        """The same, which must end with 0."""
        ended = self.start(*words, **env)
        assert ended.returncode == 0, (
            f'{words[0]} ended with {ended.returncode}:\n{ended.stdout[-2000:]}\n{ended.stderr[-3000:]}'
        )
        return ended

    def batch(self, *settings: str, pause: float = 1.5, **env: str) -> str:
        """Send the tiny training, slow, by tools/sbatch_train.sh; gives the number of the job when it trains.

        Args:
            settings: of the config, more than those.
            pause: seconds before each iteration.
            env: for the script.
        """
        options = ['--work_dir', self.folder / 'run', '--cfg-options', f'{PAUSE}={pause}', *settings]
        sent = self.done('tools/sbatch_train.sh', 'main', self.config, 2, *options, **env)
        job = sent.stdout.split()[-1]
        self.wait_for_iteration(3, job=job)
        return job

    def wait_for_iteration(self, number: int, work_dir: Path | None = None, job: str | None = None) -> None:
        """Wait until the run, of a job that must not have ended, has logged that many iterations."""
        end = time.monotonic() + PATIENCE_S
        while len(losses(work_dir or self.folder / 'run')) < number:
            known = self.cluster.job(job) if job else {}
            lost = time.monotonic() > end or known.get('JobState') in ('FAILED', 'CANCELLED', 'NODE_FAIL', 'BOOT_FAIL')
            assert not lost, f'no iteration {number}: {known}\n{self.logs()}\n{self.cluster.log()}'
            time.sleep(0.5)

    def ended(self, job: str, *, restarts: int, state: str = 'COMPLETED', or_more: bool = False) -> dict[str, str]:
        """Wait for the end of a job; it must have been requeued that often, `or_more`: where a busy machine needs more starts."""
        try:
            known = self.cluster.wait_for(
                job, 'COMPLETED', 'FAILED', 'CANCELLED', 'TIMEOUT', restarts=restarts, seconds=PATIENCE_S
            )
        except TimeoutError as error:
            raise AssertionError(f'{error}\n{self.logs()}') from None
        assert known['JobState'] == state, f'{known}\n{self.logs()}'
        assert int(known['Restarts']) == restarts or or_more, f'{known}\n{self.logs()}'
        return known

    def logs(self) -> str:
        """What the jobs of this case printed."""
        return '\n'.join(f'--- {path.name}\n{path.read_text()}' for path in sorted(self.folder.rglob('*.out')))

    @staticmethod
    def environment(**more: str) -> dict[str, str]:
        """For a command: this Python and this checkout, one thread."""
        return {
            'PYTHON': sys.executable,
            'PYTHONPATH': f'{ROOT}{os.pathsep}{os.environ.get("PYTHONPATH", "")}'.rstrip(os.pathsep),
            'OMP_NUM_THREADS': '1',
            **more,
        }
