"""benchmarks/small/compare.py: what it does again and what not, what it refuses; a whole series in seconds."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.small import compare, comparing, one_run
from selfsup.cluster.tree import descendants, is_running

MEASURED = {
    'iterations': 25,
    'epochs': 0.3,
    'seconds': 12.5,
    'cpu_seconds': 25.0,
    'warm_seconds': 2.5,
    'warm_cpu_seconds': 5.0,
}


@pytest.fixture
def images(tmp_path):
    """Three colours of noise as classes, 135 images to train on and 30 to test."""
    random = np.random.RandomState(0)
    for split, number in (('train', 45), ('test', 10)):
        for colour in range(3):
            folder = tmp_path / 'images' / split / str(colour)
            folder.mkdir(parents=True)
            for i in range(number):
                pixels = random.randint(0, 120, (32, 32, 3), dtype=np.uint8)
                pixels[..., colour] += 120
                Image.fromarray(pixels).save(folder / f'{i}.png')
    return tmp_path / 'images'


@pytest.fixture
def calls(monkeypatch):
    """Trainings that only say what they were asked for; kNN-20 is best at a third of the rate."""
    asked = []

    def train(method, place, folder, iterations, factor, seed):
        asked.append((method.name, iterations, round(factor, 2), seed, sorted(place.cores)))
        return {
            'iterations': iterations,
            'time': {**MEASURED, 'iterations': iterations, 'seconds': 0.5 * iterations},
            'factor_of_run': factor,
        }

    def measure(method, place, folder, checkpoint, seed, probe):
        factor = asked[-1][2] if asked else 1.0  # the untrained network may be measured first
        return {'knn_20': 50.0 - factor, **({'linear': 40.0} if probe else {})}

    monkeypatch.setattr(one_run, 'train', train)
    monkeypatch.setattr(one_run, 'measure', measure)
    return asked


def run(images, tmp_path, *words):
    compare.main(
        ['--data', str(images), '--out', str(tmp_path / 'out'), '--only', 'simclr', '--seeds', '0', '1', *words]
    )


def test_pilot_search_runs_and_nothing_twice(images, tmp_path, calls, capsys):
    run(images, tmp_path)
    search = [call[1:3] for call in calls[1:4]]
    assert calls[0][1] == one_run.PILOT_ITERATIONS and [factor for _, factor in search] == [0.33, 1.0, 3.0]
    assert search[0][0] == pytest.approx(120 / 0.5, abs=6), (
        '2 minutes of half a second each, and the slow ones at first'
    )
    assert [call[1:4] for call in calls[4:]] == [(calls[4][1], 0.33, 0), (calls[4][1], 0.33, 1)]
    assert calls[4][1] == pytest.approx(300 / 0.5, abs=6)
    written = json.loads((tmp_path / 'out/runs/simclr_seed1.json').read_text())
    assert written['numbers'] == {'knn_20': 49.67, 'linear': 40.0} and written['budget']['seconds'] == 300
    assert written['rate'] == {'lr': pytest.approx(0.002 / 3, rel=1e-3)} and written['parameters'] == 695328
    before = len(calls)
    run(images, tmp_path)
    assert len(calls) == before
    (tmp_path / 'out/runs/simclr_seed0.json').unlink()  # as after a kill: it has left nothing
    run(images, tmp_path)
    assert len(calls) == before + 1 and calls[-1][3] == 0
    run(images, tmp_path, '--plan')
    assert 'simclr                    5 of 5 done' in capsys.readouterr().out


def test_jobs_share_cores_and_minutes(images, tmp_path, calls):
    run(images, tmp_path, '--jobs', '2', '--search', 'skip')
    assert len(calls) == 3 and all(len(call[4]) == 1 for call in calls)
    budget = json.loads((tmp_path / 'out/runs/simclr_seed0.json').read_text())['budget']
    assert budget == {'minutes': 5.0, 'jobs': 2, 'clock': 'wall', 'cores': 1, 'seconds': 600.0}
    with pytest.raises(SystemExit, match=r'was made with .* give another --out'):
        run(images, tmp_path, '--search', 'skip')


def test_a_run_that_diverges_is_a_result_and_another_error_is_not(images, tmp_path, calls, monkeypatch):
    train = one_run.train

    def fails_at_the_largest(method, place, folder, iterations, factor, seed):
        if factor > 1:
            raise one_run.Failed(message[0])
        return train(method, place, folder, iterations, factor, seed)

    monkeypatch.setattr(one_run, 'train', fails_at_the_largest)
    message = ['no space left']
    with pytest.raises(SystemExit, match='not finished:\nsimclr: no space left'):
        run(images, tmp_path, '--search', 'only')
    assert not (tmp_path / 'out/search/simclr_x3.json').exists()
    message[0] = 'loss is not finite'
    run(images, tmp_path, '--search', 'only')
    assert json.loads((tmp_path / 'out/search/simclr_x3.json').read_text())['numbers'] == {'knn_20': None}


def test_wrong_words_are_refused(images, tmp_path):
    with pytest.raises(SystemExit, match='no small config for simkler'):
        compare.main(['--only', 'simkler'])
    with pytest.raises(SystemExit, match='nowhere/train is no folder'):
        compare.main(['--data', 'nowhere', '--only', 'simclr', '--out', str(tmp_path)])


def test_a_method_without_its_teacher_is_passed_over(tmp_path):
    method = comparing.find_methods()['simclr']
    needs = comparing.Method('x', 'X', 'x.py', {'model': {'teachers': [{'weights': str(tmp_path / 'teacher.pth')}]}})
    assert needs.missing == [str(tmp_path / 'teacher.pth')] and method.missing == []
    (tmp_path / 'teacher.pth').touch()
    assert needs.missing == []


@pytest.mark.slow
def test_a_series_in_seconds(images, tmp_path, monkeypatch):
    """Everything real: pilot, one run, kNN and probe, the untrained network."""
    monkeypatch.setattr(one_run, 'PILOT_ITERATIONS', 2)
    monkeypatch.setattr(one_run, 'PROBE_EPOCHS', 3)
    words = ['--minutes', '0.01', '--search', 'skip', '--seeds', '0', '--only', 'rotation_pred']
    compare.main(['--data', str(images), '--out', str(tmp_path / 'out'), *words])
    found = json.loads((tmp_path / 'out/runs/rotation_pred_seed0.json').read_text())
    assert found['time']['iterations'] == found['iterations'] >= 1 and found['time']['seconds'] > 0
    assert found['numbers']['knn_20'] > 90 and 0 <= found['numbers']['linear'] <= 100
    assert 0 < found['embedding_std'] < 2 and found['network'] == 'ResNet-18'
    assert json.loads((tmp_path / 'out/runs/untrained_seed0.json').read_text())['numbers']['knn_20'] > 90


def trainings(pid):
    """Those of a series that are running."""
    lines = {child: Path(f'/proc/{child}/cmdline') for child in descendants(pid)}
    return [child for child, line in lines.items() if line.exists() and 'tools/train.py' in line.read_text()]


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_what_is_running(images, tmp_path, number):
    words = ['--data', images, '--out', tmp_path / 'out', '--search', 'skip', '--only', 'rotation_pred', 'simclr']
    series = subprocess.Popen([sys.executable, compare.__file__, *map(str, words)], stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while not (started := trainings(series.pid)) and series.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    series.send_signal(number)
    assert series.wait(60) == 128 + number, series.stderr.read()
    assert started and not any(is_running(pid) for pid in started)
    assert series.stderr.read() == '' and not (tmp_path / 'out').exists()


@pytest.mark.parametrize('text', ['', '{"bud', '[]', '{}'])
def test_a_damaged_result_is_named(text, tmp_path):
    (tmp_path / 'a.json').write_text(text)
    with pytest.raises(one_run.Failed, match=r'a\.json is damaged or no result'):
        one_run.read_budgeted(tmp_path / 'a.json', one_run.Budget(5, 1, 'wall'))


@pytest.mark.parametrize('words', ['--minutes 0', '--search-minutes nan', '--minutes inf', '--seeds 0 0', '--seeds -1'])
def test_budgets_and_seeds_that_are_none_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        compare.parse_args(words.split())
    assert 'must be' in capsys.readouterr().err
