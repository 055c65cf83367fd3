"""The numbers that README and docstrings state are those of the result files."""

import json
import re

import pytest

from benchmarks.small import comparing, run, table

README = (table.ROOT / 'README.md').read_text()
FILES = sorted(table.RESULTS.glob('*.json'))


def test_the_table_of_small_runs_is_generated():
    assert table.update(README) == README, 'run python benchmarks/small/table.py'


def test_every_method_has_a_result():
    assert {path.stem for path in FILES} == set(run.CONFIGS)
    small = {
        str(p.relative_to(table.ROOT / 'configs'))
        for p in (table.ROOT / 'configs' / 'selfsup').rglob('*_cifar10_small*.py')
    }
    compared = {method.config for method in comparing.find_methods().values()}
    assert small == compared - {comparing.SUPERVISED}
    assert {config for _, config in run.CONFIGS.values()} <= small


@pytest.mark.parametrize('path', FILES, ids=lambda p: p.stem)
def test_a_run_beat_the_untrained_network_within_its_budget(path):
    result = json.loads(path.read_text())
    assert result['gain'] == pytest.approx(result['trained'] - result['untrained'], abs=0.01)
    assert result['gain'] > 0 and result['seconds'] <= run.BUDGET
    config = (table.ROOT / result['config']).read_text()
    assert re.search(rf'Expected: .*{re.escape(path.name)}', config)
    assert f'total_epochs = {result["epochs"]}' in config, 'the config has changed since it was run'
