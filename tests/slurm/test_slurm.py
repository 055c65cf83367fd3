"""Cases under a real Slurm of this machine, each in a cluster of its own. All of them, in a table: bash tests/slurm/run.sh"""

from __future__ import annotations

import pytest

from . import run
from .cluster import obstacle

pytestmark = [
    pytest.mark.slow,
    pytest.mark.dist,
    pytest.mark.skipif(obstacle() is not None, reason=f'no Slurm: {obstacle()}'),
]
# What the others have too, and what takes no minutes of waiting.
IN_CI = (
    'two_nodes_one_task',
    'two_jobs_on_one_node',
    'a_signal_and_a_requeue',
    'preemption_by_a_higher_partition',
    'submitted_and_requeued',
    'svm_of_an_epoch_and_extraction',
)


@pytest.fixture(scope='module')
def shared(tmp_path_factory):
    return run.prepare(tmp_path_factory.mktemp('shared'))


@pytest.mark.parametrize(
    'name', [name if name in IN_CI else pytest.param(name, marks=pytest.mark.long) for name in run.CASES]
)
def test_case(name, shared, tmp_path):
    run.play(name, tmp_path, *shared)
