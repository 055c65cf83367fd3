"""A run in which one process hangs ends soon, and says which one."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest
from torch.distributed import HashStore

from selfsup.cluster.agent import HANGS
from selfsup.cluster.tree import own_identity
from selfsup.engine.processes.signs import Sign
from selfsup.engine.processes.watch import VERDICT, Watch
from selfsup.errors import ConfigError
from selfsup.heartbeat import Heart

from . import watched_ranks
from .watched_ranks import TIMEOUT_S, Ranks

pytestmark = [pytest.mark.dist, pytest.mark.skipif(not Path('/proc').exists(), reason='signs are read from /proc')]
HOST = os.uname().nodename


@pytest.fixture
def start(tmp_path):
    """`start(act)`: two ranks, see `Ranks`; all are ended after the test."""
    started = []

    def run(act):
        started.append(Ranks(tmp_path, act))
        return started[-1]

    yield run
    for ranks in started:
        ranks.kill()


@pytest.mark.parametrize('victim', [0, 1])
def test_a_stopped_rank_is_named_and_ends_with_the_others(start, victim):
    """Rank 0 keeps the store that all signs go through."""
    ranks = start(watched_ranks.step)
    ranks.until('ready')
    os.kill(ranks.pid(victim), signal.SIGSTOP)
    begun = time.monotonic()
    statuses = ranks.end()
    seconds = time.monotonic() - begun
    name = f'[rank {1 - victim}] error: rank {victim} ({HOST}, process {ranks.pid(victim)})'
    assert name in ranks.text() and 'it is stopped, or its machine is gone' in ranks.text()
    # the other ends it, as no SIGTERM of a launcher would
    assert statuses[1 - victim] == HANGS and statuses[victim] == -signal.SIGKILL
    assert seconds >= TIMEOUT_S / 2


@pytest.mark.parametrize('workers', [0, 2])
def test_a_dead_mount_is_named(start, tmp_path, workers):
    ranks = start(partial(watched_ranks.train_on_dead_mount, workers=workers))
    statuses = ranks.end()
    assert HANGS in statuses and set(statuses) <= {HANGS, -signal.SIGKILL}  # rank 1 may be ended by rank 0
    text = ranks.text()
    assert f'no process has made progress for {TIMEOUT_S:g} s. Rank 1 ({HOST}, process {ranks.pid(1)}): ' in text
    assert 'waiting for a batch (is the mount of the images dead?), and the others wait for it' in text
    below = [int(pid) for rank in range(2) for pid in (tmp_path / f'below{rank}').read_text().split()]
    assert len(below) >= 2 * workers
    end = time.monotonic() + 20
    while any(map(_runs, below)):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_long_work_is_not_taken_for_hanging(start):
    ranks = start(watched_ranks.work_for_long)
    assert ranks.end() == [0, 0], ranks.text()
    assert 'error' not in ranks.text()


def test_a_store_that_cannot_be_reached_for_a_moment_is_asked_again():
    store, tried = HashStore(), []
    store.set(VERDICT, '')

    def connect():
        tried.append(time.monotonic())
        if len(tried) < 3:
            raise ConfigError('... cannot be reached')  # as `joining` says it
        return store

    watch = Watch(connect, Heart(), Sign(0, HOST, own_identity()), 1, timeout_s=1.0, holder='nobody')
    watch.start()
    end = time.monotonic() + 20
    while len(tried) < 3 and time.monotonic() < end:
        time.sleep(0.01)
    watch.leave()
    assert Sign.unpack(store.get('sign/0')).left


def _runs(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False
