"""SparK with each family of timm's networks: the committed results are those of this code."""

import json
import random

import pytest

pytest.importorskip('timm')

from .timm_sweep import RESULTS, SAME, sweep

EXPECTED = json.loads(RESULTS.read_text())
TENTH = random.Random(6).sample(sorted(EXPECTED), len(EXPECTED) // 10)
UNPADDED = {'inception_v3', 'inception_v4', 'legacy_xception'}


def check(name):
    found, expected = sweep(name), EXPECTED[name]
    assert found['result'] == expected['result']
    if found['result'] == 'same':
        assert found['difference'] < SAME
    else:
        # In brackets stands what others' code says.
        assert found['reason'].split(' (')[0] == expected['reason'].split(' (')[0]


def test_most_families_train_and_the_others_are_refused_with_a_reason():
    same = [name for name, found in EXPECTED.items() if found['result'] == 'same']
    refused = {name: found['reason'] for name, found in EXPECTED.items() if found['result'] == 'refused'}
    assert len(EXPECTED) == 131 and len(same) + len(refused) == 131
    assert len(same) == 95
    assert all(EXPECTED[name]['difference'] < SAME for name in same)
    assert {name for name, reason in refused.items() if 'needs a network with padding' in reason} == UNPADDED
    for name in refused.keys() - UNPADDED:
        assert 'needs a convolutional network' in refused[name], name
        assert '\n' not in refused[name]


@pytest.mark.slow
@pytest.mark.parametrize('name', TENTH)
def test_a_tenth_of_the_families(name):
    check(name)


@pytest.mark.long
@pytest.mark.parametrize('name', sorted(EXPECTED.keys() - set(TENTH)))
def test_the_other_families(name):
    check(name)
