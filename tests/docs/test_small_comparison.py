"""The comparison at one budget: its page is that of the result files; every method's run is a config that loads."""

import json

import pytest

from benchmarks.small import compare_table, comparing
from selfsup import config

METHODS = comparing.find_methods()


def result(method, seed, knn, linear, **more):
    """A result file as compare.py writes it."""
    return {
        'method': method,
        'untrained': 'untrained',
        'seed': seed,
        'network': 'ResNet-18',
        'parameters': 695328,
        'numbers': {'knn_20': knn, 'linear': linear},
        **more,
    }


def trained(method, seed, knn, linear, **more):
    budget = {'minutes': 5.0, 'jobs': 2, 'clock': 'wall', 'cores': 1, 'seconds': 600.0}
    measured = {'iterations': 700, 'seconds': 588.0 + 12 * seed, 'cpu_seconds': 500.0}
    told = {'rate': {'lr': 0.002}, 'factor': 1.0, 'iterations': 700, 'budget': budget, 'time': measured}
    return result(method, seed, knn, linear, **{**told, 'embedding_std': 0.99, 'embedding_rank': 40.0 + seed, **more})


def write(folder, *results):
    folder.mkdir(parents=True)
    for number, one in enumerate(results):
        (folder / f'{number}.json').write_text(json.dumps(one))


def test_the_page_is_generated():
    page = compare_table.PAGE.read_text()
    assert compare_table.update(page, METHODS) == page, 'run python benchmarks/small/compare_table.py'
    assert compare_table.PICTURE.exists() == (compare_table.PICTURE.name in page)


def test_every_method_has_one_row_and_a_title_of_its_own():
    table = compare_table.runs_table(METHODS, {})
    titles = [method.title for method in METHODS.values()]
    assert len(set(titles)) == len(titles) and all(0 < len(title) < 30 for title in titles)
    assert all(table.count(f'| [{title}](') == 1 for title in titles) and table.count('not run') >= len(titles) + 1


def test_rows_tell_mean_spread_minutes_and_what_diverged(tmp_path):
    write(
        tmp_path / 'runs',
        *(trained('simclr', seed, 50.0 + seed, 55.0) for seed in range(3)),
        *(result('untrained', seed, 30.0, 25.0) for seed in range(3)),
        trained('byol', 0, None, None, time=None, embedding_std=None, embedding_rank=None),
        trained('byol', 1, 48.0, 49.0),
    )
    table = compare_table.runs_table(METHODS, compare_table.read_runs(tmp_path))
    rows = {line.split('|')[1].split(']')[0].strip(' ['): line for line in table.splitlines()}
    assert (
        '| ResNet-18, 0.70 M | 3 | lr 0.002 | 4.9 to 5.1 | 700 | 51.0 ± 1.0 (50.0 to 52.0) | +21.0 |' in rows['SimCLR']
    )
    assert rows['SimCLR'].endswith('| 55.0 ± 0.0 (55.0 to 55.0) | 0.99 | 40 to 42 |')
    assert '| 48.0, 1 of 2 diverged |' in rows['BYOL'] and 'not run' in rows['NPID']
    assert '30.0 ± 0.0' in rows['untrained'] and table.index('SimCLR') < table.index('BYOL') < table.index('NPID')


def test_the_search_tells_what_was_taken(tmp_path):
    tried = zip(comparing.FACTORS, (40.0, 41.5, None), strict=True)
    write(
        tmp_path / 'search',
        *(trained('simclr', 0, knn, None, factor=factor, rate={'lr': 0.002 * factor}) for factor, knn in tried),
        {'budget': {}, 'time': {}},  # a pilot
    )
    assert '| SimCLR | 0.002 | 40.0 | 41.5 | diverged | 0.002 |' in compare_table.search_table(METHODS, tmp_path)


def test_bars_are_drawn(tmp_path):
    write(
        tmp_path / 'runs',
        trained('simclr', 0, 50.0, 55.0),
        trained('simclr', 1, 52.0, 56.0),
        result('untrained', 0, 30.0, 25.0),
    )
    runs = compare_table.read_runs(tmp_path)
    assert compare_table.drawn(METHODS, runs) == ['simclr', 'untrained']
    assert compare_table.plot(METHODS, runs, tmp_path / 'bars.png').stat().st_size > 5000
    assert f'![kNN-20 and linear probe of each method](../images/{compare_table.PICTURE.name})' in compare_table.update(
        compare_table.PAGE.read_text(), METHODS, tmp_path
    )


@pytest.mark.parametrize('name', METHODS)
def test_runs_of_every_method_are_configs(name, tmp_path):
    method, path = METHODS[name], tmp_path / 'run.py'
    path.write_text(comparing.training_text(method, str(tmp_path), 400, factor=3.0))
    cfg = config.load(path).cfg
    assert cfg['total_iters'] == 400 and 'total_epochs' not in cfg
    assert comparing.rate_of(cfg['optimizer']) == {
        key: pytest.approx(3 * value) for key, value in comparing.rate_of(method.cfg['optimizer']).items()
    }
    assert cfg['data']['train']['data_source']['root'] == f'{tmp_path}/train'
    assert 'data/cifar10' not in path.read_text().replace(str(tmp_path), '')
    measuring = [hook['type'] for hook in cfg['custom_hooks'] if hook['type'] in comparing.MEASURING]
    assert measuring == [] and cfg['custom_hooks'][-1] == {'type': 'TrainingTimeHook'}
    facts = comparing.backbone_facts(method)
    assert 0.3e6 < facts['parameters'] < 2e6, 'a network of about 0.7 M parameters'
    path.write_text(comparing.linear_text(method, str(tmp_path), facts['channels']))
    assert config.load(path).cfg['model']['head']['in_channels'] == facts['channels']


def test_rates_and_schedules():
    optimizer = {
        'type': 'X',
        'base_lr': 0.3,
        'momentum': 0.9,
        'paramwise_options': {'a': {'lr': 0.1}, 'b': {'lr_mult': 10}},
    }
    changed = comparing.with_rate(optimizer, 3)
    assert changed == {
        'type': 'X',
        'base_lr': 0.9,
        'momentum': 0.9,
        'paramwise_options': {'a': {'lr': 0.3}, 'b': {'lr_mult': 10}},
    }
    assert comparing.stretched({'policy': 'step', 'step': [5, 8]}, 2.0, 1.0)['step'] == [10, 16]
    assert comparing.stretched({'policy': 'x', 'min_lr': 0.01}, 2.0, 3.0)['min_lr'] == pytest.approx(0.03)
    assert comparing.best_factor({1 / 3: 40.0, 1.0: 41.0, 3.0: 41.0}) == 1.0
    assert comparing.best_factor({1 / 3: None, 1.0: None, 3.0: 12.0}) == 3.0
    with pytest.raises(ValueError, match='diverged'):
        comparing.best_factor({1.0: None})


def test_iterations_fill_the_budget():
    """20 s of clustering, 5 slow iterations, then 0.5 s each: 100 s hold the 20 + 5 that are done once, and as many as fit."""
    measured = {'iterations': 25, 'seconds': 35.0, 'warm_seconds': 25.0, 'cpu_seconds': 60.0, 'warm_cpu_seconds': 40.0}
    assert comparing.iterations_in(measured, 100, 'wall') == 155  # (100 - 22.5) / 0.5
    assert comparing.iterations_in(measured, 200, 'cpu') == 165  # (200 - 35) / 1
    assert comparing.iterations_in(measured, 1, 'wall') == 1
