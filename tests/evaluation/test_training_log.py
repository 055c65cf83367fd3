"""Last and best accuracy from the logs of a run: straight, resumed, started over."""

from __future__ import annotations

import json

import pytest

from selfsup.errors import DataError
from selfsup.evaluation.results.training_log import last_and_best, logged_accuracies


def _start(work_dir, stamp, values, resume_from=None):
    """The folder of one start: `values` is epoch -> top-1."""
    logs = work_dir / stamp / 'vis_data'
    logs.mkdir(parents=True)
    (work_dir / stamp / 'compiled.json').write_text(json.dumps({'resume_from': resume_from}))
    measured = [
        {'head0_top1': value, 'knn_20': 9.0, 'epoch': epoch, 'iter': 5 * epoch} for epoch, value in values.items()
    ]
    lines = [{'loss': 1.0, 'epoch': 1, 'iter': 3}, *measured]
    (logs / f'{stamp}.json').write_text('\n'.join(map(json.dumps, lines)) + '\n')


def test_last_and_best_of_a_straight_run(tmp_path):
    _start(tmp_path, '20260101_1', {0: 99.0, 1: 30.0, 2: 50.0, 3: 40.0})
    found = logged_accuracies(tmp_path)
    assert found == {'head0_top1': {0: 99.0, 1: 30.0, 2: 50.0, 3: 40.0}}
    numbers, epochs = last_and_best(found)
    assert numbers == {'head0_top1_last': 40.0, 'head0_top1_best': 50.0} and epochs == {
        'head0_top1_last': 3,
        'head0_top1_best': 2,
    }


def test_of_equal_ones_the_earliest_is_the_best():
    assert last_and_best({'head0_top1': {1: 5.0, 2: 5.0}})[1]['head0_top1_best'] == 1


def test_a_resumed_run_goes_on_where_it_left_off(tmp_path):
    _start(tmp_path, '20260101_1', {0: 1.0, 1: 2.0, 2: 3.0, 3: 80.0})
    _start(tmp_path, '20260102_1', {2: 4.0, 3: 5.0}, resume_from='epoch_1.pth')
    assert logged_accuracies(tmp_path)['head0_top1'] == {0: 1.0, 1: 2.0, 2: 4.0, 3: 5.0}


def test_a_run_started_over_forgets_the_old_one(tmp_path):
    _start(tmp_path, '20260101_1', {1: 2.0, 2: 90.0})
    _start(tmp_path, '20260102_1', {1: 7.0})
    assert logged_accuracies(tmp_path)['head0_top1'] == {1: 7.0}


def test_a_run_without_validation_is_an_error(tmp_path):
    _start(tmp_path, '20260101_1', {})
    with pytest.raises(DataError, match='needs a ValidateHook'):
        logged_accuracies(tmp_path)


def test_the_half_line_of_a_killed_start_is_left_out_and_no_other(tmp_path):
    _start(tmp_path, '20260101_1', {1: 2.0, 2: 3.0})
    log = tmp_path / '20260101_1' / 'vis_data' / '20260101_1.json'
    log.write_text(log.read_text() + '{"head0_top1": 99.0, "epo')
    assert logged_accuracies(tmp_path)['head0_top1'] == {1: 2.0, 2: 3.0}
    log.write_text(log.read_text() + '\n{"head0_top1": 4.0, "epoch": 3}\n')
    with pytest.raises(DataError, match=r'20260101_1 cannot be read'):
        logged_accuracies(tmp_path)
