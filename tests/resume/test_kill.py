"""SIGKILL at random moments: every start goes on from the right checkpoint, and the end is that of a run that was never stopped."""

import json
from pathlib import Path

import pytest

from .kill_series import DAMAGE, series

RESULT = Path(__file__).with_name('results') / 'hundred_kills.json'


@pytest.mark.slow
def test_ten_kills(tmp_path):
    """With max_keep_ckpts=1 there is one file of iterations and one of epochs: deleting one too early would show."""
    result = series(tmp_path, kills=10, seed=1, epochs=12)
    assert result['kills'] == 10 and result['older resumed'] and sum(result[how] for how in DAMAGE), (
        'the seed draws too little'
    )
    assert result['differences from a straight run'] == []


@pytest.mark.slow
@pytest.mark.long
def test_a_hundred_kills(tmp_path):
    """The whole series; its result stands in results/hundred_kills.json."""
    result = series(tmp_path, kills=100, seed=0, epochs=60)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + '\n')
    assert result['kills'] == 100
    assert result['differences from a straight run'] == []


def test_the_result_that_is_kept():
    result = json.loads(RESULT.read_text())
    assert result['kills'] == 100 and result['differences from a straight run'] == []
    assert (
        result['older resumed'] > 5
        and all(result[how] > 0 for how in DAMAGE)
        and result['kills that left a half-written file'] > 0
    )
