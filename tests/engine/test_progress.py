"""`progress` of `after_update`: finished iterations / all of them, at the iteration that made the step."""

import math

import pytest
import torch

from selfsup.models.algorithms import BYOL
from tests.resume.runs import train, write_config

TOTAL = 18  # three epochs of six iterations


def seen(monkeypatch):
    found, original = [], BYOL.after_update

    def after_update(self, carries, progress):
        found.append((len(carries), progress))
        return original(self, carries, progress)

    monkeypatch.setattr(BYOL, 'after_update', after_update)
    return found


@pytest.mark.parametrize(('interval', 'closing'), [(1, range(TOTAL)), (4, (3, 5, 9, 11, 15, 17)), (6, (5, 11, 17))])
def test_progress_counts_the_iterations_before_this_one(tmp_path, monkeypatch, interval, closing):
    found = seen(monkeypatch)
    work_dir = train(
        write_config(tmp_path, 'BYOL'), tmp_path / 'work', f'optimizer_config.update_interval={interval}', curves=False
    )
    assert [progress for _, progress in found] == [i / TOTAL for i in closing]
    assert sum(carries for carries, _ in found) == TOTAL
    momentum = torch.load(work_dir / 'epoch_3.pth', weights_only=True)['state_dict']['momentum']
    assert momentum.item() == pytest.approx(1 - 0.1 * (math.cos(math.pi * 17 / 18) + 1) / 2, rel=1e-6)


def test_progress_goes_on_after_a_resume(tmp_path, monkeypatch):
    config = write_config(tmp_path, 'BYOL')
    train(config, tmp_path / 'work', stop_after=14, curves=False)
    found = seen(monkeypatch)
    train(config, tmp_path / 'work', resume_from=str(tmp_path / 'work' / 'epoch_2.pth'), curves=False)
    assert [progress for _, progress in found] == [i / TOTAL for i in range(12, TOTAL)]
