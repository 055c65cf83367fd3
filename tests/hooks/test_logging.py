"""What a run logs besides its losses."""

import json
import re

import pytest

from tests.resume.runs import train, write_config


def test_weight_decay_gradient_norm_and_finish_time(tmp_path):
    config = write_config(tmp_path / 'config')
    optimizer = "optimizer=dict(type='LAMB', lr=0.01, weight_decay=0.04, max_grad_norm=5.0)"
    work_dir = train(config, tmp_path / 'run', optimizer, 'weight_decay_config=dict(end=0.2)', 'log_config.interval=1')
    rows = [json.loads(line) for file in work_dir.glob('*/vis_data/2*.json') for line in file.read_text().splitlines()]
    decay = [row['weight_decay'] for row in rows if 'weight_decay' in row]
    assert decay == sorted(decay) and decay[0] == pytest.approx(0.04) and decay[-1] == pytest.approx(0.2)
    assert all(row['grad_norm'] > 0 for row in rows if 'loss' in row)
    text = next(work_dir.glob('*/*.log')).read_text()
    found = re.findall(r'Epoch (\d) of 3 is done: mean loss ([\d.]+), (\d+:\d\d:\d\d) left, ends 20\d\d-', text)
    assert [epoch for epoch, _, _ in found] == ['1', '2', '3'] and found[-1][2] == '0:00:00'
    last = [row['loss'] for row in rows if 'loss' in row][-6:]
    assert float(found[-1][1]) == pytest.approx(sum(last) / 6, rel=0.3)  # a logged row is itself a mean over a window


def test_two_runs_of_one_name_in_one_second_log_apart(tmp_path, monkeypatch):
    """A visualizer is found by its name; the second run must not write into the curves of the first."""
    config = write_config(tmp_path / 'config')
    monkeypatch.setattr('time.strftime', lambda *_: '20260101_000000')
    for name in ('a', 'b'):
        work_dir = train(config, tmp_path / name / 'run', 'total_epochs=1')
        assert len(list(work_dir.glob('*/vis_data/2*.json'))) == 1
