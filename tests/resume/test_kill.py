"""SIGKILL at random moments: the last complete checkpoint stays, and every restart continues exactly."""

import multiprocessing
import os
import random
import signal
import time

import pytest

from selfsup.checkpoint_io import read_checkpoint

from .runs import differences, train, write_config

OPTIONS = ('checkpoint_config.by_epoch=False', 'checkpoint_config.max_keep_ckpts=1', 'total_epochs=150')


def _run(config, work_dir):
    os.setsid()
    train(config, work_dir, *OPTIONS, auto_resume=True)


@pytest.mark.slow
def test_twenty_kills(tmp_path):
    """With max_keep_ckpts=1 the only complete file is the newest: deleting it too early would show."""
    config = write_config(tmp_path / 'config')
    straight = train(config, tmp_path / 'straight', *OPTIONS)
    work_dir = tmp_path / 'killed'
    context = multiprocessing.get_context('forkserver')  # imports once, forks a clean child for each start
    context.set_forkserver_preload(['selfsup.engine', 'selfsup.hooks', 'selfsup.models.algorithms', 'mmcv.cnn', 'sklearn.datasets'])
    draw = random.Random(0)
    kills, newest = 0, 0
    for _ in range(60):
        child = context.Process(target=_run, args=(config, work_dir))
        child.start()
        child.join(timeout=draw.uniform(0.5, 2.5) if kills < 20 else 120)
        if child.is_alive():
            os.killpg(child.pid, signal.SIGKILL)
            child.join()
            kills += 1
        elif child.exitcode == 0:
            break
        else:
            pytest.fail(f'a restart failed after {kills} kills')
        files = sorted(work_dir.glob('iter_*.pth'), key=lambda p: int(p.stem.split('_')[1])) if work_dir.exists() else []
        if newest:
            assert files, 'the last complete checkpoint is gone'
        for file in files:
            read_checkpoint(file)  # every file under a final name is complete
        at = int(files[-1].stem.split('_')[1]) if files else 0
        assert at >= newest, 'an older checkpoint is all that is left'
        newest = at
        time.sleep(0.01)
    assert differences(straight / 'iter_900.pth', work_dir / 'iter_900.pth') == []
    assert not list(work_dir.glob('.*.tmp')), 'a restart clears what a killed save left'
    assert kills == 20, f'only {kills} kills hit the run before it was done'
