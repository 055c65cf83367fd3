"""All cases, several at a time, each in a cluster of its own: python -m tests.slurm.run [name ...]; a table, and 1 where a case fails."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.shipped_configs import small

from . import cases, cases_protocols
from .cluster import Cluster, obstacle
from .runs import ROOT, write_config
from .stage import Stage

Case = Callable[[Stage], None]
AT_ONCE = 4  # most of them wait most of the time
# Those that wait for minutes of Slurm's come first.
CASES: dict[str, Case] = {
    case.__name__: case
    for case in (
        cases.a_signal_before_the_end_of_the_time,
        cases.the_end_of_the_time_without_a_signal,
        cases.preemption_by_a_higher_partition,
        cases.the_commands_of_the_guide,
        cases_protocols.linear_semi_and_finetuning,
        cases_protocols.detection,
        cases_protocols.svm_of_an_epoch_and_extraction,
        cases.submitted_and_requeued,
        cases.a_signal_and_a_requeue,
        cases.srun_ends_with_the_status_of_a_stopped_run,
        cases.a_cancelled_job_saves_and_stays_away,
        cases.two_jobs_on_one_node,
        cases.submitted_and_failing,
        cases.two_nodes_one_task,
        cases.one_node_two_tasks,
        cases_protocols.accuracy_of_a_classifier,
        cases.a_batch_script_without_srun,
    )
}


def prepare(folder: Path) -> tuple[Path, Path, Path]:
    """What all cases share: the config, its uninterrupted run with two processes, images for shipped configs."""
    config = write_config(folder)
    command = ['bash', str(ROOT / 'tools' / 'dist_train.sh'), str(config), '2', '--work_dir', str(folder / 'straight')]
    done = subprocess.run(
        command, env={**_outside(), **Stage.environment()}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return config, folder / 'straight', small.image_folder(folder / 'photos')


def _outside() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith('SLURM_')}


def play(name: str, folder: Path, config: Path, straight: Path, images: Path) -> None:
    """One case, in a cluster of its own, of which nothing may be left.

    Raises:
        Exception: whatever the case raises; AssertionError: a process is left.
    """
    (folder / 'work').mkdir(parents=True)
    with Cluster(folder / 'cluster') as cluster:
        CASES[name](Stage(cluster, folder / 'work', config, straight, images))
    assert cluster.left_over() == []


def _timed(name: str, folder: Path, *shared: Path) -> tuple[float, str | None]:
    start, failure = time.monotonic(), None
    try:
        play(name, folder / name, *shared)
    except Exception:
        failure = traceback.format_exc()
    return time.monotonic() - start, failure


def main(names: list[str]) -> int:
    """Play these cases, or all; the exit status."""
    reason = obstacle()
    if reason is not None:
        print(f'cannot run: {reason}')
        return 1
    unknown = set(names) - set(CASES)
    if unknown:
        print(f'no case is named {", ".join(sorted(unknown))}; there are:', *CASES, sep='\n  ')
        return 2
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    chosen, start = [name for name in CASES if name in names or not names], time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix='selfsup-slurm-'))
    pool = ThreadPoolExecutor(AT_ONCE)
    failures: dict[str, str] = {}
    try:
        shared = prepare(folder)
        waiting = {pool.submit(_timed, name, folder, *shared): name for name in chosen}
        print(f'{"case":50}{"seconds":>8}', flush=True)
        for done in as_completed(waiting):
            seconds, failure = done.result()
            print(f'{waiting[done]:50}{seconds:8.1f}  {"FAILED" if failure else "passed"}', flush=True)
            if failure:
                failures[waiting[done]] = failure
    except KeyboardInterrupt:
        print('interrupted: ending the clusters', flush=True)
        pool.shutdown(wait=False, cancel_futures=True)
        for _ in range(2):  # a case may just have started something
            for path in folder.glob('*/cluster'):
                Cluster(path).stop()
            time.sleep(0.5)
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(130)  # the cases wait for what has ended
    for name, failure in failures.items():
        print(f'\n=== {name}\n{failure}')
    print(f'{len(chosen) - len(failures)} of {len(chosen)} passed in {time.monotonic() - start:.0f} s')
    if failures:
        print(f'logs: {folder}')
    else:
        shutil.rmtree(folder)
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
