"""SIGKILLs and signals at random moments, over four methods with 1 and 2 processes: nothing is lost, and the end is the same."""

import json
import os
import signal
from pathlib import Path

import pytest

from .__main__ import series
from .methods import METHODS
from .plan import MOMENTS, draw, spread
from .series import LEFT_S, STOP_S

RESULT = Path(__file__).parents[1] / 'results' / 'hundred_kills_fifty_signals.json'
CELLS = [f'{method} x {number}' for method in METHODS for number in (1, 2)]
DRAWN = 3  # seed of the tenth: every moment, every signal, every target


@pytest.mark.slow
@pytest.mark.dist
def test_a_tenth(tmp_path):
    """Other tests may run at the same time, so the time limits are wider."""
    result = series(tmp_path, kills=10, signals=5, seed=DRAWN, epochs=4, patience=4)
    assert (result['all']['kills'], result['all']['signals']) == (10, 5) and list(result['cells']) == CELLS
    assert all(cell['runs to the end'] > 0 for cell in result['cells'].values())


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.long
def test_the_whole_series(tmp_path):
    """A hundred and fifty; its result stands in results/."""
    result = series(tmp_path, kills=100, signals=50, out=RESULT)
    assert (result['all']['kills'], result['all']['signals']) == (100, 50)


def test_the_result_that_is_kept():
    result = json.loads(RESULT.read_text())
    everything = result['all']
    assert list(result['cells']) == CELLS and (everything['kills'], everything['signals']) == (100, 50)
    assert all(cell['runs to the end'] > 0 for cell in result['cells'].values())
    assert all(everything[f'at {moment}'] > 5 for moment in MOMENTS), 'the seed draws too little'
    assert all(everything[f'to {target}'] > 5 for target in ('rank', 'all', 'launcher')) and everything['launched'] > 10
    assert all(everything[name] > 2 for name in ('SIGUSR1', 'SIGUSR2', 'SIGTERM', 'SIGHUP', 'SIGINT'))
    assert everything['left_s'] < LEFT_S and everything['stop_s'] < STOP_S


def test_the_plan_is_drawn_from_its_seed():
    plan = draw(0, 'MoCo x 1', 13, 6)
    assert plan == draw(0, 'MoCo x 1', 13, 6) != draw(1, 'MoCo x 1', 13, 6)
    assert sum(what.kills for what in plan) == 13 and len(plan) == 19
    assert all(what.signals[-1] == signal.SIGKILL for what in plan if what.kills)
    assert spread(50, 8) == [6, 6, 6, 7, 6, 6, 6, 7] and sum(spread(5, 8)) == 5


def test_what_the_series_would_find(tmp_path):
    """A file that is cut off is found, whatever its name says."""
    import torch

    from .series import iteration_of, newest

    torch.save({'meta': {'iter': 4}}, tmp_path / 'iter_4.pth')
    os.symlink('iter_4.pth', tmp_path / 'latest.pth')
    assert newest(tmp_path) == 4 and newest(tmp_path / 'none') == 0
    assert iteration_of(Path('epoch_2.pth')) == 12 and iteration_of(Path('/runs/iter_7.pth')) == 7
    data = (tmp_path / 'iter_4.pth').read_bytes()
    (tmp_path / 'iter_6.pth').write_bytes(data[: len(data) // 2])
    with pytest.raises(AssertionError, match=r'iter_6\.pth is damaged'):
        newest(tmp_path)
