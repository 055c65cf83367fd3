"""The speeds of masked training that the pages of the methods state are the measured ones, each within one precision."""

import json

import pytest

from .pages import ROOT

STEPS = json.loads((ROOT / 'benchmarks' / 'results' / 'speed' / 'masked_steps.json').read_text())['results']


@pytest.mark.parametrize(
    ('what', 'precision', 'page', 'sentence'),
    [
        ('spark', 'fp32', 'spark', 'a whole SparK step, whose\ndecoder is dense, {:.2f} times'),
        ('spark', 'bf16', 'spark', 'In bf16 the whole step is {:.2f} times as fast as the masked one in bf16.'),
    ],
)
def test_the_page_states_the_measured_ratio(what, precision, page, sentence):
    found = next(r for r in STEPS if (r['what'], r['precision']) == (what, precision))
    ratio = found['masked']['seconds'] / found['visible']['seconds']
    assert found['speedup_vs_masked'] == pytest.approx(ratio, abs=1e-3)
    assert sentence.format(ratio) in (ROOT / 'docs' / 'methods' / f'{page}.md').read_text()
