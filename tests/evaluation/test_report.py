"""Tables from result files; published numbers apart; blocks of pages."""

from __future__ import annotations

import json

import pytest

from selfsup.errors import DataError
from selfsup.evaluation.results import tables as report
from selfsup.evaluation.results.record import write_result
from selfsup.visualization.report import plot_layers, plot_pairs

TABLE = {
    'id': 't',
    'title': 'A table',
    'source': 'Somebody',
    'columns': ['method', 'a', 'b'],
    'rows': [['x', 1.5, None], ['y', 2, 3]],
}


@pytest.fixture
def results(tmp_path):
    """Folder with linear results from weights and from none, a kNN result from weights alone, and one of an unknown protocol."""
    config, weights = tmp_path / 'c.py', tmp_path / 'w.pth'
    config.write_text('')
    weights.write_bytes(b'w')
    folder = tmp_path / 'results'
    for name, last, best, extra in (('w', 50, 60, {'weights': weights, 'seconds': 12}), ('random', 30, 31, {})):
        write_result(
            folder / 'a' / f'linear_{name}.json',
            protocol='linear',
            numbers={'head0_top1_last': last, 'head0_top1_best': best},
            config=config,
            **extra,
        )
    write_result(
        folder / 'knn.json', protocol='knn', numbers={'knn_20': 44.444, 'other': 1}, config=config, weights=weights
    )
    write_result(folder / 'own.json', protocol='own', numbers={'thing': 7})
    return folder


def test_a_table_for_each_protocol_in_order(results):
    text = report.measured_tables(report.read_results(results))
    assert [line for line in text.splitlines() if line.startswith('#')] == ['### KNN', '### Linear', '### Own']
    assert '| weights | knn_20 | seed | seconds | file |' in text and 'other' not in text
    assert '| w.pth | 50.00 | 60.00 | 0 | 12 | a/linear_w.json |' in text
    assert '| random | 30.00 | 31.00 | 0 |  | a/linear_random.json |' in text


def test_pairs_compare_the_last_epoch_from_equal_configs(results):
    (pair,) = report.pairs(report.read_results(results))
    assert (pair.title, pair.name, pair.random, pair.pretrained) == ('linear', 'head0_top1_last', 30, 50)
    for path in (results / 'a').iterdir():  # whatever comes first in the files
        result = json.loads(path.read_text())
        path.write_text(json.dumps({**result, 'numbers': dict(reversed(result['numbers'].items()))}))
    assert report.pairs(report.read_results(results)) == [pair]
    assert '| 30.0 | 50.0 | +20.0 |' in report.comparison(report.read_results(results))
    with pytest.raises(DataError, match='No protocol has a result from random'):
        report.comparison(report.read_results(results)[2:])


def test_options_make_another_config(results):
    """One epoch of random weights must not stand against forty of others."""
    path = results / 'a' / 'linear_random.json'
    path.write_text(
        path.read_text().replace('"settings": {}', '"settings": {"cfg_options": ["total_epochs=1", "a=\'x|y\'"]}')
    )
    assert report.pairs(report.read_results(results)) == []
    assert "c total_epochs=1 a='x\\|y' | random |" in report.measured_tables(report.read_results(results))


def test_other_files_are_an_error_or_left_out(results, tmp_path):
    (results / 'log.json').write_text('{}')
    with pytest.raises(DataError, match=r'log\.json is no result'):
        report.read_results(results)
    assert len(report.read_results(results, skip_others=True)) == 4
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match='holds no results'):
        report.read_results(tmp_path / 'empty')


def test_published_numbers_are_marked_and_have_a_source(tmp_path):
    path = tmp_path / 'p.json'
    path.write_text(json.dumps([TABLE]))
    text = report.published_tables(report.read_published(path))
    assert text.startswith('### Published: A table\n\nSource: Somebody. Not measured with this code.')
    assert '| x | 1.5 |  |\n| y | 2 | 3 |' in text


@pytest.mark.parametrize(
    ('change', 'message'),
    [({'source': ''}, r"lacks \['source'\]"), ({'rows': [['x', 1]]}, r"3 columns, but a row \['x', 1\]")],
)
def test_published_tables_that_do_not_fit(tmp_path, change, message):
    (tmp_path / 'p.json').write_text(json.dumps([{**TABLE, **change}]))
    with pytest.raises(DataError, match=message):
        report.read_published(tmp_path / 'p.json')


def test_a_block_is_replaced_and_the_rest_kept():
    page = 'before\n<!-- report: a -->\nold\n<!-- end of report -->\nafter <!-- report: b -->x<!-- end of report -->'
    once = report.replace_block(page, 'a', 'new')
    assert once == page.replace('\nold\n', '\nnew\n') == report.replace_block(once, 'a', 'new')
    with pytest.raises(DataError, match='Did you mean'):
        report.replace_block(page, 'aa', 'new')


def test_pictures(tmp_path):
    from PIL import Image

    first = plot_pairs([('one', 30.0, 50.0), ('two', 10.0, 5.0)], tmp_path / 'p' / 'a.png', 'title')
    second = plot_layers({**TABLE, 'columns': ['m', 'f1', 'f2']}, tmp_path / 'b.png', ['f1', 'f2'])
    for path in (first, second):
        assert min(Image.open(path).size) > 100
