"""Cases under a real Slurm of this machine, each in a cluster of its own. All of them, in a table: bash tests/slurm/run.sh"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from . import run
from .cluster import obstacle

pytestmark = [
    pytest.mark.slow,
    pytest.mark.dist,
    pytest.mark.skipif(obstacle() is not None, reason=f'no Slurm here: {obstacle()}'),
]
# What the others have too, and what takes no minutes of waiting. `make test-long` has all.
IN_CI = (
    'preemption_by_a_higher_partition',
    'svm_of_an_epoch_and_extraction',
    'submitted_and_requeued',
    'a_signal_and_a_requeue',
    'two_nodes_one_task',
)
CASES = [name if name in IN_CI else pytest.param(name, marks=pytest.mark.long) for name in run.CASES]


@pytest.fixture(scope='module')
def played(request, tmp_path_factory):
    """Name of each case that was chosen -> its future: they wait most of the time, so several run at once."""
    chosen = [item.callspec.params['name'] for item in request.session.items if item.module is request.module]
    folder = tmp_path_factory.mktemp('slurm')
    shared = run.prepare(folder)
    with ThreadPoolExecutor(run.AT_ONCE) as pool:
        playing = {name: pool.submit(run.play, name, folder / name, *shared) for name in chosen}
        yield playing
        for one in playing.values():
            one.cancel()


@pytest.mark.parametrize('name', CASES)
def test_case(name, played):
    played[name].result()
