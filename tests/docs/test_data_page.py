"""The page on sources: its table is that of the measured numbers, and its addresses are read."""

import json
import re
import runpy

import pytest

from selfsup.datasets.data_sources.addresses import SCHEMES, source_config

from .pages import ROOT

PAGE = (ROOT / 'docs' / 'data.md').read_text()
ADDRESSES = re.findall(r"`'(\w+:[^']+)'`", PAGE)


def test_the_table_of_costs_is_generated():
    script = runpy.run_path(str(ROOT / 'benchmarks' / 'speed' / 'sources.py'))
    assert script['table'](json.loads(script['RESULT'].read_text())) in PAGE


@pytest.mark.parametrize('address', ADDRESSES)
def test_addresses_of_the_page_are_read(address):
    assert source_config(address)['type']


def test_every_kind_of_image_has_its_line():
    assert {address.partition(':')[0] for address in ADDRESSES} == set(SCHEMES) - {
        'cifar10', 'cifar100', 'digits', 'coco', 'voc'
    }  # fmt: skip
