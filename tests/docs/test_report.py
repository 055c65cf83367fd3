"""Model zoo and README hold the tables of the result files, as tools/report.py writes them."""

from __future__ import annotations

import runpy

import pytest

from selfsup.evaluation.results import tables as report

from .pages import ROOT

TOOL = runpy.run_path(str(ROOT / 'tools/report.py'))
RESULTS = report.read_results(ROOT / 'benchmarks/results/protocols')
TABLES = report.read_published(ROOT / 'benchmarks/published.json')
SMALL = TOOL['small'](RESULTS)


@pytest.mark.parametrize(
    ('path', 'text'), TOOL['pages'](RESULTS, TABLES).items(), ids=lambda value: getattr(value, 'name', '')
)
def test_pages_are_in_step(path, text):
    assert path.read_text() == text, 'run python tools/report.py'


def test_pictures_exist():
    for name in ('model_zoo_transfer.png', 'model_zoo_published_linear.png'):
        assert f'images/{name}' in (ROOT / 'docs/model_zoo.md').read_text() and (ROOT / 'docs/images' / name).is_file()


def test_there_are_results_of_the_small_runs():
    assert {'knn', 'linear_cached', 'semi', 'finetune'} <= {m.result['protocol'] for m in SMALL}


@pytest.mark.parametrize('protocol', sorted({m.result['protocol'] for m in SMALL}))
def test_pretrained_weights_beat_random_ones_with_the_same_settings(protocol):
    mine = [m for m in SMALL if m.result['protocol'] == protocol]
    found = report.pairs(mine)
    assert found
    for pair in found:
        assert pair.pretrained > pair.random, pair
    for m in mine:
        assert (ROOT / m.config).is_file() and m.result['seed'] == 0


def test_published_numbers_are_no_results():
    """Nothing that was published lies among what was measured."""
    assert len({table['id'] for table in TABLES}) == len(TABLES) >= 10
    text = (ROOT / 'docs/model_zoo.md').read_text()
    measured, published = text.split('## Published\n')
    assert 'Published:' not in measured
    assert published.count('### Published: ') == published.count('Not measured with this code.') == len(TABLES)
